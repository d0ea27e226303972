package runner_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// TestStopLeavesNothing is not parallel: it looks at all goroutines of the test program.
//
//nolint:paralleltest // see above
func TestStopLeavesNothing(t *testing.T) {
	p := newPool(t, runner.Options{Workers: 2, Limits: map[runner.Kind]runner.Limits{runner.KindAction: quick}})
	for _, body := range []string{`return 1`, `for (;;);`, `nango.get({endpoint: '/x'}); return 2`, `setInterval(() => {}, 1); return 3`} {
		if _, err := p.Run(t.Context(), action(body), &host{}); err != nil {
			t.Fatal(err)
		}
	}
	pids := children(t)
	if len(pids) == 0 {
		t.Fatal("the pool has no process")
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("processes after Stop: %v", left)
	}
	var stacks string
	// A goroutine that has done its work may still have to end.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "runner.(*") {
			return
		}
	}
	t.Errorf("goroutines after Stop:\n%s", stacks)
}
