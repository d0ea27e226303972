package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

func cancelledAfter(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (a acme) script(t testing.TB, faults string) {
	t.Helper()
	a.do("POST", "/_sandbox/faults", faults).want(t, 201)
}

func TestFaultsFireInOrderAndExactlyAsOften(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	a.script(t, `[
		{"match":{"method":"get","path":"/v1/contacts"},"times":2,"status":429,"headers":{"Retry-After":"7","X-RateLimit-Remaining":"0"},"body":{"slow":true}},
		{"match":{"path":"/v1/"},"status":401,"body":"who?"}
	]`)
	a.script(t, `[{"match":{"path":"/oauth/token"},"times":-1,"status":503}]`)

	for range 2 {
		got := a.keyed("GET", "/v1/contacts", nil).want(t, 429)
		if got.header.Get("Retry-After") != "7" || got.header.Get("X-Ratelimit-Remaining") != "0" || string(got.body) != `{"slow":true}` {
			t.Errorf("fault answered %s, %v", got.body, got.header)
		}
	}
	got := a.keyed("GET", "/v1/contacts", nil).want(t, 401)
	if string(got.body) != "who?" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("fault answered %q, %v", got.body, got.header)
	}
	a.keyed("GET", "/v1/contacts", nil).want(t, 200)
	for range 3 {
		if got := a.do("POST", "/oauth/token", "x").want(t, 503).code(t); got != "scripted_fault" {
			t.Errorf("fault without a body said %s", got)
		}
	}

	var list struct {
		Data []struct{ ID, Times, Fired int }
	}
	a.do("GET", "/_sandbox/faults", nil).into(t, 200, &list)
	want := []struct{ ID, Times, Fired int }{{1, 2, 2}, {2, 1, 1}, {3, -1, 3}}
	if diff := cmp.Diff(want, list.Data); diff != "" {
		t.Errorf("faults:\n%s", diff)
	}
	var log struct{ Data []struct{ Fault int } }
	a.do("GET", "/_sandbox/requests", nil).into(t, 200, &log)
	if diff := cmp.Diff([]struct{ Fault int }{{1}, {1}, {2}, {0}, {3}, {3}, {3}}, log.Data); diff != "" {
		t.Errorf("requests:\n%s", diff)
	}
	a.do("DELETE", "/_sandbox/faults", nil).want(t, 204)
	a.token(t, 200, "grant_type", "client_credentials")
}

func TestAFaultFiresExactlyTimesUnderConcurrency(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	a.script(t, `[{"match":{"path":"/v1/me"},"times":17,"status":500}]`)
	var failed atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if a.keyed("GET", "/v1/me", nil).status == 500 {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if failed.Load() != 17 {
		t.Errorf("fired %d times, want 17", failed.Load())
	}
}

func TestBadFaultsAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	for _, bad := range []string{
		`{}`, `[{}]`, `[null]`, `[{"status":99}]`, `[{"status":600}]`, `[{"status":500,"times":-2}]`, `[{"status":500,"delay_ms":-1}]`, `[{"delay_ms":600001}]`,
		`[{"body":"x","delay_ms":1}]`, `[{"close":true,"status":500}]`, `[{"close":true,"truncate":true}]`, `[{"truncate":true,"status":204}]`,
		`[{"truncate":true,"status":200,"body":""}]`, `[{"status":500,"id":3}]`, `[{"status":500,"typo":1}]`,
		`[{"status":500},{"match":{"path":"/"}}]`, `[` + strings.Repeat(`{"status":500},`, 1000) + `{"status":500}]`,
	} {
		a.do("POST", "/_sandbox/faults", bad).want(t, 400)
	}
	a.keyed("GET", "/v1/me", nil).want(t, 200)
}

func TestDelayAndTrickle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := start(t, sandbox.Options{})
		a.script(t, `[{"delay_ms":5000},{"trickle_ms":20000},{"status":200,"body":"0123456789","delay_ms":1000,"trickle_ms":10000},{"close":true,"delay_ms":30000}]`)
		real := a.keyed("GET", "/v1/contacts?limit=3", nil).want(t, 200) // the delayed one
		for _, want := range []struct {
			took time.Duration
			body string
		}{{20 * time.Second, string(real.body)}, {11 * time.Second, "0123456789"}} {
			begin := time.Now()
			got := a.keyed("GET", "/v1/contacts?limit=3", nil).want(t, 200)
			if took := time.Since(begin); took != want.took || string(got.body) != want.body {
				t.Errorf("took %s, want %s; body %q", took, want.took, got.body)
			}
		}
		r := httptest.NewRequestWithContext(cancelledAfter(t, time.Second), "GET", "/v1/me", nil)
		begin := time.Now()
		a.ServeHTTP(httptest.NewRecorder(), r)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a client that left was kept for %s", took)
		}
	})
}

