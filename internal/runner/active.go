package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
)

const (
	// killAfter is how long a process may go on with a run that was told to stop.
	killAfter = 2 * time.Second
	// lateCalls is how long host calls that a function did not await may go on after its result.
	lateCalls = 5 * time.Second
)

// maxHeld bounds what one run's host calls under way make the server hold. A machine within its default memory limit can not
// get there; a process that was taken over could.
const maxHeld = 256 * mebibyte

// active is a run in progress in a process.
type active struct {
	id     uint32
	host   Host
	ctx    context.Context // of the host calls
	log    *slog.Logger
	proc   *process
	limits Limits

	done    chan frame.Frame
	overrun chan struct{}
	calls   sync.WaitGroup
	flying  atomic.Int32
	total   atomic.Int32
	held    atomic.Int64 // bytes of the payloads of flying calls
}

// lost is the end of a run whose process died.
type lost struct {
	cause error
	// clean: the run made no host call, so running it again repeats no effect.
	clean bool
}

func (l *lost) Error() string   { return fmt.Sprintf("%v: %v", ErrWorkerLost, l.cause) }
func (l *lost) Unwrap() []error { return []error{ErrWorkerLost, l.cause} }

// execute runs req in p and returns when it is over and every host call it made has returned. The error is a *lost, or the
// cause of ctx's end.
func (p *process) execute(ctx context.Context, req Request, limits Limits, host Host) (Result, error) {
	callCtx, cancelCalls := context.WithCancel(ctx)
	defer cancelCalls()
	a := &active{
		host:    host,
		ctx:     callCtx,
		log:     p.log,
		proc:    p,
		limits:  limits,
		done:    make(chan frame.Frame, 1),
		overrun: make(chan struct{}, 1),
	}
	meta, request, err := encode(req, limits)
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	finish := func(r Result) Result {
		r.Telemetry.Wall = time.Since(start)
		r.Telemetry.HostCalls = int(a.total.Load())
		return r
	}
	if err := p.begin(a, req.Bundle, meta, request); err != nil {
		if errors.Is(err, frame.ErrFrame) {
			return Result{}, fmt.Errorf("run %s: %w", req.Bundle.Name, err)
		}
		return Result{}, &lost{cause: err, clean: true}
	}

	f, reason, alive := a.await(ctx)
	if reason != nil || !alive {
		cancelCalls()
	}
	a.settle(cancelCalls)

	var result Result
	if alive {
		result = decode(req, f, limits)
		a.warnUnhandled(ctx, f)
		switch {
		case result.Error == nil:
			reason = nil // it was done before the stop took effect
		case reason == nil && ctx.Err() != nil:
			reason = context.Cause(ctx) // its host calls failed for this
		}
	}
	switch {
	case reason == nil && alive:
		return finish(result), nil
	case errors.Is(reason, ErrTimedOut):
		result.Output, result.Error = nil, timedOut(limits)
		return finish(result), nil
	case errors.Is(reason, ErrCPUExceeded):
		result.Output, result.Error = nil, cpuExceeded(limits)
		return finish(result), nil
	case reason != nil:
		return finish(Result{Telemetry: result.Telemetry}), fmt.Errorf("run %s: %w", req.Bundle.Name, reason)
	}
	return finish(Result{}), &lost{cause: p.deathErr, clean: a.total.Load() == 0}
}

