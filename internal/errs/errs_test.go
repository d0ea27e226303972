package errs_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

var errGone = errs.NotFound("gone")

func TestErrorIsASentinelWithOrWithoutACause(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("read: %w", errGone.Because(io.EOF).WithPayload(map[string]string{"id": "1"}))
	if !errors.Is(err, errGone) {
		t.Error("the sentinel is lost")
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if errors.Is(err, errs.New(404, "other", "")) || errors.Is(fmt.Errorf("read: %w", io.EOF), errGone) {
		t.Error("a different error is taken for the sentinel")
	}
	if errs.Code(err) != "not_found" || errs.Code(io.EOF) != "" {
		t.Errorf("Code = %q", errs.Code(err))
	}
	if errGone.Payload != nil || errors.Unwrap(errGone) != nil {
		t.Error("the sentinel itself was changed")
	}
}
