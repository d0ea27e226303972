package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
)

func TestSleepEndsWithItsTimeOrWithTheCause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := lifecycle.Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("slept %s, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(lifecycle.ErrStopping) })
		if err := lifecycle.Sleep(ctx, time.Hour); !errors.Is(err, lifecycle.ErrStopping) || time.Since(start) != time.Hour+time.Minute {
			t.Errorf("slept %s, %v; the cause came after a minute", time.Since(start), err)
		}
	})
}
