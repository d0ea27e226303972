package proxy_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// world is one integration with one connection in front of an upstream that listens on loopback, which one named entry of the
// policy opens.
type world struct {
	t        testing.TB
	service  *proxy.Service
	upstream *httptest.Server
	log      *journal
	policy   egress.Policy
	options  proxy.Options

	integration *integration.Integration
	connection  *connection.Connection

	mu      sync.Mutex
	slept   []time.Duration
	forced  int
	ensured int
	// refresh answers a forced Ensure; nil gives the connection back as it is.
	refresh func(c *connection.Connection) (*connection.Connection, error)
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const plainRules = "proxy:\n  base_url: ${connectionConfig.baseUrl}\n"

// newWorld makes a world whose catalog entry is of the given mode and has these proxy rules.
func newWorld(t testing.TB, mode provider.AuthMode, rules string, fields map[string]any, upstream http.HandlerFunc) *world {
	t.Helper()
	w := &world{t: t, log: &journal{}}
	w.upstream = httptest.NewServer(upstream)
	t.Cleanup(w.upstream.Close)
	w.policy = egress.Policy{Allow: []egress.Entry{entry(t, w.upstream)}}

	config, _ := json.Marshal(map[string]string{"baseUrl": w.upstream.URL + "/api", "tenant": "T1"})
	w.integration = &integration.Integration{ID: 7, EnvironmentID: 3, Key: "acme", Provider: "acme", Secrets: integration.Secrets{ClientID: "client-id", ClientSecret: secret.New("client-secret-1")}}
	w.connection = &connection.Connection{
		ID: 11, EnvironmentID: 3, IntegrationID: 7, IntegrationKey: "acme", Provider: "acme", ConnectionID: "c1", Credentials: credentials(t, mode, fields), Version: 1, Config: config,
		Metadata: json.RawMessage(`{"region":"eu"}`),
	}
	document := "display_name: Acme\ndocs: https://example.com\nauth_mode: " + string(mode) + "\n"
	if mode == provider.OAuth2 {
		document += "authorization_url: https://example.com/a\ntoken_url: https://example.com/t\n"
	}
	declared := ""
	for _, name := range []string{"baseUrl", "tenant"} {
		if strings.Contains(rules, "${connectionConfig."+name+"}") {
			declared += field(name)
		}
	}
	if declared != "" {
		declared = "connection_config:\n" + declared
	}
	document += declared + rules
	catalog, err := provider.Load(fstest.MapFS{"acme.yaml": {Data: []byte(document)}})
	if err != nil {
		t.Fatal(err)
	}
	w.options = proxy.Options{
		Integrations: integrations{w}, Connections: connections{w}, Catalog: catalog, Fresh: fresh{w},
		Operations: oplog.New(oplog.Options{Writer: w.log}),
		Now:        func() time.Time { return now },
		Jitter:     func() float64 { return 0 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.slept = append(w.slept, d)
			return ctx.Err()
		},
	}
	w.open()
	return w
}

// open makes the service anew, after a change of options or policy.
func (w *world) open() {
	w.options.Door = egress.New(egress.Options{Policy: w.policy})
	w.t.Cleanup(w.options.Door.Close)
	w.service = proxy.New(w.options)
}

func field(name string) string {
	return "  " + name + ": {type: string, title: t, description: d, optional: true}\n"
}

func entry(t testing.TB, s *httptest.Server) egress.Entry {
	t.Helper()
	e, err := egress.ParseEntry(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *world) call(method, path string) proxy.Call {
	return proxy.Call{
		Environment: tenant.Environment{ID: 3, AccountID: 1, Name: "dev"}, Ref: proxy.Ref{IntegrationKey: "acme", ConnectionID: "c1"},
		Method: method, Path: path, Header: http.Header{},
	}
}

// answer is a response read to its end.
type answer struct {
	*proxy.Response

	body string
}

// do makes a call that must be answered.
func (w *world) do(call proxy.Call) answer {
	w.t.Helper()
	res, err := w.service.Do(w.t.Context(), call)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res, string(body)}
}

func withBody(call proxy.Call, body string) proxy.Call {
	call.Body, call.ContentLength = strings.NewReader(body), int64(len(body))
	return call
}

func withHeader(call proxy.Call, pairs ...string) proxy.Call {
	call.Header = call.Header.Clone()
	for i := 0; i < len(pairs); i += 2 {
		call.Header.Set(pairs[i], pairs[i+1])
	}
	return call
}

func (w *world) waits() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slept
}

