package provider_test

import (
	"testing"

	"github.com/patchbay-dev/patchbay/internal/provider"
)

func TestEmbedded(t *testing.T) {
	c, err := provider.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if c.Len() != 40 {
		t.Fatal(c.Len())
	}
}
