package proxyrequest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/provider/weburl"
	"github.com/patchbay-dev/patchbay/internal/sandbox"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

func TestEachModeSendsItsOwnAuthorizationAndNoOther(t *testing.T) {
	t.Parallel()
	token := map[string]any{"token": secret.New("TT"), "access_token": "AT", "username": "ann", "password": secret.New("s3")}
	want := map[provider.AuthMode]string{
		provider.OAuth2: "Bearer AT", provider.MCPOAuth2: "Bearer AT", provider.MCPOAuth2Generic: "Bearer AT", provider.App: "Bearer AT",
		provider.OAuth2CC: "Bearer TT", provider.JWT: "Bearer TT", provider.Signature: "Bearer TT", provider.TwoStep: "Bearer TT",
		provider.Basic: "Basic YW5uOnMz", provider.InstallPlugin: "Basic YW5uOnMz",
		provider.OAuth1: "OAuth signed", provider.TBA: "OAuth signed",
		provider.APIKey: "", provider.Bill: "", provider.AWSSigV4: "", provider.Custom: "", provider.None: "",
	}
	for mode, authorization := range want {
		if !mode.Valid() {
			t.Errorf("%s is no mode", mode)
		}
		r := proxyrequest.Request{
			Proxy: proxyOf(t, `{"base_url":"https://x.test"}`), Method: "GET", Path: "/", Authorization: "OAuth signed",
			Connection: &proxyrequest.Connection{Mode: mode, Credentials: token},
		}
		set := headers(t, &r)
		if got := set.Header.Get("Authorization"); got != authorization {
			t.Errorf("%s: got %q, want %q", mode, got, authorization)
		}
		if injected := len(set.Injected) == 1; injected != (authorization != "") {
			t.Errorf("%s: injected %v", mode, set.Injected)
		}
	}
	empty := proxyrequest.Request{Proxy: proxyOf(t, `{"base_url":"https://x.test"}`), Method: "GET", Connection: &proxyrequest.Connection{Mode: provider.OAuth2}}
	if got := headers(t, &empty).Header; len(got) != 0 {
		t.Errorf("a connection without a token sends %v", got)
	}
}

func TestCookiesOfATwoStepSessionReplaceTheBearerHeader(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy:      proxyOf(t, `{"base_url":"https://x.test","headers":{"cookie":"${credentials._cookies}"}}`),
		Connection: &proxyrequest.Connection{Mode: provider.TwoStep, Credentials: map[string]any{"token": "TT", "_cookies": "a=1"}},
		Method:     "GET", Path: "/",
	}
	if diff := cmp.Diff(http.Header{"Cookie": {"a=1"}}, headers(t, &r).Header); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}
}

// The property: whatever placeholders a caller writes into the path or the base URL, no credential is in what is built.
func TestCallersCanNotReadCredentials(t *testing.T) {
	t.Parallel()
	const hidden = "s3cr3tvalue"
	piece := rapid.SampledFrom([]string{
		"${apiKey}", "${credentials.apiKey}", "${accessToken}", "${clientSecret}", "${base64(${apiKey})}", "${sha256Hex(", "apiKey", ")}",
		"${credentials}", "${", "}", "||", "/", "a", "?", "&x=", "${connectionConfig.t}", "${metadata.m}",
	})
	proxy := proxyOf(t, `{"base_url":"https://x.test"}`)
	rapid.Check(t, func(t *rapid.T) {
		c := apiKey(hidden)
		c.ClientSecret = secret.New(hidden)
		c.Config, c.Metadata = map[string]any{"t": "${apiKey}"}, map[string]any{"m": "${credentials.apiKey}"}
		text := strings.Join(rapid.SliceOf(piece).Draw(t, "text"), "")
		r := proxyrequest.Request{Proxy: proxy, Connection: c, Method: "GET", Path: "/" + text}
		if rapid.Bool().Draw(t, "override") {
			r.BaseURL, r.Path = "https://evil.test/"+text, "/"
		}
		target, err := r.URL()
		if err != nil {
			return
		}
		digest := sha256.Sum256([]byte(hidden))
		for _, form := range []string{hidden, base64.RawStdEncoding.EncodeToString([]byte(hidden)), hex.EncodeToString(digest[:])} {
			if strings.Contains(target.URL.String(), form) {
				t.Fatalf("%q became %s", text, target.URL)
			}
		}
	})
}

