package sdk_test

import (
	"strings"
	"testing"
)

func TestThrownValuesBecomeTheirErrorType(t *testing.T) {
	t.Parallel()
	http := func(status int, body string, headers map[string]any) host {
		return host{"http": always(map[string]any{"status": status, "body": body, "headers": headers})}
	}
	tests := []struct {
		name, code string
		host       host
		wantType   string
		payload    string
		upstream   string
	}{
		{"ActionError with an object", `throw new nango.ActionError({type: 'not_found', id: 1})`, nil, "action_script_runtime_error", `{"type":"not_found","id":1}`, ""},
		{"ActionError with a text", `throw new nango.ActionError('plain text')`, nil, "action_script_runtime_error", `{"message":"plain text"}`, ""},
		{"ActionError with a list", `throw new nango.ActionError([1, 2])`, nil, "action_script_runtime_error", `{"message":[1,2]}`, ""},
		{"ActionError with nothing", `throw new nango.ActionError()`, nil, "action_script_runtime_error", `{}`, ""},
		{"ActionError with a falsy payload", `throw new nango.ActionError(0)`, nil, "action_script_runtime_error", `{}`, ""},
		{
			"cancelled", `await nango.get({endpoint: '/x'})`, host{"http": always(refusal{"code": "script_aborted", "message": "m"})},
			"script_aborted", `{}`, "",
		},
		{
			"interrupted", `await nango.saveCheckpoint({a: 1})`, host{"checkpoint.save": always(refusal{"code": "execution_interrupted"})},
			"execution_interrupted", `{}`, "",
		},
		{
			"out of time", `await nango.triggerAction('p', 'c', 'a')`, host{"action.trigger": always(refusal{"code": "execution_timeout", "payload": map[string]any{"after": 1}})},
			"execution_timeout", `{"after":1}`, "",
		},
		{
			"the provider says no", `await nango.get({endpoint: '/x'})`,
			http(404, `{"error":"gone"}`, map[string]any{"Content-Type": "application/json", "x-ratelimit-left": "3", "x-request-id": "r", "set-cookie": "s=1"}),
			"script_http_error", `{"error":"gone"}`,
			`{"status":404,"headers":{"content-type":"application/json","x-ratelimit-left":"3"},"body":{"error":"gone"}}`,
		},
		{
			"the provider's payload is taken out of its envelope", `await nango.get({endpoint: '/x'})`, http(500, `{"payload":{"a":1},"b":2}`, nil),
			"script_http_error", `{"a":1}`, `{"status":500,"headers":{},"body":{"a":1}}`,
		},
		{
			"the provider answers text", `await nango.get({endpoint: '/x'})`, http(502, `<html>`, nil),
			"script_http_error", `{"message":"<html>"}`, `{"status":502,"headers":{},"body":{"message":"<html>"}}`,
		},
		{
			"the provider answers bytes", `await nango.get({endpoint: '/x', responseType: 'arraybuffer'})`, http(400, `{"a":1}`, nil),
			"script_http_error", `{"a":1}`, `{"status":400,"headers":{},"body":{"a":1}}`,
		},
		{
			"the provider limits the rate", `await nango.get({endpoint: '/x'})`, http(429, `{}`, nil),
			"script_http_error", `{}`, `{"status":429,"headers":{},"body":{}}`,
		},
		{
			"the platform limits the rate", `await nango.getConnection()`,
			host{"connection.get": always(refusal{"status": 429, "body": map[string]any{"error": map[string]any{"code": "too_many_request"}}})},
			"script_api_rate_limit_error", `{"error":{"code":"too_many_request"}}`, `{"status":429,"headers":{},"body":{"error":{"code":"too_many_request"}}}`,
		},
		{
			"the platform refuses", `await nango.setMetadata({})`, host{"metadata.set": always(refusal{"status": 404, "code": "unknown_connection", "message": "m"})},
			"script_http_error", `{"error":{"code":"unknown_connection","message":"m"}}`,
			`{"status":404,"headers":{},"body":{"error":{"code":"unknown_connection","message":"m"}}}`,
		},
		{
			"no answer", `await nango.get({endpoint: '/x'})`, host{"http": always(refusal{"code": "ECONNREFUSED", "message": "connect ECONNREFUSED h:1"})},
			"script_network_error", `{"name":"Error","code":"ECONNREFUSED","message":"connect ECONNREFUSED h:1"}`, "",
		},
		{
			"a configuration mistake", `await nango.get({endpoint: '/x'})`, host{"http": always(refusal{"code": "unsupported_provider", "message": ""})},
			"script_internal_error", `{"name":"Error","code":"unsupported_provider","message":"unsupported_provider"}`, "",
		},
		{"an Error", `throw new TypeError('boom')`, nil, "script_internal_error", `{"name":"TypeError","message":"boom"}`, ""},
		{"an Error with a code", `throw Object.assign(new Error('boom'), {code: 'E1'})`, nil, "script_internal_error", `{"name":"Error","code":"E1","message":"boom"}`, ""},
		{"a text", `throw 'boom'`, nil, "script_internal_error", `{"name":"Error","message":"\"boom\""}`, ""},
		{"undefined", `throw undefined`, nil, "script_internal_error", `{"name":"Error","message":"undefined"}`, ""},
		{"an object that has a message", `throw {name: 'N', message: 'm'}`, nil, "script_internal_error", `{"name":"N","message":"m"}`, ""},
		{"an object without", `throw {a: 1}`, nil, "script_internal_error", `{"message":"{\"a\":1}"}`, ""},
		{
			"an error that another Axios made", `throw Object.assign(new Error('m'), {isAxiosError: true, response: {status: 418, data: {t: 1}}})`, nil,
			"script_http_error", `{"t":1}`, `{"status":418,"headers":{},"body":{"t":1}}`,
		},
		{
			"an object that can not be read", `throw {get message() { throw new Error('no'); }}`, nil,
			"script_internal_error", `{"name":"Error","message":"The function threw a value that can not be described"}`, "",
		},
		{"an output that is no JSON", `const a = {}; a.a = a; return a`, nil, "script_internal_error", `{"name":"TypeError","message":"circular reference"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := action(t, tt.host, tt.code)
			wantFailure(t, res, tt.wantType, tt.payload)
			if tt.upstream == "" {
				if res.Error.Upstream != nil {
					t.Errorf("upstream %v, want none", res.Error.Upstream)
				}
				return
			}
			wantEqual(t, res.Error.Upstream, tt.upstream)
		})
	}
}

func TestAStackTraceHoldsTheHeadlineAndTheAuthorsLines(t *testing.T) {
	t.Parallel()
	res := action(t, nil, "const deep = (n) => { if (n === 0) throw new Error('boom'); deep(n - 1); }; deep(20);")
	trace, _ := res.Error.Payload["stacktrace"].([]any)
	if len(trace) != 10 || trace[0] != "Error: boom" {
		t.Fatalf("stack trace %v", trace)
	}
	for _, line := range trace[1:] {
		if !strings.Contains(line.(string), bundleName) {
			t.Errorf("line %q is not the author's", line)
		}
	}
	if got := strings.Count(res.Error.Stack, "\n"); got < 20 {
		t.Errorf("the full stack has %d lines", got)
	}
}

func TestTheStackOfAFailedCallShowsWhoMadeIt(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]any{
		"no answer": refusal{"code": "ECONNRESET", "message": "read ECONNRESET"},
		"refused":   refusal{"code": "missing_api_url"},
	} {
		res := action(t, host{"http": always(reply)}, "async function fetchIt() { return nango.get({endpoint: '/x'}); }\nawait fetchIt();")
		trace, _ := res.Error.Payload["stacktrace"].([]any)
		if len(trace) < 2 || !strings.Contains(trace[1].(string), "fetchIt") {
			t.Errorf("%s: stack trace %v", name, trace)
		}
	}
}

func TestPayloadsAreLimited(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, payload, want string }{
		{"keys are sorted", `{b: 1, a: {d: 1, c: 2}}`, `{"a":{"c":2,"d":1},"b":1}`},
		{"credentials and noise are left out", `{Authorization: 'Bearer x', h: {authorization: 'y'}, stack: 's', trace: 't', httpAgent: {}, httpsAgent: {}, _sessionCache: 1, ok: 1}`,
			`{"Authorization":"[Redacted]","h":{"authorization":"[Redacted]"},"ok":1}`},
		{"cycles are cut", `(() => { const a = {n: 1}; a.self = {a}; return a; })()`, `{"n":1,"self":{"a":"[Circular]"}}`},
		{"one object twice is no cycle", `(() => { const a = {n: 1}; return {x: a, y: a}; })()`, `{"x":{"n":1},"y":{"n":1}}`},
		{"ten levels", `(() => { let o = {}; for (let i = 0; i < 10; i++) o = {o}; return o; })()`, strings.Repeat(`{"o":`, 10) + `{}` + strings.Repeat("}", 10)},
		{"eleven levels", `(() => { let o = {}; for (let i = 0; i < 11; i++) o = {o}; return o; })()`, strings.Repeat(`{"o":`, 11) + `"[...]"` + strings.Repeat("}", 11)},
		{"what JSON has no word for", `{d: new Date(0), f: () => 1, u: undefined, n: 10n, i: Infinity, e: new RangeError('r'), b: Buffer.from('abc')}`,
			`{"d":"1970-01-01T00:00:00.000Z","n":"10","i":null,"e":{"name":"RangeError","message":"r"},"b":"[Buffer: 3 bytes]"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, action(t, nil, "throw new nango.ActionError("+tt.payload+")"), "action_script_runtime_error", tt.want)
		})
	}
}

func TestLongListsKeepTheirFirstThousandObjects(t *testing.T) {
	t.Parallel()
	res := action(t, nil, "throw new nango.ActionError({list: Array.from({length: 1002}, (_, i) => (i === 1001 ? i : {i}))})")
	list, _ := res.Error.Payload["list"].([]any)
	if len(list) != 1002 {
		t.Fatalf("%d entries", len(list))
	}
	wantEqual(t, []any{list[0], list[999], list[1000], list[1001]}, `[{"i":0},{"i":999},"[...]",1001]`)
}

func TestPayloadsAreAtMost99000Bytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, payload string
		wantKeys      []string
	}{
		{"a text is cut", `{small: 1, big: 'é'.repeat(120000)}`, []string{"small", "big"}},
		{"a text full of escapes is cut", `{small: 1, big: '\u0001'.repeat(120000)}`, []string{"small", "big"}},
		{"a list is thinned", `{small: 1, big: Array.from({length: 50000}, (_, i) => 'item ' + i)}`, []string{"small", "big"}},
		{"an object loses properties", `{small: 1, big: Object.fromEntries(Array.from({length: 20000}, (_, i) => ['key' + i, i]))}`, []string{"small", "big"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := action(t, nil, "throw new nango.ActionError("+tt.payload+")")
			size := len(mustJSON(t, res.Error.Payload))
			if size > 99_000 || size < 40_000 {
				t.Errorf("payload has %d bytes", size)
			}
			for _, key := range tt.wantKeys {
				if res.Error.Payload[key] == nil {
					t.Errorf("%s is gone", key)
				}
			}
		})
	}
}

