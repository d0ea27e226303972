package runner

import (
	"context"
	"encoding/json"
	"time"
)

// Kind is what a function is run as.
type Kind string

// The kinds. Inspect only loads the bundle and describes its definition.
const (
	KindSync    Kind = "sync"
	KindAction  Kind = "action"
	KindWebhook Kind = "webhook"
	KindOnEvent Kind = "on-event"
	KindInspect Kind = "inspect"
)

// Bundle is a compiled function: one CommonJS text.
type Bundle struct {
	// Hash identifies Code: processes keep what they compiled under it. Required, at most 1,000 bytes.
	Hash string
	Code string
	// Name is the script's file name, such as "<function>-<integration>.cjs": error stacks show it.
	Name string
	// SDKVersion is the version the function was deployed with; it must contain "-zero" for functions made by createSync and
	// its kin.
	SDKVersion string
}

// Request is one run.
type Request struct {
	// Tenant keeps processes apart: runs of different tenants never share one.
	Tenant string
	Bundle Bundle
	Kind   Kind
	// Input is the JSON value handed to the function; nil for none.
	Input json.RawMessage
	// Context is the JSON object from which the SDK builds the function's runtime object; nil for none. Its keys are listed in
	// js/sdk/ops.md.
	Context json.RawMessage
	// Limits replace those of the pool for this kind, field by field, where they are not zero.
	Limits Limits
}

// Limits bound one run. A zero field means the default, a negative one no limit.
type Limits struct {
	// Memory is what the virtual machine may hold, in bytes. Default 128 MiB.
	Memory int64
	// CPU is the computing time between two host calls. Default 30 s.
	CPU time.Duration
	// Wall is the time from start to end. Default by kind: sync 24 h, webhook 60 min, action 15 min, on-event 5 min, inspect
	// 30 s.
	Wall time.Duration
	// HostCalls is how many host calls may be under way; more wait inside the process. Default 32.
	HostCalls int
	// Output is the size of the result, in bytes of JSON. Default 10 MiB; action 2 MiB.
	Output int
}

const mebibyte = 1 << 20

// defaults are the limits of a kind.
func defaults(k Kind) Limits {
	l := Limits{Memory: 128 * mebibyte, CPU: 30 * time.Second, Wall: 24 * time.Hour, HostCalls: 32, Output: 10 * mebibyte}
	switch k {
	case KindSync:
	case KindAction:
		l.Wall, l.Output = 15*time.Minute, 2*mebibyte
	case KindWebhook:
		l.Wall = 60 * time.Minute
	case KindOnEvent:
		l.Wall = 5 * time.Minute
	case KindInspect:
		l.Wall = 30 * time.Second
	}
	return l
}

// over returns l with the zero fields taken from base.
func (l Limits) over(base Limits) Limits {
	if l.Memory == 0 {
		l.Memory = base.Memory
	}
	if l.CPU == 0 {
		l.CPU = base.CPU
	}
	if l.Wall == 0 {
		l.Wall = base.Wall
	}
	if l.HostCalls == 0 {
		l.HostCalls = base.HostCalls
	}
	if l.Output == 0 {
		l.Output = base.Output
	}
	return l
}

// Host answers what a function asks for: HTTP calls, records, logs, checkpoints. One Host serves one run and is called from
// several goroutines. The ops and their JSON are listed in js/sdk/ops.md; payload and reply are JSON texts, and a payload is
// whatever a possibly hostile function sent: check it as input from outside.
//
// A *HostError reaches the function as it is. Any other error is logged and reaches it as code "internal_error" without a
// cause. Call must return soon after ctx ends.
type Host interface {
	Call(ctx context.Context, op string, payload []byte) (reply []byte, err error)
}

// HostError is an error for the function's eyes: a JSON object with at least "code" and "message".
type HostError struct{ JSON []byte }

func (e *HostError) Error() string { return "host call refused: " + string(e.JSON) }

// Result is what a run left.
type Result struct {
	// Output is the function's output as JSON; nil when Error is set.
	Output json.RawMessage
	// Error is how the function failed, if it did.
	Error *FunctionError
	// Telemetry is set as far as the process lived to tell.
	Telemetry Telemetry
}

// Telemetry is what a run used.
type Telemetry struct {
	// CPU is the time the virtual machine computed, Wall the time from start to end without the wait for a free process.
	CPU, Wall time.Duration
	// PeakMemory is the most the virtual machine held when it yielded, in bytes.
	PeakMemory int64
	// HostCalls counts the calls that reached the Host.
	HostCalls int
}
