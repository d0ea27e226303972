package proxy_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/api"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
	"github.com/patchbay-dev/patchbay/internal/refresh"
	"github.com/patchbay-dev/patchbay/internal/store/logstore"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// stack is the product from its port to its database, in front of one third party.
type stack struct {
	server *httptest.Server
	log    *oplog.Log
}

const stackKey = "0b6c4ad0-0f2b-4c3e-9d0a-6a2f3a1c9e55"

func newStack(t testing.TB, upstream *httptest.Server) *stack {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.DiscardHandler)
	db := storetest.Open(t, storetest.SQLite(t))
	box, _, err := vault.Open(t.Context(), vault.Options{MasterKey: vault.GenerateMasterKey(), Store: db.Vault(), Sealed: db.Sealed(), Logger: logger})
	must(err)
	catalog, err := provider.Embedded()
	must(err)
	door := egress.New(egress.Options{Policy: egress.Policy{Allow: []egress.Entry{entry(t, upstream)}}})
	t.Cleanup(door.Close)
	tenants, err := tenant.New(tenant.Options{Store: db.Tenants(), Vault: box, URLs: door, Variables: map[string]string{"PATCHBAY_SECRET_KEY_dev": stackKey}, Logger: logger})
	must(err)
	t.Cleanup(func() { must(tenants.Stop(context.Background())) })
	_, err = tenants.Bootstrap(t.Context())
	must(err)
	connections := connection.New(connection.Options{Store: db.Connections(), Tx: db, Vault: box})
	integrations := integration.New(integration.Options{Store: db.Integrations(), Tx: db, Hints: db, Vault: box, Catalog: catalog})
	t.Cleanup(integrations.Close)
	logs, err := logstore.Open(t.Context(), logstore.Options{Folder: t.TempDir(), Logger: logger})
	must(err)
	t.Cleanup(func() { must(logs.Close()) })
	log := oplog.New(oplog.Options{Writer: logs, Logger: logger})
	fresh := refresh.New(refresh.Options{
		Store: db.Refreshes(), Tx: db, Connections: connections, Integrations: integrations, Catalog: catalog, Log: log, Logger: logger,
		Renewers: map[provider.AuthMode]refresh.Renewer{},
	})
	service := proxy.New(proxy.Options{Integrations: integrations, Connections: connections, Catalog: catalog, Fresh: fresh, Operations: log, Door: door})

	principal, err := tenants.Authenticate(t.Context(), stackKey)
	must(err)
	i, err := integrations.Create(t.Context(), integration.Integration{EnvironmentID: principal.Environment.ID, Key: "acme", Provider: "acme-crm", Secrets: integration.Secrets{ClientID: "id"}})
	must(err)
	config, _ := json.Marshal(map[string]string{"baseUrl": upstream.URL})
	_, _, err = connections.Import(t.Context(), i, connection.Connection{ConnectionID: "c1", Config: config, Credentials: credentials(t, provider.OAuth2, map[string]any{
		"access_token": "access-12345", "refresh_token": "refresh-12345", "expires_at": time.Now().Add(24 * time.Hour),
		"raw": json.RawMessage(`{"access_token":"access-12345","refresh_token":"refresh-12345","expires_in":86400,"token_type":"Bearer","scope":"a b c"}`),
	})})
	must(err)
	s := httptest.NewServer(api.New(api.Options{
		Logger: logger, Tenants: tenants, Catalog: catalog, Integrations: integrations, Connections: connections, Fresh: fresh, URLs: door, Proxy: service, Operations: log,
	}))
	t.Cleanup(s.Close)
	return &stack{s, log}
}

// request is a request as the SDK sends it.
func (s *stack) request(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+stackKey)
	r.Header.Set("Provider-Config-Key", "acme")
	r.Header.Set("Connection-Id", "c1")
	r.Header.Set("Base-Url-Override", "")
	r.Header.Set("Nango-Activity-Log-Id", "")
	r.Header.Set("Accept-Encoding", "gzip, compress, deflate, br")
	return r
}