func TestOutputOfAnAction(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"":                           `null`,
		"return undefined":           `null`,
		"return false":               `false`,
		"return 0":                   `0`,
		"return ''":                  `""`,
		"return () => 1":             `null`,
		"return {a: undefined}":      `{}`,
		"return [new Date(0)]":       `["1970-01-01T00:00:00.000Z"]`,
		"return {ok: 'été', n: 1e3}": `{"ok":"été","n":1000}`,
	} {
		wantOutput(t, action(t, nil, code), want)
	}
}

func TestCallsLeftRunningAreWarnedAbout(t *testing.T) {
	t.Parallel()
	h := host{"http": always(silence{}), "records.save": always(silence{})}
	res := syncRun(t, h, "nango.get({endpoint: '/x'}); nango.batchSave([{id: 1}], 'M'); nango.log('unawaited');")
	wantOutput(t, res, `true`)
	logs := res.of("log")
	if len(logs) != 2 {
		t.Fatalf("%d log lines", len(logs))
	}
	wantEqual(t, logs[1], `{"level":"warn","message":"The function ended with 2 calls still running: await every nango call, or its outcome is lost"}`)
}

func TestAResultIsThereEvenForARequestThatMakesNoSense(t *testing.T) {
	t.Parallel()
	res := run(t, nil, request{kind: "dance", sdkVersion: zero}, "exports.default = async () => 1")
	wantFailure(t, res, "script_internal_error", `{"name":"Error","message":"Unknown kind of run \"dance\""}`)
	res = run(t, nil, request{}, "exports.default = async () => 1")
	wantFailure(t, res, "script_internal_error", `{"name":"Error","message":"Unknown kind of run \"\""}`)
}
