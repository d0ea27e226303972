package proxy

import (
	"context"
	"time"
)

// watch ends a call in which nothing moves. It is touched from the goroutines that move bytes.
type watch struct {
	idle   time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// newWatch gives the context of one attempt. stop must be called when the attempt is over.
func newWatch(ctx context.Context, idle time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{idle: idle, cancel: cancel}
	w.timer = time.AfterFunc(idle, func() { cancel(errIdle) })
	return ctx, w
}

func (w *watch) touch() { w.timer.Reset(w.idle) }

// stop frees the context. A touch that comes later arms the timer once more, for nothing.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