func TestConnectionsBreakAsScripted(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	get := func(path string) (*http.Response, []byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, body, err
	}

	a.script(t, `[{"close":true}]`)
	if _, _, err := get("/v1/echo"); !errors.Is(err, io.EOF) {
		t.Errorf("a closed connection gave %v, want EOF", err)
	}
	whole, full, err := get("/v1/echo")
	if err != nil || whole.StatusCode != 200 {
		t.Fatalf("the next request: %v", err)
	}
	a.script(t, `[{"truncate":true},{"status":200,"body":"0123456789","truncate":true}]`)
	res, body, err := get("/v1/echo")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != len(full)/2 || res.ContentLength != int64(len(full)) {
		t.Errorf("truncated: %d of %d bytes, announced %d, %v", len(body), len(full), res.ContentLength, err)
	}
	if _, body, err = get("/v1/echo"); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "01234" {
		t.Errorf("truncated: %q, %v", body, err)
	}
	a.script(t, `[{"match":{"path":"/v1/encoded"},"truncate":true}]`) // a body without a length
	res, err = server.Client().Get(server.URL + "/v1/encoded/br")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated stream gave %v", err)
	}
	_ = res.Body.Close()
	if _, _, err = get("/v1/echo"); err != nil {
		t.Errorf("after all faults: %v", err)
	}
}

func TestRequestsAreRememberedForAssertions(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	a.do("POST", "/v1/echo?a=1", "hello", "X-Trace", "t1")
	a.do("PUT", "/v1/anything/x%2Fy", "\xff\x00")
	a.do("POST", "/v1/echo", strings.Repeat("x", 33<<10))
	type entry struct {
		Seq           int
		Method, Path  string
		Query, Body   string
		BodyBase64    string `json:"body_base64"`
		BodyTruncated bool   `json:"body_truncated"`
		Headers       http.Header
		Time          time.Time
	}
	list := func(query string) (data []entry, seen int) {
		var got struct {
			Data []entry
			Seen int
		}
		a.do("GET", "/_sandbox/requests"+query, nil).into(t, 200, &got)
		return got.Data, got.Seen
	}
	got, seen := list("")
	if len(got) != 3 || seen != 3 {
		t.Fatalf("%d requests, %d seen", len(got), seen)
	}
	if e := got[0]; e.Method != "POST" || e.Path != "/v1/echo" || e.Query != "a=1" || e.Body != "hello" || e.Headers.Get("X-Trace") != "t1" || !e.Time.Equal(a.clock.Now()) {
		t.Errorf("first %+v", e)
	}
	if e := got[1]; e.Path != "/v1/anything/x%2Fy" || e.Body != "" || e.BodyBase64 != base64Of("\xff\x00") {
		t.Errorf("second %+v", e)
	}
	if e := got[2]; !e.BodyTruncated || len(e.Body) != 32<<10 {
		t.Errorf("third: truncated %v, %d bytes", e.BodyTruncated, len(e.Body))
	}
	for query, want := range map[string]int{"?method=put": 1, "?path=/v1/echo": 2, "?after=2": 1, "?after=1&method=POST&path=/v1/e": 1, "?path=/v2": 0} {
		if got, _ := list(query); len(got) != want {
			t.Errorf("%s: %d requests, want %d", query, len(got), want)
		}
	}
	for i := range 1005 {
		a.do("GET", fmt.Sprintf("/v1/anything/%d", i), nil)
	}
	if got, seen = list(""); len(got) != 1000 || seen != 1008 || got[0].Seq != 9 || got[999].Path != "/v1/anything/1004" {
		t.Errorf("%d remembered of %d, from %d", len(got), seen, got[0].Seq)
	}
	a.do("DELETE", "/_sandbox/requests", nil).want(t, 204)
	if got, seen = list(""); len(got) != 0 || seen != 1008 {
		t.Errorf("%d remembered after clearing, %d seen", len(got), seen)
	}
}

func TestControlIsOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	closed := acme{Server: s}
	for _, target := range []string{
		"GET /_sandbox/requests", "POST /_sandbox/faults", "POST /_sandbox/reset", "POST /_sandbox/expire-tokens", "POST /_sandbox/webhooks",
		"GET /_sandbox/tokens/stats", "POST /_sandbox/contacts/touch", "POST /_sandbox/settings", "DELETE /_sandbox/faults",
	} {
		method, path, _ := strings.Cut(target, " ")
		closed.do(method, path, `[{"status":500}]`).want(t, 404)
	}
	closed.keyed("GET", "/v1/me", nil).want(t, 200)

	open := start(t, sandbox.Options{})
	open.do("POST", "/_sandbox/reset", nil, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(t, 403)
	open.do("POST", "/_sandbox/reset", nil, "Sec-Fetch-Site", "same-origin").want(t, 204)
	open.do("GET", "/_sandbox/nothing", nil).want(t, 404)
}

