package proxy_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
)

// record is an upstream that answers 200 and remembers.
func record(s *seen) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { s.add(r) }
}

func TestEachModePutsItsCredentialWhereTheProviderExpectsIt(t *testing.T) {
	t.Parallel()
	cases := []struct {
		mode        provider.AuthMode
		credentials map[string]any
		rules       string
		want        string
	}{
		{provider.OAuth2, map[string]any{"access_token": "at-1"}, plainRules, "Bearer at-1"},
		{provider.OAuth2CC, map[string]any{"token": "cc-1"}, plainRules + "token_url: https://example.com/t\n", "Bearer cc-1"},
		{provider.Basic, map[string]any{"username": "u", "password": "p:w"}, plainRules, "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p:w"))},
		{provider.Basic, map[string]any{"username": "u", "password": ""}, plainRules, "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"))},
		{provider.APIKey, map[string]any{"apiKey": "key-1"}, plainRules + "  headers: {authorization: 'Token ${apiKey}'}\n", "Token key-1"},
		{provider.None, nil, plainRules, ""},
	}
	for _, c := range cases {
		var s seen
		w := newWorld(t, c.mode, c.rules, c.credentials, record(&s))
		w.do(w.call("GET", "/v1/me"))
		if g := s.last().header.Get("Authorization"); g != c.want {
			t.Errorf("%s: authorization %q, want %q", c.mode, g, c.want)
		}
	}
}

func TestModesThatNeedSignaturesAreRefusedInsteadOfSentUnsigned(t *testing.T) {
	t.Parallel()
	var s seen
	w := newWorld(t, provider.None, plainRules, nil, record(&s))
	w.connection.Credentials = credentials(t, provider.AWSSigV4, map[string]any{"access_key_id": "AKIA"})
	wantCode(t, w, w.call("GET", "/"), http.StatusBadRequest, "unsupported_auth")
	if len(s.all()) != 0 {
		t.Error("the request was sent")
	}
}

func TestPathAndQueryArriveByteForByte(t *testing.T) {
	t.Parallel()
	var s seen
	w := newWorld(t, provider.APIKey, plainRules+"  query: {key: '${apiKey}'}\n", map[string]any{"apiKey": "a b"}, record(&s))
	for path, want := range map[string]string{
		"/v1/items":                           "/api/v1/items?key=a+b",
		"/v1/a%2Fb/%C3%A9+c?q=a%20b&x=~!*'()": "/api/v1/a%2Fb/%C3%A9+c?q=a%20b&x=~!*%27()&key=a+b",
		"/s?a=1&a=2&b[]=3&empty=&flag":        "/api/s?a=1&a=2&b[]=3&empty=&flag&key=a+b",
		"/s?key=mine&x=%7e":                   "/api/s?key=a+b&x=%7e",
		"//double":                            "/api/double?key=a+b",
		w.upstream.URL + "/api/absolute?x":    "/api/absolute?x&key=a+b",
		"/a/${connectionConfig.tenant}":       "/api/a/T1?key=a+b",
		"/a/${metadata.region}":               "/api/a/eu?key=a+b",
		"/a/${apiKey}":                        "/api/a/$%7BapiKey%7D?key=a+b",
		"/a/${credentials.apiKey}":            "/api/a/$%7Bcredentials.apiKey%7D?key=a+b",
	} {
		w.do(w.call("GET", path))
		if g := s.last().target; g != want {
			t.Errorf("%s arrived as %s, want %s", path, g, want)
		}
	}
}

func TestCallerHeadersWinExceptAUserAgentOfTheProvider(t *testing.T) {
	t.Parallel()
	var s seen
	rules := plainRules + "  headers: {x-api-key: '${apiKey}', x-version: '7', user-agent: Acme Connector, x-tenant: '${connectionConfig.tenant}', x-none: '${connectionConfig.nothing} || '}\n"
	rules = strings.Replace(rules, ", x-none: '${connectionConfig.nothing} || '", "", 1)
	w := newWorld(t, provider.APIKey, rules, map[string]any{"apiKey": "key-1"}, record(&s))
	w.do(withHeader(w.call("GET", "/"), "X-Version", "8", "User-Agent", "mine", "X-Own", "1", "Connection", "x-secret-hop", "X-Secret-Hop", "1", "Host", "evil.example",
		"Content-Length", "77", "Te", "trailers", "Proxy-Authorization", "Basic x"))
	got := map[string]string{}
	for name := range s.last().header {
		got[name] = s.last().header.Get(name)
	}
	want := map[string]string{
		"X-Api-Key": "key-1", "X-Version": "8", "User-Agent": "Acme Connector", "X-Tenant": "T1", "X-Own": "1",
		"Accept": "application/json, text/plain, */*", "Accept-Encoding": "identity",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}

	w.do(withHeader(w.call("GET", "/"), "Authorization", "Mine", "Accept", "text/csv"))
	if h := s.last().header; h.Get("Authorization") != "Mine" || h.Get("Accept") != "text/csv" {
		t.Errorf("the caller's own headers lost: %v", h)
	}
}