type integrations struct{ w *world }

func (f integrations) Get(_ context.Context, environmentID int64, key string) (*integration.Integration, error) {
	if environmentID != f.w.integration.EnvironmentID || key != f.w.integration.Key {
		return nil, integration.ErrNotFound
	}
	return f.w.integration, nil
}

type connections struct{ w *world }

func (f connections) Get(_ context.Context, i *integration.Integration, id string) (*connection.Connection, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if i.ID != f.w.connection.IntegrationID || id != f.w.connection.ConnectionID {
		return nil, connection.ErrNotFound
	}
	return f.w.connection, nil
}

func (connections) Touch(*connection.Connection) {}

type fresh struct{ w *world }

func (f fresh) Ensure(_ context.Context, _ *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.ensured++
	if force {
		f.w.forced++
		if f.w.refresh != nil {
			next, err := f.w.refresh(c)
			if err == nil {
				f.w.connection = next
			}
			return next, err
		}
	}
	return c, nil
}

// renewed is the connection with another access token.
func renewed(t testing.TB, c *connection.Connection, token string) *connection.Connection {
	t.Helper()
	next := *c
	var err error
	if next.Credentials, err = c.Credentials.With(map[string]any{"access_token": token}); err != nil {
		t.Fatal(err)
	}
	next.Version++
	return &next
}

// journal is an oplog.Writer that remembers.
type journal struct {
	mu       sync.Mutex
	record   oplog.Record
	messages []oplog.Message
	text     strings.Builder // everything that was ever written
}

func (j *journal) Save(_ context.Context, r oplog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.record = r
	return json.NewEncoder(&j.text).Encode(r)
}

func (j *journal) Append(_ context.Context, _ oplog.Record, messages []oplog.Message) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.messages = append(j.messages, messages...)
	return json.NewEncoder(&j.text).Encode(messages)
}

func (*journal) Load(context.Context, int64, string) (oplog.Record, error) {
	return oplog.Record{}, oplog.ErrNotFound
}

func (j *journal) operation() (oplog.Record, []oplog.Message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.record, j.messages
}

// http are the messages about attempts.
func (j *journal) http() []oplog.Message {
	_, all := j.operation()
	var http []oplog.Message
	for _, m := range all {
		if m.Request != nil {
			http = append(http, m)
		}
	}
	return http
}

// seen is what an upstream got.
type seen struct {
	mu       sync.Mutex
	requests []got
}

type got struct {
	method, target, body string
	header               http.Header
	length               int64
}

func (s *seen) add(r *http.Request) got {
	body, _ := io.ReadAll(r.Body)
	g := got{r.Method, r.RequestURI, string(body), r.Header.Clone(), r.ContentLength}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, g)
	return g
}

func (s *seen) all() []got {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *seen) last() got {
	all := s.all()
	return all[len(all)-1]
}

// refusing is a Fresh that refuses.
type refusing struct{ err **errs.Error }

func (f refusing) Ensure(context.Context, *integration.Integration, *connection.Connection, bool) (*connection.Connection, error) {
	return nil, *f.err
}

func credentials(t testing.TB, mode provider.AuthMode, fields map[string]any) connection.Credentials {
	t.Helper()
	c, err := connection.NewCredentials(mode, fields)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
