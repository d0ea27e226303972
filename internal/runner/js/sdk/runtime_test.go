package sdk_test

import (
	"testing"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk"
	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk/bundle"
)

func TestRuntimeIsBuiltFromTheSources(t *testing.T) {
	t.Parallel()
	fresh, err := bundle.Build(".")
	if err != nil {
		t.Fatal(err)
	}
	if string(fresh) != sdk.Runtime {
		t.Error("runtime.js is not what the sources make: run go generate ./internal/runner/js/sdk")
	}
}