func TestAnIntegrationMayPlaceTheKeyItself(t *testing.T) {
	t.Parallel()
	var s seen
	w := newWorld(t, provider.APIKey, "integration_config:\n"+field("baseUrl")+field("keyName")+field("keyPlacement")+field("valueTemplate")+
		"proxy: {base_url: '${integrationConfig.baseUrl}'}\n", map[string]any{"apiKey": "key-1"}, record(&s))
	for _, placement := range []string{"header", "query"} {
		changed := *w.integration
		changed.Secrets.Config = map[string]string{"baseUrl": w.upstream.URL, "keyName": "X-Key", "keyPlacement": placement, "valueTemplate": "v ${apiKey}"}
		w.integration = &changed
		for range 2 { // the second is served from what the first parsed
			w.do(w.call("GET", "/p"))
			g := s.last()
			if placement == "header" && (g.header.Get("X-Key") != "v key-1" || g.target != "/p") || placement == "query" && (g.header.Get("X-Key") != "" || g.target != "/p?X-Key=v+key-1") {
				t.Errorf("%s: %s %v", placement, g.target, g.header)
			}
		}
	}
}

func TestABaseURLOverrideTakesTheCredentialAlongButNotPastThePolicy(t *testing.T) {
	t.Parallel()
	var s, other seen
	w := newWorld(t, provider.OAuth2, plainRules, map[string]any{"access_token": "at-12345"}, record(&s))
	elsewhere := httptest.NewServer(record(&other))
	t.Cleanup(elsewhere.Close)

	call := w.call("GET", "/x?y=1")
	call.BaseURL = elsewhere.URL + "/base/"
	wantCode(t, w, call, http.StatusBadRequest, "base_url_override_not_allowed")
	for _, refused := range []string{"http://169.254.169.254/latest", "http://localhost:1", "http://[::ffff:127.0.0.1]:1", "ftp://example.com", "http://user:pw@example.com", "http://10.0.0.1"} {
		call.BaseURL = refused
		wantCode(t, w, call, http.StatusBadRequest, "base_url_override_not_allowed")
	}
	if len(other.all()) != 0 {
		t.Error("a refused host got a request")
	}

	call.BaseURL = elsewhere.URL + "/base/"
	w.policy.Allow = append(w.policy.Allow, entry(t, elsewhere))
	w.open()
	w.do(call)
	if g := other.last(); g.target != "/base/x?y=1" || g.header.Get("Authorization") != "Bearer at-12345" {
		t.Errorf("got %s with %q", g.target, g.header.Get("Authorization"))
	}
	call.BaseURL = elsewhere.URL + "/${access_token}/${connectionConfig.tenant}"
	wantCode(t, w, call, http.StatusBadRequest, "missing_api_url")
	call.BaseURL = elsewhere.URL + "/${connectionConfig.tenant}"
	w.do(call)
	if g := other.last(); g.target != "/T1/x?y=1" {
		t.Errorf("got %s", g.target)
	}

	w.options.ForbidOverride = true
	w.open()
	wantCode(t, w, call, http.StatusBadRequest, "base_url_override_disabled")
	w.do(w.call("GET", "/"))
	if len(s.all()) != 1 {
		t.Error("a call without an override is hit by the ban")
	}
}

// TestRefusalsHaveTheCodesOfTheContract also holds the order of the checks: each row is wrong in all that the rows below it are.
func TestRefusalsHaveTheCodesOfTheContract(t *testing.T) {
	t.Parallel()
	var s seen
	w := newWorld(t, provider.OAuth2, plainRules, map[string]any{"access_token": "at-12345"}, record(&s))
	refused := errs.New(424, "connection_refresh_exhausted", "reconnect")
	w.options.Fresh = refusing{&refused}
	w.open()
	call := w.call("GET", "")
	call.BaseURL, call.IntegrationKey, call.ConnectionID = "http://127.0.0.1:1", "nope", "nope"
	wantCode(t, w, call, 400, "base_url_override_not_allowed")
	call.BaseURL = ""
	wantCode(t, w, call, 404, "unknown_provider_config")
	call.IntegrationKey = "acme"
	wantCode(t, w, call, 400, "server_error")
	call.ConnectionID = "c1"
	wantCode(t, w, call, 400, "missing_api_url")
	call.Path = "/"
	wantCode(t, w, call, 424, "server_error")
	refused = errs.New(424, "connection_refresh_backoff", "later")
	wantCode(t, w, call, 424, "connection_refresh_backoff")

	if r, _ := w.log.operation(); r.State != "failed" || r.Error == nil || r.Error.Type != "connection_refresh_backoff" || r.ConnectionID != 11 {
		t.Errorf("the refusal is logged as %+v", r)
	}
	if len(s.all()) != 0 {
		t.Error("a refused call was sent")
	}
}

func TestAnUnknownProviderAndAMissingBaseAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, provider.None, plainRules, nil, record(new(seen)))
	w.connection.Config = nil
	wantCode(t, w, w.call("GET", "/"), 400, "missing_api_url")
	changed := *w.integration
	changed.Provider = "gone"
	w.integration = &changed
	wantCode(t, w, w.call("GET", "/"), 400, "unknown_provider")

	bare := newWorld(t, provider.None, "", nil, record(new(seen)))
	wantCode(t, bare, bare.call("GET", "/"), 400, "unsupported_provider")
}

func wantCode(t *testing.T, w *world, call proxy.Call, status int, code string) {
	t.Helper()
	res, err := w.service.Do(t.Context(), call)
	if err == nil {
		res.Body.Close()
	}
	var known *errs.Error
	if !errors.As(err, &known) || known.Status != status || known.Code != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}
