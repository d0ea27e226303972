package run_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

var allActions = []string{
	"echo", "null", "error-object", "error-text", "error-none", "throw-text", "throw-null", "type-error", "upstream", "refused", "forbidden", "loop", "never",
	"memory", "big", "connection", "leak", "nested", "recursive", "lock", "wait", "checkpoint", "flaky", "fetch-ok", "wrong-model", "syntax", "plain",
}

func actionWorld(t testing.TB, s *store.Store) *world {
	w := newWorld(t, s, options{})
	w.connection = w.connect("user-1")
	w.deploy(allActions...)
	return w
}

func onSQLite(t testing.TB) *store.Store { return storetest.Open(t, storetest.SQLite(t)) }

// failureBody is either envelope of a failure.
type failureBody struct {
	Error struct {
		Message    string
		Code       string
		Payload    map[string]any
		Additional map[string]any `json:"additional_properties"`
		Upstream   map[string]any
	}
}

func TestEveryWayToFailHasItsCodeStatusAndEnvelope(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	for status := range map[int]bool{404: true, 500: true, 429: true} {
		w.on(fmt.Sprintf("/status/%d", status), func(rw http.ResponseWriter, _ *http.Request) { reply(rw, status, `{"reason":"no"}`) })
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, test := range map[string]struct {
		action, input string
		status        int
		code          string
		payload       map[string]any // members that must be there
	}{
		"ActionError of an object": {"error-object", "", 500, "action_script_runtime_error", map[string]any{"type": "not_found", "id": 1.0}},
		"ActionError of a text":    {"error-text", "", 500, "action_script_runtime_error", map[string]any{"message": "plain text"}},
		"ActionError of nothing":   {"error-none", "", 500, "action_script_runtime_error", map[string]any{}},
		"a thrown text":            {"throw-text", "", 500, "script_internal_error", map[string]any{}},
		"a thrown null":            {"throw-null", "", 500, "script_internal_error", map[string]any{}},
		"a TypeError":              {"type-error", "", 500, "script_internal_error", map[string]any{"name": "TypeError"}},
		"404 of the third party":   {"upstream", `{"status":404}`, 424, "script_http_error", map[string]any{"reason": "no"}},
		"429 of the third party":   {"upstream", `{"status":429}`, 424, "script_http_error", map[string]any{"reason": "no"}},
		"connection refused":       {"refused", `{"url":"` + gone.URL + `"}`, 500, "script_internal_error", map[string]any{"code": "base_url_override_not_allowed"}},
		"a denied address":         {"forbidden", "", 500, "action_script_runtime_error", map[string]any{"code": "url_not_allowed"}},
		"a syntax error":           {"syntax", "", 500, "script_internal_error", map[string]any{"name": "SyntaxError"}},
		"records in an action":     {"wrong-model", "", 500, "script_internal_error", map[string]any{}},
		"endless nesting":          {"recursive", "", 424, "script_http_error", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.action(test.action, test.input)
			var body failureBody
			if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != test.status || body.Error.Code != test.code {
				t.Fatalf("%d %s, want %d %s", a.status, a.body, test.status, test.code)
			}
			for member, want := range test.payload {
				if diff := cmp.Diff(want, body.Error.Payload[member]); diff != "" {
					t.Errorf("payload %s: %s\n%s", member, diff, a.body)
				}
			}
			if !strings.Contains(a.body, `"payload":{`) {
				t.Errorf("the payload is no object: %s", a.body)
			}
			if (body.Error.Message == "") != (test.code == "script_http_error") {
				t.Errorf("only script_http_error has no message: %s", a.body)
			}
			if (body.Error.Upstream != nil) != (test.code == "script_http_error") || body.Error.Additional != nil {
				t.Errorf("only script_http_error has upstream: %s", a.body)
			}
			id := a.header.Get("X-Patchbay-Operation-Id")
			op, err := w.log.Load(t.Context(), w.env.ID, id)
			if err != nil || op.State != oplog.Failed || op.Kind != oplog.ActionRun || op.Error.Type != test.code || op.FunctionName != test.action {
				t.Errorf("operation %q: %+v %v", id, op, err)
			}
		})
	}
}

// TestAHostileActionEndsWithACode has a pool of its own: what dies with a process of it is nobody else's.
func TestAHostileActionEndsWithACode(t *testing.T) {
	t.Parallel()
	own := runner.NewPool(runner.Options{
		Workers: 1, Logger: slog.New(slog.DiscardHandler), Limits: map[runner.Kind]runner.Limits{runner.KindAction: {CPU: 5 * time.Second, Memory: 24 << 20}},
	})
	if err := own.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, onSQLite(t), options{pool: own})
	w.connection = w.connect("user-1")
	w.deploy(allActions...)
	for _, test := range []struct{ action, code string }{
		{"loop", "function_runtime_timed_out"}, {"never", "script_internal_error"}, {"memory", "function_runtime_out_of_memory"}, {"big", "script_internal_error"},
	} {
		a := w.action(test.action, "")
		var body failureBody
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusInternalServerError || body.Error.Code != test.code {
			t.Errorf("%s: %d %s, want %s", test.action, a.status, a.body, test.code)
		}
		if ops := w.log.of(oplog.ActionRun, test.action); len(ops) != 1 || ops[0].State != oplog.Failed || ops[0].Error.Type != test.code {
			t.Errorf("%s: %+v", test.action, ops)
		}
		if a := w.action("plain", `{"n":2}`); a.body != `{"n":4}` {
			t.Errorf("after %s nothing works: %d %s", test.action, a.status, a.body)
		}
	}
}

