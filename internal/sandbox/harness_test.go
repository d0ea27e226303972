package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// acme is a sandbox with a way to talk to it.
type acme struct {
	*sandbox.Server
	clock *clock
}

// start makes a sandbox with the control endpoints on and a clock that stands still.
func start(t testing.TB, o sandbox.Options) acme {
	t.Helper()
	c := newClock()
	if o.Now == nil {
		o.Now = c.Now
	}
	o.Control = true
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return acme{s, c}
}

// answer is a response that was read to the end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// into decodes the body and fails unless the status is as wanted.
func (a answer) into(t testing.TB, status int, v any) answer {
	t.Helper()
	a.want(t, status)
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
	return a
}

func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// code is the error code of Acme's envelope.
func (a answer) code(t testing.TB) string {
	t.Helper()
	var e struct{ Error struct{ Code string } }
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
	return e.Error.Code
}

// do sends a request without a network. Header pairs follow the body; a body that is no string is sent as JSON.
func (a acme) do(method, target string, body any, header ...string) answer {
	var raw io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case string:
		raw = strings.NewReader(b)
	case url.Values:
		raw, kind = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		raw, kind = bytes.NewReader(encoded), "application/json"
	}
	r := httptest.NewRequest(method, target, raw)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

// keyed is do with the API key.
func (a acme) keyed(method, target string, body any, header ...string) answer {
	return a.do(method, target, body, append([]string{"X-Api-Key", sandbox.DefaultAPIKey}, header...)...)
}

// tokenAnswer is what the token endpoint answers, success or error.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    *int   `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
	AccountID    string `json:"account_id"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

// token posts to the token endpoint as the default client. Pairs are form fields.
func (a acme) token(t testing.TB, status int, fields ...string) tokenAnswer {
	t.Helper()
	form := url.Values{"client_id": {sandbox.DefaultClientID}, "client_secret": {sandbox.DefaultClientSecret}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	var got tokenAnswer
	a.do("POST", "/oauth/token", form).into(t, status, &got)
	return got
}

func (a acme) refresh(t testing.TB, status int, token string) tokenAnswer {
	t.Helper()
	return a.token(t, status, "grant_type", "refresh_token", "refresh_token", token)
}

func (a acme) issue(t testing.TB, scopes ...string) (access, refresh string) {
	t.Helper()
	access, refresh, _, err := a.IssueToken(sandbox.DefaultClientID, scopes)
	if err != nil {
		t.Fatal(err)
	}
	return access, refresh
}

// me asks who the bearer is and returns the status.
func (a acme) me(token string) int {
	return a.do("GET", "/v1/me", nil, "Authorization", "Bearer "+token).status
}

type stats struct {
	Issued        int `json:"issued"`
	Refreshed     int `json:"refreshed"`
	ReuseDetected int `json:"reuse_detected"`
}

func (a acme) stats(t testing.TB) stats {
	t.Helper()
	var got stats
	a.do("GET", "/_sandbox/tokens/stats", nil).into(t, 200, &got)
	return got
}

// refreshForm is a refresh of the default client.
func refreshForm(token string) url.Values {
	return url.Values{
		"client_id": {sandbox.DefaultClientID}, "client_secret": {sandbox.DefaultClientSecret}, "grant_type": {"refresh_token"}, "refresh_token": {token},
	}
}