func TestAValueCanNotMoveTheRequestToAnotherHost(t *testing.T) {
	t.Parallel()
	proxy := proxyOf(t, `{"base_url":"https://${connectionConfig.sub}.x.test:8443/api"}`)
	for _, sub := range []string{"evil.test/", "evil.test?", "evil.test#", `evil.test\`, "a@evil.test/", "evil.test:1/"} {
		c := apiKey("K1")
		c.Config = map[string]any{"sub": sub}
		r := proxyrequest.Request{Proxy: proxy, Connection: c, Method: "GET", Path: "/v1"}
		if target, err := r.URL(); !errors.Is(err, weburl.ErrInvalid) {
			t.Errorf("%q: got %v, %v, want ErrInvalid", sub, target.URL, err)
		}
	}
	c := apiKey("K1")
	c.Config = map[string]any{"sub": "a.b"}
	r := proxyrequest.Request{Proxy: proxy, Connection: c, Method: "GET", Path: "/v1"}
	if target, err := r.URL(); err != nil || target.URL.String() != "https://a.b.x.test:8443/api/v1" {
		t.Errorf("got %v, %v", target.URL, err)
	}
}

func TestBaseAndPathAreJoinedOnce(t *testing.T) {
	t.Parallel()
	cases := []struct{ base, override, path, want string }{
		{"https://x.test/api/", "", "/v1", "https://x.test/api/v1"},
		{"https://x.test/api", "", "//v1", "https://x.test/api/v1"},
		{"https://x.test/api", "", "", "https://x.test/api"},
		{"https://x.test/api", "", "/?a=1", "https://x.test/api/?a=1"},
		{"https://x.test/api", "", "/https://x.test/api/v1?a=1", "https://x.test/api/v1?a=1"},
		{"https://x.test/api", "", "https://x.test/api?a=1", "https://x.test/api/?a=1"},
		{"https://x.test/api", "", "/https://x.test/apis/v1", "https://x.test/api/https://x.test/apis/v1"},
		{"https://x.test", "", "/go?to=https://x.test/a", "https://x.test/go?to=https://x.test/a"},
		{"https://x.test", "https://y.test/v2/", "/a", "https://y.test/v2/a"},
		{"https://x.test", "https://${connectionConfig.sub}.y.test", "/a", "https://blue.y.test/a"},
		{"https://${connectionConfig.sub}.x.test", "", "/https://blue.x.test/a", "https://blue.x.test/a"},
		{"https://x.test", "", "/a%2Fb?q=%zz&r=+", "https://x.test/a%2Fb?q=%25zz&r=+"},
	}
	for _, c := range cases {
		connection := apiKey("K1")
		connection.Config = map[string]any{"sub": "blue"}
		r := proxyrequest.Request{Proxy: proxyOf(t, `{"base_url":"`+c.base+`"}`), Connection: connection, Method: "GET", BaseURL: c.override, Path: c.path}
		target, err := r.URL()
		if err != nil || target.URL.String() != c.want {
			t.Errorf("%s + %s: got %v, %v, want %s", c.base, c.path, target.URL, err, c.want)
		}
	}
}

func TestMissingBaseURLsAreToldApart(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{Proxy: &provider.Proxy{}, Connection: apiKey("K1"), Method: "GET", Path: "/"}
	if _, err := r.URL(); !errors.Is(err, proxyrequest.ErrNoBaseURL) {
		t.Errorf("got %v, want ErrNoBaseURL", err)
	}
	r.BaseURL = "https://${apiKey}.evil.test"
	var unresolved *template.UnresolvedError
	if _, err := r.URL(); !errors.As(err, &unresolved) || unresolved.Place != "base_url_override" || unresolved.Name != "apiKey" {
		t.Errorf("got %v, want an error about the override", err)
	}
	r = proxyrequest.Request{Proxy: proxyOf(t, `{"base_url":"https://${metadata.a}.x.test || https://${tags.b}.x.test"}`), Connection: apiKey("K1"), Method: "GET"}
	if _, err := r.URL(); !errors.As(err, &unresolved) || unresolved.Name != "tags.b" {
		t.Errorf("got %v, want an error about the last alternative", err)
	}
	r.Connection.Tags = map[string]string{"b": "blue"}
	if target, err := r.URL(); err != nil || target.URL.Host != "blue.x.test" {
		t.Errorf("got %v, %v", target.URL, err)
	}
}

func TestQueryKeepsTheCallersBytesAndReplacesAllOfTheSameName(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy:      proxyOf(t, `{"base_url":"https://x.test","query":{"a b":"${apiKey}","t":"${accessToken}","gone":"${connectionConfig.gone}"}}`),
		Connection: apiKey("K1"), Method: "GET", Path: "/?z=%20+%2C&a+b=1&y&a%20b=2&&w=~",
	}
	target, err := r.URL()
	if err != nil {
		t.Fatal(err)
	}
	if got := target.URL.RawQuery; got != "z=%20+%2C&a+b=K1&y&w=~" {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff([]string{"a b"}, target.Injected); diff != "" {
		t.Errorf("injected (-want +got)\n%s", diff)
	}
	wantMissing := []proxyrequest.Missing{
		{Place: "proxy.query.gone", Names: []string{"connectionConfig.gone"}}, {Place: "proxy.query.t", Names: []string{"accessToken"}},
	}
	if diff := cmp.Diff(wantMissing, target.Missing); diff != "" {
		t.Errorf("missing (-want +got)\n%s", diff)
	}

	r.Connection.Mode = provider.App
	if target, _ = r.URL(); !strings.HasSuffix(target.URL.RawQuery, "&t=") {
		t.Errorf("the access token of APP is not empty: %s", target.URL.RawQuery)
	}
}

func TestHeaderValuesAreTrimmedAndNeverSplit(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy:      proxyOf(t, `{"base_url":"https://x.test","headers":{"x-key":"${apiKey}"}}`),
		Connection: apiKey("K1\n"), Method: "GET", Path: "/",
	}
	if got := headers(t, &r).Header.Get("X-Key"); got != "K1" {
		t.Errorf("a key pasted with a line break is sent as %q", got)
	}
	r.Connection = apiKey("K1\r\nx-admin: s3cr3t")
	_, err := r.Headers(&url.URL{Host: "x.test"})
	var value *proxyrequest.ValueError
	if !errors.As(err, &value) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v, want a ValueError that does not repeat the value", err)
	}
}

func TestInjectedListsWhatARedirectMustNotCarryAway(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy:      proxyOf(t, `{"base_url":"https://x.test","headers":{"accept":"application/json","x-key":"${apiKey}","x-other":"${apiKey}","x-version":"${connectionConfig.v} || 1"}}`),
		Connection: apiKey("K1"), Method: "GET", Path: "/",
		Header: http.Header{"x-other": {"caller", "twice"}},
	}
	set := headers(t, &r)
	if diff := cmp.Diff([]string{"X-Key", "X-Version"}, set.Injected); diff != "" {
		t.Errorf("injected (-want +got)\n%s", diff)
	}
	want := http.Header{"Accept": {"application/json"}, "X-Key": {"K1"}, "X-Other": {"caller", "twice"}, "X-Version": {"1"}}
	if diff := cmp.Diff(want, set.Header); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}
}

func TestOAuthHeadersReadTheClient(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy: proxyOf(t, `{"base_url":"https://x.test","headers":{"x-c":"${clientId}:${clientSecret}","x-now":"${now:X} ${random}"}}`),
		Connection: &proxyrequest.Connection{
			Mode: provider.OAuth2, Credentials: map[string]any{"access_token": "AT"}, ClientID: "id", ClientSecret: secret.New("s3"),
		},
		Method: "GET", Path: "/", Now: time.Unix(7, 0), Random: "rid",
	}
	set := headers(t, &r)
	if got := set.Header.Get("X-C") + " " + set.Header.Get("X-Now"); got != "id:s3 7 rid" {
		t.Errorf("got %q", got)
	}
}

func TestParametersHaveOneSpelling(t *testing.T) {
	t.Parallel()
	cases := []struct{ method, path, contentType, body, want string }{
		{"GET", "/?b=2&B=1&a=%21&_z=1&9=x&b=1", "", "", "_z=1&9=x&a=%21&b=2&b=1&B=1"},
		{"DELETE", "/?a=b+c", "application/json", `{"z":1}`, "a=b%20c"},
		{"POST", "/?q=1", "application/x-www-form-urlencoded; charset=utf-8", "b=2&a=%zz~", "a=%25zz~&b=2"},
		{"PATCH", "/", "application/json", `{"n":12345678901234567890,"t":true,"o":{"k":[1]},"e":null}`, "e=&n=12345678901234567890&o=%7B%22k%22%3A%5B1%5D%7D&t=true"},
		{"PUT", "/", "text/plain", "no object", ""},
	}
	for _, c := range cases {
		r := proxyrequest.Request{
			Proxy: proxyOf(t, `{"base_url":"https://x.test","headers":{"x-p":"${params}","x-b":"${bodyCanonicalParams}"}}`), Connection: apiKey("K1"),
			Method: c.method, Path: c.path, Body: []byte(c.body), ContentType: c.contentType,
		}
		set := headers(t, &r)
		if got := set.Header.Get("X-P"); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.method, c.path, c.body, got, c.want)
		}
		if got := set.Header.Get("X-B"); got != c.body {
			t.Errorf("the raw body became %q", got)
		}
	}
}

// The sandbox entry of the catalog is tried against the sandbox, with the catalog's own verification call.
func TestVerificationOfTheSandboxPassesWithAGoodKeyOnly(t *testing.T) {
	t.Parallel()
	acme, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(acme)
	t.Cleanup(server.Close)
	catalog, err := provider.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("acme-crm-api-key")
	for key, status := range map[string]int{sandbox.DefaultAPIKey: http.StatusOK, "wrong": http.StatusUnauthorized} {
		connection := apiKey(key)
		connection.Config = map[string]any{"baseUrl": server.URL}
		for _, endpoint := range p.Proxy.Verification.Endpoints {
			r := proxyrequest.Request{
				Proxy: &p.Proxy, Connection: connection, Method: p.Proxy.Verification.Method,
				CatalogBase: p.Proxy.Verification.BaseURLOverride, CatalogPath: endpoint, CatalogHeaders: p.Proxy.Verification.Headers,
			}
			target, err := r.URL()
			if err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequestWithContext(t.Context(), r.Method, target.URL.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = headers(t, &r).Header
			response, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != status {
				t.Errorf("key %q: got %d, want %d", key, response.StatusCode, status)
			}
		}
	}
}

func TestCatalogTextsOfAVerificationMayReadCredentials(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy:      proxyOf(t, `{"base_url":"https://x.test","verification":{"endpoints":["/bot${apiKey}/me","/${gone}"],"base_url_override":"https://v.test","headers":{"x-v":"${apiKey}"},"data":{"k":"${apiKey}","g":"${gone}"}}}`),
		Connection: apiKey("K1"), Method: "GET", Path: "/ignored", Header: http.Header{"X-V": {"caller"}},
	}
	v := r.Proxy.Verification
	r.CatalogBase, r.CatalogPath, r.CatalogHeaders = v.BaseURLOverride, v.Endpoints[0], v.Headers
	target, err := r.URL()
	if err != nil || target.URL.String() != "https://v.test/botK1/me" {
		t.Errorf("got %v, %v", target.URL, err)
	}
	if got := headers(t, &r).Header.Get("X-V"); got != "K1" {
		t.Errorf("the catalog's header is %q", got)
	}
	if data, missing := r.Fill("data", v.Data); data.(map[string]any)["k"] != "K1" || len(missing) != 1 || missing[0].Place != "data.g" {
		t.Errorf("data %v, missing %v", data, missing)
	}
	r.CatalogPath = v.Endpoints[1]
	var unresolved *template.UnresolvedError
	if _, err := r.URL(); !errors.As(err, &unresolved) || unresolved.Name != "gone" {
		t.Errorf("got %v, want an error that names gone", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	catalog, err := provider.Embedded()
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]*proxyrequest.Connection{
		"hubspot": {Mode: provider.OAuth2, Credentials: map[string]any{"access_token": "AT"}},
		"shopify": {Mode: provider.OAuth2, Credentials: map[string]any{"access_token": "AT"}, Config: map[string]any{"subdomain": "blue"}},
		"stripe":  apiKey("sk_test"),
	} {
		p, _ := catalog.Get(name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := proxyrequest.Request{Proxy: &p.Proxy, Connection: c, Method: "GET", Path: "/v1/items?x=1"}
				target, err := r.URL()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.Headers(target.URL); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
