package sdk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk"
	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

const bundleName = "fn-github-dev.cjs"

// call is one op as the host saw it.
type call struct {
	Op      string
	Request map[string]any
}

// refusal makes the host reject an op.
type refusal map[string]any

// silence makes the host never answer.
type silence struct{}

// host answers ops by name with a JSON value, a refusal or silence. An op it does not have fails the test, except log.
type host map[string]func(request map[string]any) any

// replies answers the same op with one value after another; one call too many is refused.
func replies(values ...any) func(map[string]any) any {
	return func(map[string]any) any {
		if len(values) == 0 {
			return refusal{"code": "test_exhausted", "message": "no reply left"}
		}
		v := values[0]
		values = values[1:]
		return v
	}
}

// always answers with the same value.
func always(value any) func(map[string]any) any { return func(map[string]any) any { return value } }

// done answers an op whose reply is not read.
func done(map[string]any) any { return map[string]any{} }

// result is what __run resolved to, with the ops seen on the way.
type result struct {
	OK     bool `json:"ok"`
	Output any  `json:"output"`
	Error  *struct {
		Type     string         `json:"type"`
		Payload  map[string]any `json:"payload"`
		Upstream map[string]any `json:"upstream"`
		Stack    string         `json:"stack"`
	} `json:"error"`
	Calls []call `json:"-"`
}

// of returns the requests of one op, in order.
func (r result) of(op string) []map[string]any {
	var out []map[string]any
	for _, c := range r.Calls {
		if c.Op == op {
			out = append(out, c.Request)
		}
	}
	return out
}

// request is the text __run gets, apart from the bundle.
type request struct {
	kind       string
	input      any
	context    map[string]any
	sdkVersion string
}

// engine compiles the SDK once for all tests; it lives as long as the test process.
var engine = sync.OnceValues(func() (*vm.Engine, error) { return vm.NewEngine(sdk.Runtime) })

// run executes a bundle in a fresh machine.
func run(t *testing.T, h host, req request, bundle string) result {
	t.Helper()
	e, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	code, err := e.CompileBundle(bundleName, bundle)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := e.New(false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := machine.Close(); err != nil {
			t.Error(err)
		}
	}()
	var res result
	outcome := machine.Run(vm.Job{
		Bundle: code,
		Request: mustJSON(t, map[string]any{
			"kind":    req.kind,
			"bundle":  map[string]any{"name": bundleName, "sdkVersion": req.sdkVersion},
			"input":   req.input,
			"context": req.context,
		}),
		Call: func(id uint32, op, payload string) error { return answer(t, h, &res, machine, id, op, payload) },
	})
	if outcome.Err != nil {
		t.Fatalf("__run did not settle: %v", outcome.Err)
	}
	if len(outcome.Unhandled) > 0 {
		t.Errorf("promises nobody waited for were rejected: %v", outcome.Unhandled)
	}
	if err := json.Unmarshal([]byte(outcome.Result), &res); err != nil {
		t.Fatalf("result %q: %v", outcome.Result, err)
	}
	return res
}

func answer(t *testing.T, h host, res *result, machine *vm.VM, id uint32, op, payload string) error {
	var request map[string]any
	if err := json.Unmarshal([]byte(payload), &request); err != nil {
		return fmt.Errorf("op %s: %w", op, err)
	}
	res.Calls = append(res.Calls, call{op, request})
	respond, ok := h[op]
	switch {
	case !ok && op == "log":
		respond = done
	case !ok:
		t.Errorf("unexpected op %s %s", op, payload)
		respond = always(refusal{"code": "unexpected", "message": "unexpected op " + op})
	}
	switch v := respond(request).(type) {
	case refusal:
		machine.Deliver(id, false, mustJSON(t, v))
	case silence:
	default:
		machine.Deliver(id, true, mustJSON(t, v))
	}
	return nil
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// baseContext is a run's context; more overrides it.
func baseContext(more map[string]any) map[string]any {
	ctx := map[string]any{
		"connectionId": "conn-1", "providerConfigKey": "github-dev", "provider": "github",
		"environmentId": 7, "environmentName": "dev", "accountId": 3, "activityLogId": "op_1",
		"nangoConnectionId": 42, "functionName": "fn",
	}
	maps.Copy(ctx, more)
	return ctx
}

// action runs body as the exec of a zero-yaml action: `nango` and `input` are in scope, what it returns is the output.
func action(t *testing.T, h host, body string, more ...map[string]any) result {
	t.Helper()
	return zeroYAML(t, h, "action", "action", body, more...)
}

// syncRun runs body as the exec of a sync; its output is true, so tests look at the ops.
func syncRun(t *testing.T, h host, body string, more ...map[string]any) result {
	t.Helper()
	return zeroYAML(t, h, "sync", "sync", body, more...)
}

func zeroYAML(t *testing.T, h host, kind, typ, body string, more ...map[string]any) result {
	t.Helper()
	ctx := baseContext(nil)
	for _, m := range more {
		ctx = baseContext(m)
	}
	bundle := fmt.Sprintf("exports.default = {type: %q, exec: async (nango, input) => {\n%s\n}};", typ, body)
	return run(t, h, request{kind: kind, context: ctx, sdkVersion: "0.71.10-zero"}, bundle)
}

// wantOutput checks that the run succeeded with the output given as JSON text.
func wantOutput(t *testing.T, res result, wantJSON string) {
	t.Helper()
	if !res.OK {
		t.Fatalf("run failed: %s %v\n%s", res.Error.Type, res.Error.Payload, res.Error.Stack)
	}
	wantEqual(t, res.Output, wantJSON)
}

// wantEqual compares a decoded JSON value with JSON text.
func wantEqual(t *testing.T, got any, wantJSON string) {
	t.Helper()
	var want, round any
	if err := json.Unmarshal([]byte(wantJSON), &want); err != nil {
		t.Fatalf("want %q: %v", wantJSON, err)
	}
	if err := json.Unmarshal([]byte(mustJSON(t, got)), &round); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, round); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

// wantFailure checks the error type and payload (as JSON text) of a failed run, stack traces aside.
func wantFailure(t *testing.T, res result, wantType, wantPayload string) {
	t.Helper()
	if res.OK {
		t.Fatalf("run succeeded with %v, want %s", res.Output, wantType)
	}
	if res.Error.Type != wantType {
		t.Errorf("error type %q, want %q", res.Error.Type, wantType)
	}
	payload := map[string]any{}
	for k, v := range res.Error.Payload {
		if k != "stacktrace" {
			payload[k] = v
		}
	}
	wantEqual(t, payload, wantPayload)
}

// page is an http reply with a JSON body.
func page(body string) map[string]any {
	return map[string]any{"status": 200, "statusText": "OK", "headers": map[string]any{"content-type": "application/json"}, "body": body}
}

// lines joins JavaScript lines.
func lines(l ...string) string { return strings.Join(l, "\n") }
