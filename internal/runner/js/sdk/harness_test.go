package sdk_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"modernc.org/quickjs"

	"github.com/patchbay-dev/patchbay/internal/runner/js/sdk"
)

// bundleName is how this engine names code made with new Function: what the loader in testdata/globals.js uses.
const bundleName = "<input>"

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

// run executes a bundle in a fresh machine.
func run(t *testing.T, h host, req request, bundle string) result {
	t.Helper()
	vm, err := quickjs.NewVM()
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	vm.SetGCThreshold(64 << 20)
	var res result
	err = vm.RegisterHostFunc("native", func(args []any) (any, error) {
		op, payload := args[0].(string), args[1].(string)
		switch op {
		case "require":
			source, err := os.ReadFile("../" + payload + "/" + payload + ".js")
			return string(source), err
		case "byteLength":
			return len(payload), nil
		case "url":
			return parseURL(payload)
		}
		return answer(t, h, &res, op, payload)
	})
	if err != nil {
		t.Fatal(err)
	}
	globals, err := os.ReadFile("testdata/globals.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Eval("{"+string(globals)+"\n"+sdk.Runtime+"\n}", quickjs.EvalGlobal); err != nil {
		t.Fatal(err)
	}
	text := mustJSON(t, map[string]any{
		"kind":    req.kind,
		"bundle":  map[string]any{"code": bundle, "name": bundleName, "sdkVersion": req.sdkVersion},
		"input":   req.input,
		"context": req.context,
	})
	if _, err := vm.Eval("let out; __run("+mustJSON(t, text)+").then((r) => { out = r; })", quickjs.EvalGlobal); err != nil {
		t.Fatal(err)
	}
	if _, err := vm.ExecutePendingJobs(); err != nil {
		t.Fatal(err)
	}
	out, err := vm.Eval("out", quickjs.EvalGlobal)
	if err != nil {
		t.Fatal(err)
	}
	settled, ok := out.(string)
	if !ok {
		t.Fatalf("__run did not settle: %v", out)
	}
	if err := json.Unmarshal([]byte(settled), &res); err != nil {
		t.Fatalf("result %q: %v", settled, err)
	}
	return res
}

func answer(t *testing.T, h host, res *result, op, payload string) (any, error) {
	var request map[string]any
	if err := json.Unmarshal([]byte(payload), &request); err != nil {
		return nil, fmt.Errorf("op %s: %w", op, err)
	}
	res.Calls = append(res.Calls, call{op, request})
	respond, ok := h[op]
	switch {
	case !ok && op == "log":
		respond = always(map[string]any{})
	case !ok:
		t.Errorf("unexpected op %s %s", op, payload)
		respond = always(refusal{"code": "unexpected", "message": "unexpected op " + op})
	}
	switch v := respond(request).(type) {
	case refusal:
		return mustJSON(t, map[string]any{"error": v}), nil
	case silence:
		return `{"never":true}`, nil
	default:
		return mustJSON(t, map[string]any{"reply": mustJSON(t, v)}), nil
	}
}

func parseURL(payload string) (any, error) {
	var parts [2]string
	if err := json.Unmarshal([]byte(payload), &parts); err != nil {
		return nil, err
	}
	u, err := url.Parse(parts[0])
	if base, baseErr := url.Parse(parts[1]); err == nil && parts[1] != "" && baseErr == nil {
		u = base.ResolveReference(u)
	}
	if err != nil || u.Scheme == "" {
		return `{"error":true}`, nil
	}
	if u.Path == "" {
		u.Path = "/"
	}
	fields := map[string]string{
		"href": u.String(), "origin": u.Scheme + "://" + u.Host, "protocol": u.Scheme + ":", "host": u.Host,
		"pathname": u.EscapedPath(), "search": "",
	}
	if u.RawQuery != "" {
		fields["search"] = "?" + u.RawQuery
	}
	text, err := json.Marshal(fields)
	return string(text), err
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
	for k, v := range more {
		ctx[k] = v
	}
	return ctx
}

// action runs body as the exec of a zero-yaml action: `nango` and `input` are in scope, what it returns is the output.
func action(t *testing.T, h host, body string, more ...map[string]any) result {
	t.Helper()
	return zeroYAML(t, h, "action", "action", body, more...)
}

// sync runs body as the exec of a sync; its output is true, so tests look at the ops, or at `report`ed values.
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