func TestAnUpstreamErrorIsHandedOverReduced(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	w.on("/status/404", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 404, `{"reason":"no"}`) })
	a := w.action("upstream", `{"status":404}`)
	want := `{"error":{"payload":{"reason":"no"},"code":"script_http_error","upstream":{"status":404,"headers":{"content-type":"application/json","x-rate-limit":"7"},"body":{"reason":"no"}}}}`
	if a.status != 424 || !sameJSON(t, a.body, want) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return cmp.Equal(x, y)
}

func TestARefusedConnectionIsANetworkError(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	w.upstream.Close()
	a := w.action("upstream", `{"status":200}`)
	var body failureBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 500 || body.Error.Code != "script_network_error" || body.Error.Payload["code"] != "ECONNREFUSED" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAnActionAnswersWithWhatItReturned(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := actionWorld(t, s)
		w.on("/open", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 200, `{"n":1}`) })
		for _, test := range []struct{ action, input, want string }{
			{"echo", `{"a":[1,"<&>"]}`, `{"input":{"a":[1,"<&>"]},"connection":"user-1","environment":"dev"}`},
			{"echo", ``, `{"input":{},"connection":"user-1","environment":"dev"}`},
			{"echo", `0`, `{"input":{},"connection":"user-1","environment":"dev"}`},
			{"null", ``, `null`},
			{"connection", ``, `{"key":"` + apiKey + `","metadata":null,"url":"fake"}`},
			{"nested", `{"action":"echo","input":{"x":1}}`, `{"inner":{"input":{"x":1},"connection":"user-1","environment":"dev"}}`},
			{"checkpoint", ``, `{"n":1}`},
			{"checkpoint", ``, `{"n":2}`},
			{"fetch-ok", `{"url":"` + w.upstream.URL + `/open"}`, `{"status":200,"body":{"n":1}}`},
		} {
			if a := w.action(test.action, test.input); a.status != 200 || a.body != test.want {
				t.Errorf("%s(%s): %d %s, want %s", test.action, test.input, a.status, a.body, test.want)
			}
		}
		stored, err := w.connections.Get(t.Context(), w.integration, "user-1")
		if err != nil || string(stored.Metadata) != `{"seen":true}` {
			t.Errorf("metadata %s %v", stored.Metadata, err)
		}
	})
}

