package runner

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/frame"
)

// key names a bundle in a process. The file name is part of it, as it is compiled in: one text may be deployed twice.
func (b Bundle) key() string { return b.Hash + " " + b.Name }

// envelopeSize is what the SDK's result adds around an output.
const envelopeSize = 64

// encode makes the two parts of a Run frame: what the process must know, and the request that it hands to the SDK unread.
func encode(req Request, limits Limits) (meta, request []byte, err error) {
	run := frame.RunMeta{
		Bundle:    req.Bundle.key(),
		Name:      req.Bundle.Name,
		Memory:    max(limits.Memory, 0),
		CPU:       max(limits.CPU, 0),
		HostCalls: max(limits.HostCalls, 0),
	}
	if limits.Output > 0 {
		run.Output = limits.Output + envelopeSize
	}
	if meta, err = json.Marshal(run); err != nil {
		return nil, nil, fmt.Errorf("encoding a run: %w", err)
	}
	type bundle struct {
		Name       string `json:"name"`
		SDKVersion string `json:"sdkVersion"`
	}
	request, err = json.Marshal(struct {
		Kind    Kind            `json:"kind"`
		Bundle  bundle          `json:"bundle"`
		Input   json.RawMessage `json:"input,omitempty"`
		Context json.RawMessage `json:"context,omitempty"`
	}{req.Kind, bundle{req.Bundle.Name, req.Bundle.SDKVersion}, req.Input, req.Context})
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the request of %s: %w", req.Bundle.Name, err)
	}
	return meta, request, nil
}

// decode reads a Done frame. What the process says is not trusted: nonsense becomes an internal error of the function.
func decode(req Request, f frame.Frame, limits Limits) Result {
	var done frame.DoneMeta
	if err := json.Unmarshal(f.Meta, &done); err != nil {
		return Result{Error: failure(TypeInternal, "Error", "the function damaged its runtime", nil)}
	}
	r := Result{Telemetry: Telemetry{CPU: max(done.CPU, 0), PeakMemory: max(done.Memory, 0)}}
	if done.Fault != "" {
		r.Error = faultError(req, done, limits)
		return r
	}
	var envelope struct {
		OK     bool            `json:"ok"`
		Output json.RawMessage `json:"output"`
		Error  *struct {
			Type     string          `json:"type"`
			Payload  json.RawMessage `json:"payload"`
			Upstream json.RawMessage `json:"upstream"`
			Stack    string          `json:"stack"`
		} `json:"error"`
	}
	if err := json.Unmarshal(f.Body, &envelope); err != nil || !envelope.OK && envelope.Error == nil {
		r.Error = failure(TypeInternal, "Error", "the function damaged its runtime", nil)
		return r
	}
	if envelope.OK {
		r.Output = envelope.Output
		return r
	}
	e := envelope.Error
	r.Error = &FunctionError{Type: e.Type, Payload: e.Payload, Upstream: e.Upstream, Stack: e.Stack}
	mapStacks(r.Error, req.Bundle)
	if done.Exhausted && e.Type == TypeInternal && isMemoryError(e.Payload) {
		r.Error = outOfMemory(limits)
	}
	return r
}

// isMemoryError recognises what the engine throws when it is refused memory: an InternalError, or null if it had no room for
// one.
func isMemoryError(payload []byte) bool {
	var thrown struct {
		Name    string `json:"name"`
		Message string `json:"message"`
	}
	if json.Unmarshal(payload, &thrown) != nil {
		return false
	}
	return thrown.Name == "InternalError" && thrown.Message == "out of memory" || thrown.Message == "null"
}

// faultError is the error of a run that ended without a result of the SDK.
func faultError(req Request, done frame.DoneMeta, limits Limits) *FunctionError {
	switch done.Fault {
	case frame.FaultStuck:
		return failure(TypeInternal, "Error", "The function waits for a promise that nothing will settle", ErrNeverSettles)
	case frame.FaultCPU:
		return cpuExceeded(limits)
	case frame.FaultMemory:
		return outOfMemory(limits)
	case frame.FaultOutput:
		message := fmt.Sprintf("Output size is too large: %s, at most %d bytes are allowed", done.Detail, limits.Output)
		if req.Kind == KindAction {
			return failure(TypeInternal, "Error", message, ErrOutputTooLarge)
		}
		return failure(TypeTooLarge, "Error", message, ErrOutputTooLarge)
	case frame.FaultSyntax:
		return failure(TypeInternal, "SyntaxError", done.Detail, nil)
	}
	return failure(TypeInternal, "Error", done.Detail, nil)
}

func outOfMemory(l Limits) *FunctionError {
	message := fmt.Sprintf("The function needs more than %d MiB of memory", l.Memory/mebibyte)
	return failure(TypeOutOfMemory, "Error", message, ErrOutOfMemory)
}

func cpuExceeded(l Limits) *FunctionError {
	message := fmt.Sprintf("The function computed for %v without calling the platform", l.CPU)
	return failure(TypeCPUExceeded, "Error", message, ErrCPUExceeded)
}

func timedOut(l Limits) *FunctionError {
	message := fmt.Sprintf("The function did not end within %v", l.Wall.Round(time.Millisecond))
	return failure(TypeTimedOut, "Error", message, ErrTimedOut)
}
