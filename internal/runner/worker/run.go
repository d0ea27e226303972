package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

// run is one execution. Its machine is used by its goroutine only, but for replies and stops.
type run struct {
	server  *server
	id      uint32
	meta    frame.RunMeta
	bundle  *bundle
	request string

	mu       sync.Mutex
	machine  *vm.VM
	stopped  error
	inFlight int
	backlog  []frame.Frame // host calls beyond meta.HostCalls, sent as replies come in
}

// stop ends the run, also before it has begun.
func (r *run) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped == nil {
		r.stopped = err
	}
	if r.machine != nil {
		r.machine.Stop(err)
	}
}

// call sends a host call, or keeps it while too many are under way.
func (r *run) call(id uint32, op, payload string) error {
	f := frame.Frame{Op: frame.Call, Run: r.id, Call: id, Meta: []byte(op), Body: []byte(payload)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.meta.HostCalls > 0 && r.inFlight >= r.meta.HostCalls {
		r.backlog = append(r.backlog, f)
		return nil
	}
	if err := r.server.out.Write(f); err != nil {
		return err
	}
	r.inFlight++
	return nil
}

func (r *run) reply(f frame.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	for len(r.backlog) > 0 && r.inFlight < r.meta.HostCalls {
		next := r.backlog[0]
		r.backlog = r.backlog[1:]
		if err := r.server.out.Write(next); err != nil {
			r.machine.Deliver(next.Call, false, hostError(err))
			continue
		}
		r.inFlight++
	}
	if r.machine != nil {
		r.machine.Deliver(f.Call, string(f.Meta) != "error", string(f.Body))
	}
}

// hostError is the error object of a call that could not be sent.
func hostError(err error) string {
	text, _ := json.Marshal(map[string]string{"code": "host_call_failed", "message": err.Error()})
	return string(text)
}

func (r *run) execute() {
	done, result := r.result()
	if r.meta.Output > 0 && len(result) > r.meta.Output {
		done.Fault, done.Detail, result = frame.FaultOutput, fmt.Sprintf("%d bytes", len(result)), ""
	}
	r.server.forget(r.id)
	r.mu.Lock()
	r.backlog = nil
	r.mu.Unlock()
	f := frame.Frame{Op: frame.Done, Run: r.id, Body: []byte(result)}
	if err := r.server.send(f, done); errors.Is(err, frame.ErrFrame) {
		done.Fault, done.Detail, done.Unhandled = frame.FaultOutput, err.Error(), nil
		_ = r.server.send(frame.Frame{Op: frame.Done, Run: r.id}, done) // nobody is left to tell
	}
	if r.machine != nil {
		_ = r.machine.Close() // frees memory; there is nothing to do about a failure
	}
	r.server.stock.hint()
}

func (r *run) result() (frame.DoneMeta, string) {
	bytecode, err := r.bundle.compile(r.server.engine, r.meta.Name, r.meta.CPU, r.overrun)
	if err != nil {
		return frame.DoneMeta{Fault: frame.FaultSyntax, Detail: clip(syntaxError(r.meta.Name, err), 2000)}, ""
	}
	machine, err := r.server.stock.take(r.bundle.zod)
	if err != nil {
		return frame.DoneMeta{Fault: frame.FaultInternal, Detail: err.Error()}, ""
	}
	r.mu.Lock()
	r.machine = machine
	if r.stopped != nil {
		machine.Stop(r.stopped)
	}
	r.mu.Unlock()

	out := machine.Run(vm.Job{
		Request: r.request,
		Bundle:  bytecode,
		Memory:  r.meta.Memory,
		CPU:     r.meta.CPU,
		Call:    r.call,
		Overrun: r.overrun,
	})
	done := frame.DoneMeta{CPU: out.CPU, Memory: out.PeakMemory, Exhausted: out.Exhausted}
	for _, reason := range out.Unhandled {
		done.Unhandled = append(done.Unhandled, clip(reason, 300))
	}
	if out.Err != nil {
		done.Fault, done.Detail = fault(out.Err), clip(out.Err.Error(), 2000)
	}
	return done, out.Result
}

// overrun tells the server that this run has spent its CPU time and may not be able to stop.
func (r *run) overrun() {
	_ = r.server.out.Write(frame.Frame{Op: frame.Overrun, Run: r.id}) // nobody is left to tell
}

// clip keeps at most n bytes of whole characters: texts of the function's own must not outgrow the meta of a frame, even with
// each byte escaped.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func fault(err error) string {
	for _, known := range []struct {
		err   error
		fault string
	}{
		{vm.ErrStuck, frame.FaultStuck},
		{vm.ErrCPU, frame.FaultCPU},
		{vm.ErrMemory, frame.FaultMemory},
		{vm.ErrScript, frame.FaultScript},
		{errCancelled, frame.FaultCancelled},
	} {
		if errors.Is(err, known.err) {
			return known.fault
		}
	}
	return frame.FaultInternal
}