func (s *stack) send(t testing.TB, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestTheHTTPAPIPassesRequestAndAnswerThrough(t *testing.T) {
	t.Parallel()
	var got seen
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.add(r)
		w.Header().Set("X-Trace", "r1")
		w.Header().Set("Access-Control-Allow-Origin", "https://third.party")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":12345678901234567890}`)
	}))
	t.Cleanup(upstream.Close)
	s := newStack(t, upstream)

	r := s.request(t, "POST", "/proxy/v1//a%2Fb/%7Bx%7D?q=a%20b+c&x[]=1&&y", strings.NewReader(`{"big":98765432109876543210}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Nango-Proxy-X-Custom", "1")
	r.Header.Set("Patchbay-Proxy-X-Other", "2")
	r.Header.Set("X-Not-Forwarded", "3")
	r.Header.Set("Cookie", "session=4")
	res, body := s.send(t, r)
	if res.StatusCode != 201 || body != `{"id":12345678901234567890}` || res.Header.Get("X-Trace") != "r1" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the answer is %d %s %v", res.StatusCode, body, res.Header)
	}
	g := got.last()
	if g.method != "POST" || g.target != "/v1//a%2Fb/%7Bx%7D?q=a%20b+c&x[]=1&&y" || g.body != `{"big":98765432109876543210}` {
		t.Errorf("the request is %s %s %s", g.method, g.target, g.body)
	}
	headers := map[string]string{}
	for name := range g.header {
		headers[name] = g.header.Get(name)
	}
	want := map[string]string{
		"Authorization": "Bearer access-12345", "Accept": "application/json, text/plain, */*", "Accept-Encoding": "gzip, compress, deflate, br",
		"Content-Type": "application/json", "Content-Length": "28", "User-Agent": "Patchbay", "X-Custom": "1", "X-Other": "2",
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}

	id := res.Header.Get("X-Patchbay-Operation-Id")
	if op, err := s.log.Resume(t.Context(), 1, id); err != nil || op.ID() != id {
		t.Errorf("the operation %q is not in the log: %v", id, err)
	}
	r = s.request(t, "PROPFIND", "/Proxy", nil)
	r.Header.Set("Base-Url-Override", upstream.URL+"/dav")
	r.Header.Set("Nango-Activity-Log-Id", id)
	if res, _ = s.send(t, r); got.last().method != "PROPFIND" || got.last().target != "/dav" || res.Header.Get("X-Patchbay-Operation-Id") != id {
		t.Errorf("another verb: %s %s in operation %s", got.last().method, got.last().target, res.Header.Get("X-Patchbay-Operation-Id"))
	}
}

func TestTheHTTPAPIRefusesAsTheContractSays(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s := newStack(t, upstream)
	upstream.Close()
	for _, c := range []struct {
		name, value string
		status      int
		body        string
	}{
		{"Authorization", "", 401, `"code":"missing_auth_header"`},
		{"Provider-Config-Key", "", 400, `"code":"invalid_headers","errors":[{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["provider-config-key"]}]`},
		{"Connection-Id", "a?b", 400, `"path":["connection-id"]`},
		{"Retries", "many", 400, `"path":["retries"]`},
		{"Retry-On", "5xx", 400, `"path":["retry-on"]`},
		{"Base-Url-Override", "no url", 400, `"path":["base-url-override"]`},
		{"Decompress", "yes", 400, `"path":["decompress"]`},
		{"Forward-Headers-On-Redirect", "1", 400, `"path":["forward-headers-on-redirect"]`},
		{"Nango-Activity-Log-Id", strings.Repeat("x", 256), 400, `"path":["nango-activity-log-id"]`},
		{"Base-Url-Override", "http://169.254.169.254", 400, `{"error":{"code":"base_url_override_not_allowed"`},
		{"Provider-Config-Key", "nope", 404, `{"error":{"code":"unknown_provider_config"`},
		{"Connection-Id", "nope", 400, `{"error":{"code":"server_error"`},
		{"X-Nothing", "1", 500, `{"message":"connect ECONNREFUSED 127.0.0.1:`},
		{"X-Nothing", "1", 500, `","code":"ECONNREFUSED","method":"get"}`},
	} {
		r := s.request(t, "GET", "/proxy/x", nil)
		r.Header.Set(c.name, c.value)
		if c.value == "" {
			r.Header.Del(c.name)
		}
		res, body := s.send(t, r)
		if res.StatusCode != c.status || !strings.Contains(body, c.body) || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s %q: %d %s", c.name, c.value, res.StatusCode, body)
		}
		if known := c.status == 404 || c.status == 500; known != (res.Header.Get("X-Patchbay-Operation-Id") != "") && !strings.Contains(c.body, "server_error") && !strings.Contains(c.body, "override") {
			t.Errorf("%s %q: operation %q", c.name, c.value, res.Header.Get("X-Patchbay-Operation-Id"))
		}
	}
}

// TestTheHTTPAPIStreamsBothWaysAtOnce: each side waits for the other's byte before it sends the next.
func TestTheHTTPAPIStreamsBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Content-Length", "3")
		for buffer := make([]byte, 1); ; {
			if _, err := io.ReadFull(r.Body, buffer); err != nil {
				return
			}
			_, _ = w.Write(buffer)
			_ = control.Flush()
		}
	}))
	t.Cleanup(upstream.Close)
	s := newStack(t, upstream)
	reader, writer := io.Pipe()
	answers := make(chan *http.Response, 1)
	r := s.request(t, "POST", "/proxy/duplex", reader)
	r.Header.Set("Content-Type", "text/plain")
	go func() {
		if res, err := s.server.Client().Do(r); err == nil {
			answers <- res
		}
		close(answers)
	}()
	var res *http.Response
	for i, letter := range []string{"a", "b", "c"} {
		if _, err := io.WriteString(writer, letter); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if res = <-answers; res == nil {
				t.Fatal("no answer")
			}
			defer res.Body.Close()
		}
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != letter {
			t.Fatalf("sent %s, got %q, %v", letter, got, err)
		}
	}
	writer.Close()
}

// TestAnAnswerThatBreaksOffBreaksTheConnection, so that half a body does not pass for a whole one.
func TestAnAnswerThatBreaksOffBreaksTheConnection(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(upstream.Close)
	s := newStack(t, upstream)
	res, err := s.server.Client().Do(s.request(t, "GET", "/proxy/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the body ended well: %q", body)
	}
}
