package run

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// Failure is how a function failed, in the words of the wire contract.
type Failure struct { //nolint:errname // it is what a function left, stored and shown; an error only on its way there
	// Type is the stable code.
	Type string `json:"type"`
	// Payload is a JSON object: what the function threw, or {name, message, …}.
	Payload json.RawMessage `json:"payload"`
	// Upstream is the third party's answer, {status, headers, body}, when that was the reason; else nil.
	Upstream json.RawMessage `json:"upstream,omitempty"`
	// stack is the JavaScript stack, for the log of the operation.
	stack string
}

// The types that are given here; all others come from the SDK and the runner.
const (
	TypeActionFailure = "action_script_failure" // an action could not be started, expired, or was lost
	TypeSyncFailure   = "sync_script_failure"   // the same for a sync
	TypeOther         = "function_runtime_other"
	typeHTTP          = "script_http_error"
	typeRateLimit     = "script_api_rate_limit_error"
)

// known are the types of the wire contract, with the status that an action answers and the sentence that goes with it.
var known = map[string]struct {
	status int
	text   string
}{
	"action_script_runtime_error":    {http.StatusInternalServerError, "The function threw an ActionError"},
	typeHTTP:                         {http.StatusFailedDependency, "A third party answered a request of the function with an error"},
	typeRateLimit:                    {http.StatusFailedDependency, "The function called the platform more often than it may"},
	"script_network_error":           {http.StatusInternalServerError, "A third party did not answer a request of the function"},
	"script_internal_error":          {http.StatusInternalServerError, "The function failed with an error that it did not handle"},
	"script_aborted":                 {http.StatusGone, "The function was aborted"},
	"script_output_too_large":        {http.StatusBadRequest, "The output of the function is too large"},
	"invalid_action_input":           {http.StatusBadRequest, "The input does not have the form that the function asks for"},
	"invalid_action_output":          {http.StatusBadRequest, "The output does not have the form that the function promises"},
	"execution_timeout":              {http.StatusInternalServerError, "The function ran out of time"},
	"function_runtime_timed_out":     {http.StatusInternalServerError, "The function ran out of time"},
	"function_runtime_out_of_memory": {http.StatusInternalServerError, "The function ran out of memory"},
	TypeOther:                        {http.StatusInternalServerError, "The process that ran the function was lost"},
	TypeActionFailure:                {http.StatusInternalServerError, "The action could not be run"},
	TypeSyncFailure:                  {http.StatusInternalServerError, "The sync could not be run"},
	"action_failure":                 {http.StatusBadRequest, "The action failed"},
}

// Error implements error. The payload is the function's: it is not for the process's own log.
func (f *Failure) Error() string { return "function failed: " + f.Type }

// Status is the HTTP status that an action answers with.
func (f *Failure) Status() int {
	if k, ok := known[f.Type]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// Code is Type, marked when it is none of the wire contract's.
func (f *Failure) Code() string {
	if _, ok := known[f.Type]; ok {
		return f.Type
	}
	return "unhandled_" + f.Type
}

// Message is a fixed sentence per code. It embeds the payload where nothing else would tell the reason.
func (f *Failure) Message() string {
	k, ok := known[f.Type]
	if !ok {
		return "The function failed: " + string(f.Payload)
	}
	if f.Type == TypeActionFailure || f.Type == TypeSyncFailure {
		return k.text + ": " + string(f.Payload)
	}
	return k.text
}

// additional is additional_properties: the answer of the third party, nil when there is none.
func (f *Failure) additional() json.RawMessage {
	if f.Upstream == nil {
		return nil
	}
	return host.Member("upstream_response", f.Upstream)
}

// Body is what an action answers: {"error": …}.
func (f *Failure) Body() []byte {
	payload := f.Payload
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	var inner any = struct {
		Message    string          `json:"message"`
		Code       string          `json:"code"`
		Payload    json.RawMessage `json:"payload"`
		Additional json.RawMessage `json:"additional_properties,omitempty"`
	}{f.Message(), f.Code(), payload, f.additional()}
	if f.Type == typeHTTP {
		inner = struct {
			Payload  json.RawMessage `json:"payload"`
			Code     string          `json:"code"`
			Upstream json.RawMessage `json:"upstream,omitempty"`
		}{payload, f.Type, f.Upstream}
	}
	return host.Encode(struct {
		Error any `json:"error"`
	}{inner})
}

// failed makes a failure whose payload is {"error": reason}. More members come as pairs.
func failed(kind, reason string, more ...any) *Failure {
	members := map[string]any{"error": reason}
	for i := 0; i+1 < len(more); i += 2 {
		members[more[i].(string)] = more[i+1]
	}
	return &Failure{Type: kind, Payload: host.Encode(members)}
}

// failureOf takes over what the runner found.
func failureOf(e *runner.FunctionError) *Failure {
	f := &Failure{Type: e.Type, Payload: e.Payload, Upstream: e.Upstream, stack: e.Stack}
	if errors.Is(e, runner.ErrCPUExceeded) { // the wire contract has one code for everything that takes too long
		f.Type = runner.TypeTimedOut
	}
	if f.Payload == nil || !strings.HasPrefix(string(f.Payload), "{") {
		f.Payload = json.RawMessage("{}")
	}
	return f
}
