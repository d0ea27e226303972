package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// The pauses between a loop's failure and its next try double from the first to the last.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// Loop is a service that runs one function for as long as the service lives.
//
// The function should return when its context ends. When it returns an error or panics before that, the loop is unhealthy
// with that error, waits (1 s, doubling up to 30 s), and runs it again; it counts as well once it has run for as long as it
// had to wait. A function that returns nil has nothing more to do and is not run again.
type Loop struct {
	name   string
	run    func(ctx context.Context) error
	logger *slog.Logger

	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil before the start
	closed bool
	done   chan struct{}
	err    error         // the last failure
	pause  time.Duration // waited after it
	since  time.Time     // when the function was called; zero while it does not run
}

// NewLoop makes a loop. A nil logger means slog.Default.
func NewLoop(name string, logger *slog.Logger, run func(ctx context.Context) error) *Loop {
	if logger == nil {
		logger = slog.Default()
	}
	return &Loop{name: name, run: run, logger: logger, done: make(chan struct{})}
}

// Name implements Service.
func (l *Loop) Name() string { return l.name }

// Start implements Service.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrStopped
	}
	if l.cancel != nil {
		return nil
	}
	var running context.Context
	running, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	go l.keepRunning(running)
	return nil
}

// Stop implements Service.
func (l *Loop) Stop(ctx context.Context) error {
	l.mu.Lock()
	cancel := l.cancel
	l.closed = true
	l.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel(ErrStopping)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Health implements Checker.
func (l *Loop) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.since.IsZero() && time.Since(l.since) >= l.pause {
		return nil
	}
	return l.err
}

func (l *Loop) keepRunning(ctx context.Context) {
	defer close(l.done)
	for {
		l.mu.Lock()
		l.since = time.Now()
		l.mu.Unlock()
		err := l.once(ctx)
		pause := l.ended(ctx, err)
		if pause == 0 {
			return
		}
		l.logger.ErrorContext(ctx, "a background part failed", "service", l.name, "err", err, "retry", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// ended notes how a run ended and returns how long to wait before the next, 0 for no next.
func (l *Loop) ended(ctx context.Context, err error) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	ran := time.Since(l.since)
	l.since = time.Time{}
	if err == nil || ctx.Err() != nil {
		l.err = nil
		return 0
	}
	l.err = err
	if ran >= max(l.pause, firstPause) { // it was well: this is a new failure, not the last one again
		l.pause = 0
	}
	l.pause = min(max(2*l.pause, firstPause), lastPause)
	return l.pause
}

func (l *Loop) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.logger.ErrorContext(ctx, "panic", "service", l.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return l.run(ctx)
}
