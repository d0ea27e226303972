package runner

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Why a run has no result of its own. A *FunctionError unwraps to one of the first five; the others are returned by Run.
var (
	ErrOutOfMemory    = errors.New("function out of memory")
	ErrTimedOut       = errors.New("function timed out")
	ErrCPUExceeded    = errors.New("function used too much CPU time without a host call")
	ErrOutputTooLarge = errors.New("function output too large")
	ErrNeverSettles   = errors.New("function waits for a promise that nothing will settle")

	// ErrWorkerLost: the process died under the run, through no known fault of its own. It may have had effects.
	ErrWorkerLost = errors.New("runner process lost")
	// ErrStopped: the pool is stopped, or stopping and out of patience.
	ErrStopped = errors.New("runner pool stopped")
)

// The types of FunctionError that the runner itself gives; all others come from the SDK.
const (
	TypeInternal    = "script_internal_error"
	TypeOutOfMemory = "function_runtime_out_of_memory"
	TypeTimedOut    = "function_runtime_timed_out"
	TypeCPUExceeded = "function_runtime_cpu_exceeded"
	TypeTooLarge    = "script_output_too_large"
)

// FunctionError is how a function failed, ready to be stored and shown to the function's author.
type FunctionError struct {
	// Type is the stable code: one of the constants above or of the SDK ("action_script_runtime_error", …).
	Type string
	// Payload is a JSON object: what the function threw, or {name, message, …}.
	Payload json.RawMessage
	// Upstream is the third party's answer, {status, headers, body}, when that was the reason; else nil.
	Upstream json.RawMessage
	// Stack is the JavaScript stack, for the operator.
	Stack string

	cause error
}

// Error implements error.
func (e *FunctionError) Error() string { return fmt.Sprintf("%s: %s", e.Type, e.Payload) }

// Unwrap returns the reason of a failure that the runner itself found; nil for one that the function threw.
func (e *FunctionError) Unwrap() error { return e.cause }

// failure makes the error for something the runner found.
func failure(kind, name, message string, cause error) *FunctionError {
	payload, _ := json.Marshal(struct { // two strings always marshal
		Name    string `json:"name"`
		Message string `json:"message"`
	}{name, message})
	return &FunctionError{Type: kind, Payload: payload, cause: cause}
}