func TestWhatAnActionNamesMustExist(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	key, id := "Provider-Config-Key", "Connection-Id"
	for name, test := range map[string]struct {
		answer answerOf
		status int
		code   string
	}{
		"action":     {w.action("nope", ""), 404, "not_found"},
		"connection": {w.action("echo", "", id, "nobody"), 400, "unknown_connection"},
		"provider":   {w.action("echo", "", key, "nothing"), 400, "unknown_connection"},
		"header":     {w.do("POST", "/action/trigger", `{"action_name":"echo"}`, key, "fake"), 400, "invalid_headers"},
		"retries":    {w.action("echo", "", "X-Max-Retries", "6"), 400, "invalid_headers"},
		"name":       {w.action("a b", ""), 400, "invalid_body"},
		"body":       {w.do("POST", "/action/trigger", `{"action_name":`, key, "fake", id, "user-1"), 400, "invalid_json"},
		"query":      {w.do("POST", "/action/trigger?x=1", `{"action_name":"echo"}`, key, "fake", id, "user-1"), 400, "invalid_query_params"},
		"result":     {w.do("GET", "/action/00000000-0000-4000-8000-000000000000", ""), 404, "not_found"},
		"result id":  {w.do("GET", "/action/abc", ""), 400, "invalid_uri_params"},
	} {
		var body failureBody
		if err := json.Unmarshal([]byte(test.answer.body), &body); err != nil || test.answer.status != test.status || body.Error.Code != test.code {
			t.Errorf("%s: %d %s, want %d %s", name, test.answer.status, test.answer.body, test.status, test.code)
		}
	}
	list, err := w.functions.List(t.Context(), w.env.ID, w.integration.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Name != "null" {
			continue
		}
		if err := w.store.Functions().SetEnabled(t.Context(), w.env.ID, f.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.Notify(t.Context(), "function", ""); err != nil {
		t.Fatal(err)
	}
	w.until("the disabled action is refused", func() bool {
		a := w.action("null", "")
		return a.status == 404 && strings.Contains(a.body, `"disabled_resource"`)
	})
}

func TestNoSecretOfAFunctionReachesTheLog(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	w.set(tenant.Variable{Name: "TOKEN", Value: secret.New("variable-secret-42")})
	if a := w.action("leak", ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.until("the lines are there", func() bool { return strings.Contains(w.log.text(), "the variable is") })
	for _, secret := range []string{apiKey, "variable-secret-42"} {
		if strings.Contains(w.log.text(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestALockIsSharedByTheRunsOfAnEnvironmentAndEndsWithItsRun(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	inside, open := make(chan struct{}, 2), make(chan struct{})
	w.on("/gate", func(rw http.ResponseWriter, _ *http.Request) {
		inside <- struct{}{}
		<-open
		reply(rw, 200, `{}`)
	})
	first := make(chan answerOf, 1)
	go func() { first <- w.action("lock", "") }()
	<-inside
	second := make(chan answerOf, 1)
	go func() { second <- w.action("lock", "") }()
	<-inside
	close(open)
	if a := <-first; a.body != `{"first":true,"again":true}` {
		t.Errorf("the first run got %s", a.body)
	}
	if a := <-second; a.body != `{"first":false,"again":false}` {
		t.Errorf("a lock that somebody holds was given away: %s", a.body)
	}
	if a := w.action("lock", ""); a.body != `{"first":true,"again":true}` {
		t.Errorf("a lock outlived its run: %s", a.body)
	}
}

func TestACallerWhoHangsUpEndsTheAction(t *testing.T) {
	t.Parallel()
	w := actionWorld(t, onSQLite(t))
	inside := make(chan struct{})
	w.on("/gate", func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
	})
	ctx, hangUp := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "POST", "/action/trigger", strings.NewReader(`{"action_name":"wait"}`))
	for name, value := range map[string]string{"Authorization": "Bearer " + w.key, "Provider-Config-Key": "fake", "Connection-Id": "user-1"} {
		r.Header.Set(name, value)
	}
	done := make(chan struct{})
	go func() {
		w.server.ServeHTTP(httptest.NewRecorder(), r)
		close(done)
	}()
	<-inside
	hangUp()
	<-done
	if ops := w.log.of(oplog.ActionRun, "wait"); len(ops) != 1 || ops[0].State != oplog.Cancelled {
		t.Errorf("%+v", ops)
	}
}

func TestAnAsynchronousActionIsRetriedAndItsResultKept(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := actionWorld(t, s)
		calls := 0 // the actions of an environment run one after the other
		w.on("/flaky", func(rw http.ResponseWriter, _ *http.Request) {
			if calls++; calls < 3 {
				reply(rw, 500, `{"busy":true}`)
				return
			}
			reply(rw, 200, `{"done":true}`)
		})
		enqueue := func(name, input string, headers ...string) string {
			a := w.action(name, input, append(headers, "X-Async", "true")...)
			var accepted struct{ ID, StatusURL string }
			if err := json.Unmarshal([]byte(a.body), &accepted); err != nil || a.status != 202 || a.header.Get("Location") != "/action/"+accepted.ID || accepted.StatusURL != "/action/"+accepted.ID {
				t.Fatalf("%d %v %s", a.status, a.header, a.body)
			}
			return accepted.StatusURL
		}
		result := func(url string) answerOf {
			var a answerOf
			w.until(url+" is there", func() bool { a = w.do("GET", url, ""); return a.status != 404 })
			return a
		}
		if a := result(enqueue("flaky", "", "X-Max-Retries", "2")); a.status != 200 || a.body != `{"done":true}` || calls != 3 {
			t.Errorf("%d %s after %d calls", a.status, a.body, calls)
		}
		if a := result(enqueue("null", "")); a.status != 200 || a.body != "null" {
			t.Errorf("a null result: %d %s", a.status, a.body)
		}
		url := enqueue("error-object", "", "X-Max-Retries", "1")
		if a := result(url); a.status != 500 || !strings.Contains(a.body, `"code":"action_script_runtime_error","payload":{"id":1,"type":"not_found"}`) {
			t.Errorf("%d %s", a.status, a.body)
		}
		w.until("its operation has ended", func() bool { return w.log.of(oplog.ActionRun, "error-object")[0].EndedAt != nil })
		if ops := w.log.of(oplog.ActionRun, "error-object"); len(ops) != 1 || ops[0].State != oplog.Failed {
			t.Errorf("attempts must share an operation: %+v", ops)
		}
		w.advance(6 * 24 * time.Hour)
		if err := w.service.Sweep(t.Context(), w.clock.now()); err != nil {
			t.Fatal(err)
		}
		if a := w.do("GET", url, ""); a.status != 404 {
			t.Errorf("a result older than five days: %d %s", a.status, a.body)
		}
	})
}