// await waits for the run's end. reason is why the server wanted it to end, nil if it did not; alive tells that f is there,
// else the process died.
func (a *active) await(ctx context.Context) (f frame.Frame, reason error, alive bool) {
	var wall, grace <-chan time.Time
	if a.limits.Wall > 0 {
		t := time.NewTimer(a.limits.Wall)
		defer t.Stop()
		wall = t.C
	}
	cancelled := ctx.Done()
	stop := func(why error) {
		if reason == nil {
			reason = why
			t := time.NewTimer(killAfter)
			grace = t.C
			wall, cancelled = nil, nil
		}
	}
	cancel := func(why error) {
		stop(why)
		_ = a.proc.send(frame.Frame{Op: frame.Cancel, Run: a.id}) // if it is dead we see it below
	}
	for {
		select {
		case f = <-a.done:
			return f, reason, true
		case <-a.proc.dead:
			// Both may be ready; a result that arrived counts.
			select {
			case f = <-a.done:
				return f, reason, true
			default:
				return f, reason, false
			}
		case <-cancelled:
			cancel(context.Cause(ctx))
		case <-wall:
			cancel(ErrTimedOut)
		case <-a.overrun:
			stop(ErrCPUExceeded)
		case <-grace:
			a.log.WarnContext(ctx, "runner process killed", "reason", "a run ignored the request to stop", "why", reason)
			a.proc.kill(fmt.Errorf("a run in it ignored the request to stop: %w", reason))
			grace = nil
		}
	}
}

// settle waits for the host calls still under way: those that the function did not await get a while to complete.
func (a *active) settle(cancel context.CancelFunc) {
	if a.flying.Load() == 0 {
		a.calls.Wait()
		return
	}
	t := time.AfterFunc(lateCalls, cancel)
	defer t.Stop()
	a.calls.Wait()
}

// accept starts a host call. An error means that the process broke the protocol.
func (a *active) accept(f frame.Frame) error {
	if n := a.flying.Add(1); a.limits.HostCalls > 0 && int(n) > a.limits.HostCalls {
		return fmt.Errorf("%w: more than %d host calls", frame.ErrFrame, a.limits.HostCalls)
	}
	if a.held.Add(int64(len(f.Body))) > maxHeld {
		return fmt.Errorf("%w: host calls with more than %d MiB", frame.ErrFrame, maxHeld/mebibyte)
	}
	a.total.Add(1)
	a.calls.Go(func() {
		reply, err := a.answer(string(f.Meta), f.Body)
		out := frame.Frame{Op: frame.Reply, Run: a.id, Call: f.Call, Body: reply}
		if err != nil {
			out.Meta, out.Body = []byte("error"), a.describe(string(f.Meta), err)
		}
		// Before the reply: the process may send the next call as soon as it has it.
		a.flying.Add(-1)
		a.held.Add(-int64(len(f.Body)))
		if err := a.proc.send(out); errors.Is(err, frame.ErrFrame) {
			out.Meta, out.Body = []byte("error"), errorJSON("response_too_large", "the response is too large for a function")
			_ = a.proc.send(out) // a dead process is noticed elsewhere
		}
	})
	return nil
}

// answer calls the host. A panic there is a fault of ours that must not take the server down with it.
func (a *active) answer(op string, payload []byte) (reply []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.log.ErrorContext(a.ctx, "host call panicked", "op", op, "panic", p, "stack", string(debug.Stack()))
			err = errors.New("panic")
		}
	}()
	return a.host.Call(a.ctx, op, payload)
}

func (a *active) describe(op string, err error) []byte {
	if shown, ok := errors.AsType[*HostError](err); ok {
		return shown.JSON
	}
	if a.ctx.Err() == nil {
		a.log.ErrorContext(a.ctx, "host call failed", "op", op, "err", err)
	}
	return errorJSON("internal_error", "internal error")
}

func errorJSON(code, message string) []byte {
	text, _ := json.Marshal(map[string]string{"code": code, "message": message}) // strings always marshal
	return text
}

// warnUnhandled tells the function's own log about promises that were rejected with nobody listening.
func (a *active) warnUnhandled(ctx context.Context, f frame.Frame) {
	var done frame.DoneMeta
	if json.Unmarshal(f.Meta, &done) != nil || ctx.Err() != nil {
		return
	}
	for _, reason := range done.Unhandled {
		line, _ := json.Marshal(map[string]string{ // strings always marshal
			"level":   "warn",
			"message": "A promise was rejected and nothing handled it (a missing await?): " + reason,
		})
		if _, err := a.host.Call(ctx, "log", line); err != nil {
			a.log.WarnContext(ctx, "function log lost", "err", err)
			return
		}
	}
}
