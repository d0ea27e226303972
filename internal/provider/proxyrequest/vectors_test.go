package proxyrequest_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// proxyOf reads the proxy part of a catalog entry. It is not checked like the catalog: many rows are about texts that the
// checks refuse.
func proxyOf(t *testing.T, text string) *provider.Proxy {
	t.Helper()
	var p provider.Proxy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

func apiKey(key string) *proxyrequest.Connection {
	return &proxyrequest.Connection{Mode: provider.APIKey, Credentials: map[string]any{"apiKey": key}}
}

// The numbers are those of the wire contract's table of test vectors. Where a row differs, it is on purpose:
//
//   - 56, 58, 63: a base URL with a placeholder left is an error that names it, instead of a call to a host or a path of
//     that literal name.
//   - 61: an alternative with metadata alone can be chosen; in the contract its right side always wins.
//   - 64: bars in the caller's path are the caller's; in the contract they cut off the rest of the query.
//   - 65: the word connectionConfig in a caller's path stays; in the contract it is rewritten.
//   - 66: no credential is put into a caller's path; otherwise anyone who may call the proxy could read the key by having it
//     sent to a host of their own. The other names work.
func TestVectorsOfProxyURLs(t *testing.T) {
	t.Parallel()
	const sub, p = `{"base_url":"https://${connectionConfig.sub}.x.test"}`, `{"base_url":"https://x.test/${connectionConfig.p}"}`
	const optional = `{"base_url":"https://${connectionConfig.sub}.x.test || https://x.test"}`
	oauth := &proxyrequest.Connection{Mode: provider.OAuth2, Credentials: map[string]any{"access_token": "AT"}}
	secretKey := apiKey("sec ret")
	secretKey.Config, secretKey.Metadata = map[string]any{"t": "T T"}, map[string]any{"m": "a&b"}
	cases := []struct {
		number     int
		proxy      string
		config     map[string]any
		metadata   map[string]any
		connection *proxyrequest.Connection
		path       string
		want       string
		missing    string
	}{
		{number: 55, proxy: sub, config: map[string]any{"sub": "blue"}, want: "https://blue.x.test/v1/items?x=1"},
		{number: 56, proxy: sub, missing: "connectionConfig.sub"},
		{number: 57, proxy: p, config: map[string]any{"p": "a b/c?d"}, want: "https://x.test/a%20b/c?d/v1/items?x=1"},
		{number: 58, proxy: p, missing: "connectionConfig.p"},
		{number: 59, proxy: optional, config: map[string]any{"sub": ""}, want: "https://x.test/v1/items?x=1"},
		{number: 60, proxy: `{"base_url":"https://x.test || https://${connectionConfig.sub}.x.test"}`, config: map[string]any{"sub": "blue"}, want: "https://x.test/v1/items?x=1"},
		{number: 61, proxy: `{"base_url":"https://${metadata.sub}.x.test || https://x.test"}`, metadata: map[string]any{"sub": "blue"}, want: "https://blue.x.test/v1/items?x=1"},
		{number: 62, proxy: `{"base_url":"https://x.test/bot${credentials.apiKey}"}`, want: "https://x.test/botK1/v1/items?x=1"},
		{number: 62, proxy: `{"base_url":"https://x.test/bot${apiKey}"}`, want: "https://x.test/botK1/v1/items?x=1"},
		{number: 63, proxy: `{"base_url":"https://x.test/${accessToken}"}`, connection: oauth, missing: "accessToken"},
		{number: 63, proxy: `{"base_url":"https://x.test/${access_token}"}`, connection: oauth, want: "https://x.test/AT/v1/items?x=1"},
		{number: 64, proxy: sub, config: map[string]any{"sub": "blue"}, path: "/s?q=a||b", want: "https://blue.x.test/s?q=a||b"},
		{number: 64, proxy: `{"base_url":"https://x.test"}`, path: "/s?q=a||b", want: "https://x.test/s?q=a||b"},
		{number: 65, proxy: `{"base_url":"https://x.test"}`, path: "/connectionConfig/a", want: "https://x.test/connectionConfig/a"},
		{number: 66, proxy: `{"base_url":"https://x.test"}`, connection: secretKey, path: "/a/${connectionConfig.t}/${apiKey}?m=${metadata.m}", want: "https://x.test/a/T%20T/$%7BapiKey%7D?m=a&b"},
		{number: 66, proxy: `{"base_url":"https://x.test"}`, connection: secretKey, path: "/a/$%7BconnectionConfig.t%7D", want: "https://x.test/a/$%7BconnectionConfig.t%7D"},
		{number: 67, proxy: `{"base_url":"https://x.test","query":{"key":"${apiKey}","t":"${connectionConfig.t}","lit":"1"}}`, connection: apiKey("a b&c"), want: "https://x.test/v1/items?x=1&key=a+b%26c&lit=1"},
		{number: 68, proxy: `{"base_url":"https://x.test","query":{"x":"${apiKey}"}}`, want: "https://x.test/v1/items?x=K1"},
		{number: 69, proxy: `{"base_url":"https://x.test","query":{"m":"${connectionConfig.v} || 2024"}}`, want: "https://x.test/v1/items?x=1&m=2024"},
		{number: 70, proxy: `{"base_url":"https://x.test","query":{"m":"${metadata.m}"}}`, metadata: map[string]any{"m": "1"}, want: "https://x.test/v1/items?x=1"},
	}
	for _, c := range cases {
		connection := apiKey("K1")
		if c.connection != nil {
			copied := *c.connection
			connection = &copied
		}
		if c.config != nil {
			connection.Config = c.config
		}
		if c.metadata != nil {
			connection.Metadata = c.metadata
		}
		r := proxyrequest.Request{Proxy: proxyOf(t, c.proxy), Connection: connection, Method: "GET", Path: "/v1/items?x=1"}
		if c.path != "" {
			r.Path = c.path
		}
		target, err := r.URL()
		if c.missing != "" {
			var unresolved *template.UnresolvedError
			if !errors.As(err, &unresolved) || unresolved.Name != c.missing || unresolved.Place != "proxy.base_url" {
				t.Errorf("%d: got %v, %v, want an error that names %s", c.number, target.URL, err, c.missing)
			}
			continue
		}
		if err != nil || target.URL.String() != c.want {
			t.Errorf("%d: got %v, %v, want %s", c.number, target.URL, err, c.want)
		}
	}
}

// Row 74 differs on purpose: a header whose connectionConfig value is missing inside a call is left out, like any other
// header that lacks a value, instead of being sent with the placeholder encoded in it.
func TestVectorsOfProxyHeaders(t *testing.T) {
	t.Parallel()
	const org = `{"authorization":"Basic ${base64(${connectionConfig.org}:${apiKey})}"}`
	oauth := proxyrequest.Connection{Mode: provider.OAuth2, Credentials: map[string]any{"access_token": "AT"}}
	twoStep := proxyrequest.Connection{Mode: provider.TwoStep, Credentials: map[string]any{"dev": "D", "token": "TT"}}
	key := *apiKey("K1")
	with := func(c proxyrequest.Connection, config, metadata map[string]any) proxyrequest.Connection {
		c.Config, c.Metadata = config, metadata
		return c
	}
	cases := []struct {
		number     int
		headers    string
		connection proxyrequest.Connection
		caller     http.Header
		want       map[string]string
	}{
		{71, `{"x-t":"${connectionConfig.t}"}`, key, nil, map[string]string{}},
		{71, `{"x-t":"${connectionConfig.t}"}`, with(key, map[string]any{"t": ""}, nil), nil, map[string]string{}},
		{72, `{"x-t":"${connectionConfig.t} || v9"}`, key, nil, map[string]string{"X-T": "v9"}},
		{73, org, with(key, map[string]any{"org": "o"}, nil), nil, map[string]string{"Authorization": "Basic bzpLMQ=="}},
		{74, org, key, nil, map[string]string{}},
		{75, `{"x-a":"${nope}"}`, key, nil, map[string]string{"X-A": "${nope}"}},
		{76, `{"x-m":"${metadata.m}"}`, with(key, nil, map[string]any{"m": "1"}), nil, map[string]string{"X-M": "${metadata.m}"}},
		{76, `{"x-m":"${metadata.m}${connectionConfig.t}"}`, with(key, map[string]any{"t": "T"}, map[string]any{"m": "1"}), nil, map[string]string{}},
		{77, `{"x-a":"${credentials.access_token}"}`, oauth, nil, map[string]string{"Authorization": "Bearer AT", "X-A": "${credentials.access_token}"}},
		{78, `{"x-a":"${connectionConfig.t}-${accessToken}"}`, with(oauth, map[string]any{"t": "T"}, nil), nil, map[string]string{"Authorization": "Bearer AT"}},
		{79, `{"x-a":"${credentials.dev}"}`, twoStep, nil, map[string]string{"Authorization": "Bearer TT", "X-A": "D"}},
		{79, `{"x-a":"${dev}"}`, twoStep, nil, map[string]string{"Authorization": "Bearer TT", "X-A": "${dev}"}},
		{79, `{"x-a":"${method}"}`, twoStep, nil, map[string]string{"Authorization": "Bearer TT", "X-A": "${method}"}},
		{80, `{"x-a":"${accessToken}"}`, twoStep, nil, map[string]string{"X-A": "TT"}},
		{81, `{"x-e":"${method}|${host}|${path}|${endpoint}|${params}"}`, key, nil, map[string]string{"X-E": "GET|x.test|/v1/items|/v1/items?x=1|x=1"}},
		{
			82, `{"authorization":"A ${apiKey}","user-agent":"prov"}`, key,
			http.Header{"Authorization": {"caller"}, "User-Agent": {"caller"}}, map[string]string{"Authorization": "caller", "User-Agent": "prov"},
		},
	}
	for _, c := range cases {
		r := proxyrequest.Request{
			Proxy: proxyOf(t, `{"base_url":"https://x.test","headers":`+c.headers+`}`), Connection: &c.connection,
			Method: "GET", Path: "/v1/items?x=1", Header: c.caller,
		}
		target, err := r.URL()
		if err != nil {
			t.Fatal(err)
		}
		set, err := r.Headers(target.URL)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for name, values := range set.Header {
			got[name] = values[0]
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%d: %s (-want +got)\n%s", c.number, c.headers, diff)
		}
	}
}

func TestVectorsOfProxyBodyAndParameters(t *testing.T) {
	t.Parallel()
	r := proxyrequest.Request{
		Proxy: proxyOf(t, `{"base_url":"https://x.test","headers":{"x-p":"${params}"},
			"body":{"k":"${apiKey}","n":{"a":"${connectionConfig.t}","b":"${credentials.apiKey}"},"e":{"z":"${connectionConfig.q}"},"m":"${metadata.x}"}}`),
		Connection: apiKey("K1"), Method: "POST", Path: "/", Body: []byte(`{"b":"2 *","a":[1,2]}`), ContentType: "application/json",
	}
	fields, missing := r.BodyFields()
	if diff := cmp.Diff(map[string]any{"k": "K1", "n": map[string]any{"b": "K1"}}, fields); diff != "" {
		t.Errorf("83 (-want +got)\n%s", diff)
	}
	if len(missing) != 3 || missing[0].Place != "proxy.body.e.z" {
		t.Errorf("83: missing %+v, want the three fields left out", missing)
	}

	if !r.Proxy.ReadsBody() {
		t.Error("84: the proxy is not told to buffer the body")
	}
	set := headers(t, &r)
	if got := set.Header.Get("X-P"); got != "a=1%2C2&b=2%20%2A" {
		t.Errorf("84: got %s", got)
	}
}

func headers(t *testing.T, r *proxyrequest.Request) proxyrequest.HeaderSet {
	t.Helper()
	target, err := r.URL()
	if err != nil {
		t.Fatal(err)
	}
	set, err := r.Headers(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