func TestSettingsChangeHowTokensBehave(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	set := func(body string) { a.do("POST", "/_sandbox/settings", body).want(t, 200) }
	credentials := func() tokenAnswer { return a.token(t, 200, "grant_type", "client_credentials") }

	set(`{"token_lifetime_s":5,"reported_lifetime_s":3600}`)
	got := credentials()
	a.clock.advance(5 * time.Second)
	if *got.ExpiresIn != 3600 || a.me(got.AccessToken) != 401 {
		t.Error("a provider that reports too long a lifetime was not imitated")
	}
	set(`{"reported_lifetime_s":-1}`)
	if got := credentials(); got.ExpiresIn != nil {
		t.Errorf("expires_in is %d, want none", *got.ExpiresIn)
	}
	set(`{"rotate_refresh_tokens":false,"reported_lifetime_s":0}`)
	_, refresh := a.issue(t)
	for range 2 {
		if got := a.refresh(t, 200, refresh); got.RefreshToken != "" || *got.ExpiresIn != 5 {
			t.Errorf("without rotation: %+v", got)
		}
	}
	set(`{"rotate_refresh_tokens":true,"reuse_grace_s":10}`)
	first := a.refresh(t, 200, refresh)
	if again := a.refresh(t, 200, refresh); again.RefreshToken != first.RefreshToken {
		t.Error("the grace was not kept")
	}
	set(`{"clock_skew_s":-600}`)
	var made contact
	res := a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "Late"}).into(t, 201, &made)
	skewed := a.clock.Now().Add(-10 * time.Minute)
	if !made.CreatedAt.Equal(skewed) || res.header.Get("Date") != skewed.Format(http.TimeFormat) {
		t.Errorf("created %s, Date %s", made.CreatedAt, res.header.Get("Date"))
	}

	var shown map[string]any
	a.do("GET", "/_sandbox/settings", nil).into(t, 200, &shown)
	want := map[string]any{"token_lifetime_s": 5.0, "reported_lifetime_s": 0.0, "reuse_grace_s": 10.0, "clock_skew_s": -600.0, "rotate_refresh_tokens": true}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("settings:\n%s", diff)
	}
	for _, bad := range []string{`{"token_lifetime_s":0}`, `{"reuse_grace_s":-1}`, `{"token_lifetime_s":7,"clock_skew_s":1e3,"reported_lifetime_s":-2}`, `{"clock_skew_s":999999999999}`, `{"x":1}`} {
		a.do("POST", "/_sandbox/settings", bad).want(t, 400)
	}
	a.do("GET", "/_sandbox/settings", nil).into(t, 200, &shown)
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("a refused change left traces:\n%s", diff)
	}
}

func TestResetBringsBackTheFirstDay(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{Client: http.DefaultClient})
	first := byCursor(t, a, "/v1/contacts?limit=100")
	spoil := func() (access string) {
		access, _ = a.issue(t)
		a.keyed("POST", "/v1/contacts", map[string]string{"last_name": "New"}).want(t, 201)
		a.do("POST", "/_sandbox/contacts/touch", `{"count":5}`).want(t, 200)
		a.do("POST", "/_sandbox/webhooks", `{"url":"http://127.0.0.1:1/","secret":"x"}`).want(t, 201)
		a.do("POST", "/_sandbox/settings", `{"token_lifetime_s":1}`).want(t, 200)
		a.script(t, `[{"times":-1,"status":500}]`)
		return access
	}
	hooks := func() int {
		var got struct{ Data []any }
		a.do("GET", "/_sandbox/webhooks", nil).into(t, 200, &got)
		return len(got.Data)
	}
	access := spoil()
	a.do("POST", "/_sandbox/reset", nil).want(t, 204)
	if a.me(access) != 401 || hooks() != 0 || a.stats(t) != (stats{}) {
		t.Errorf("after the reset: me %d, %d webhooks, stats %+v", a.me(access), hooks(), a.stats(t))
	}
	if diff := cmp.Diff(first, byCursor(t, a, "/v1/contacts?limit=100")); diff != "" {
		t.Errorf("contacts after the reset:\n%s", diff)
	}
	if got := a.token(t, 200, "grant_type", "client_credentials"); *got.ExpiresIn != 3600 {
		t.Errorf("the lifetime is still %d", *got.ExpiresIn)
	}

	access = spoil()
	a.do("POST", "/_sandbox/reset", `{"keep":["contacts","tokens","webhooks"]}`).want(t, 204)
	if a.me(access) != 200 || hooks() != 1 || len(byCursor(t, a, "/v1/contacts?limit=100")) != 251 {
		t.Error("the reset took what it should keep")
	}
	a.do("POST", "/_sandbox/reset", `{"keep":["faults"]}`).want(t, 400)
	for _, bad := range []string{`{}`, `{"count":0}`, `{"count":-3}`, `x`} {
		a.do("POST", "/_sandbox/contacts/touch", bad).want(t, 400)
	}
}
