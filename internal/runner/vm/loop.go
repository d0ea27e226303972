package vm

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"modernc.org/quickjs"
)

// Why a run ended without a result of its own.
var (
	ErrStuck  = errors.New("the function waits for a promise that nothing will settle")
	ErrCPU    = errors.New("the function used its CPU time without making a host call")
	ErrMemory = errors.New("the function is out of memory")
	ErrScript = errors.New("the run failed inside the machine")
)

// Job is what a VM runs.
type Job struct {
	// Request is the JSON text handed to __run.
	Request string
	// Bundle is the user's module, from Engine.CompileBundle of the same engine.
	Bundle []byte
	// Memory limits what the engine may hold, in bytes, the 2–5 MB of the SDK and zod included. 0: unlimited.
	Memory int64
	// CPU limits the computing between two host calls. 0: unlimited.
	CPU time.Duration
	// Call starts a host call; its reply comes back through Deliver. An error is thrown to the function. Runs on the
	// VM's goroutine and must not block for long.
	Call func(id uint32, op, payload string) error
	// Overrun, if set, is called once when the run has spent its CPU limit, from a goroutine of its own: the script has been
	// told to stop, but it may sit in a built-in that does not listen.
	Overrun func()
}

// Outcome is what a run left.
type Outcome struct {
	// Result is what __run resolved to, "" if Err is set.
	Result string
	// Err is ErrStuck, ErrCPU, ErrMemory, ErrScript (wrapped, with a description) or the cause given to Stop.
	Err error
	// CPU is the time computed, PeakMemory the most bytes the engine held at the end of any turn.
	CPU        time.Duration
	PeakMemory int64
	// Exhausted: the machine was refused memory at least once, whether or not the script noticed.
	Exhausted bool
	// Unhandled describes promises that were rejected with nobody listening (at most 8), Pending counts the host calls that
	// were not answered when the result came.
	Unhandled []string
	Pending   int
}

// Stop ends the run with err, from any goroutine: at once if the script yields or computes, never if it sits in a built-in
// that does not listen. Only the first reason counts. Before Run, it makes Run return immediately.
func (v *VM) Stop(err error) {
	if v.stop.CompareAndSwap(nil, &err) {
		v.watch.hurry()
		v.inbox.put(event{})
	}
}

// Deliver answers a host call, from any goroutine: with JSON text, or with the JSON text of an error.
func (v *VM) Deliver(call uint32, ok bool, text string) {
	v.inbox.put(event{call: call, ok: ok, text: text})
}

// Run executes the job and returns when its result is there or can no longer come. Call it once.
func (v *VM) Run(job Job) Outcome {
	v.job, v.bundle = &job, job.Bundle
	if job.Memory > 0 {
		v.q.SetMemoryLimit(uintptr(job.Memory))
	}
	v.watch.limit = job.CPU
	v.turn(func() error { return v.do("run", job.Request) })
	for !v.over() {
		v.wait()
	}
	v.describeRejections()
	v.outcome.CPU = v.watch.total
	v.outcome.Pending = v.calls
	v.outcome.Exhausted = v.exhausted
	return v.outcome
}

// over reports whether the run has ended, and settles it if nothing can happen any more.
func (v *VM) over() bool {
	if v.settled {
		return true
	}
	if cause := v.stop.Load(); cause != nil {
		v.fail(*cause)
		return true
	}
	if v.calls == 0 && v.timers.Len() == 0 {
		if v.exhausted {
			v.fail(ErrMemory)
		} else {
			v.fail(ErrStuck)
		}
		return true
	}
	return false
}

func (v *VM) fail(err error) {
	if !v.settled {
		v.settled, v.outcome.Err = true, err
	}
}

// wait blocks until a host call is answered, a timer is due or the run is stopped, and turns the loop once for it. Answers
// and due timers take turns, so that neither starves the other.
func (v *VM) wait() {
	e, answered := v.inbox.take()
	id, due := v.timers.pop(time.Now())
	if !answered && !due {
		v.sleep()
		return
	}
	if answered && e.call != 0 {
		v.calls--
		v.watch.spent = 0
		v.turn(func() error { return v.do("deliver", int(e.call), e.ok, e.text) })
	}
	if due {
		v.turn(func() error { return v.do("fire", id) })
	}
}

// sleep blocks until there may be something to do.
func (v *VM) sleep() {
	var due <-chan time.Time
	if v.timers.Len() > 0 {
		timer := time.NewTimer(time.Until(v.timers.next()))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-v.inbox.wake:
	case <-due:
	}
}

// turn runs f, a call into JavaScript, and then the promise jobs it left, under the CPU watch.
func (v *VM) turn(f func() error) {
	v.watch.begin()
	defer func() {
		v.watch.end()
		v.outcome.PeakMemory = max(v.outcome.PeakMemory, v.native.allocated())
	}()
	if v.stop.Load() != nil || v.settled {
		return
	}
	v.noteError(f())
	// A drain is cut off after a million jobs, so that a self-feeding queue comes by here.
	for n := -1; n != 0 && v.stop.Load() == nil && !v.settled; {
		var err error
		n, err = v.q.ExecutePendingJobs()
		v.noteError(err)
	}
}

// noteError remembers that JavaScript failed outside of any promise: a timer callback that throws ends the run as it would
// end a Node process; running out of memory may have swallowed the continuation that the run waits for.
func (v *VM) noteError(err error) {
	if err == nil || v.stop.Load() != nil {
		return
	}
	var js *quickjs.Error
	if !errors.As(err, &js) {
		return
	}
	if v.exhausted {
		return // whatever it says; the run ends by itself, or with ErrMemory for want of anything to wait for
	}
	v.fail(fmt.Errorf("%w: uncaught %s", ErrScript, strings.TrimSpace(js.Error())))
}

// describeRejections turns the reasons nobody listened to into text. Reading them may run the function's own code.
func (v *VM) describeRejections() {
	for key, r := range v.rejections {
		text := "a rejected promise"
		if v.stop.Load() == nil {
			v.watch.begin()
			if described, err := v.call("describe", r.reason); err == nil {
				text, _ = described.(string)
			}
			v.watch.end()
		}
		v.outcome.Unhandled = append(v.outcome.Unhandled, text)
		delete(v.rejections, key)
		r.free()
	}
}
