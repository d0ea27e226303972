package provider_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/providers"
)

func TestEveryEmbeddedEntrySaysWhereItsFactsComeFrom(t *testing.T) {
	t.Parallel()
	catalog := embedded(t)
	if catalog.Len() < 40 {
		t.Errorf("%d entries", catalog.Len())
	}
	for _, p := range catalog.List() {
		if len(p.Sources) == 0 || p.Confidence == "" || len(p.Categories) == 0 {
			t.Errorf("%s needs sources, confidence and categories", p.Name)
		}
		if p.Confidence == "two-source" && len(p.Sources) < 2 {
			t.Errorf("%s claims two sources and names %d", p.Name, len(p.Sources))
		}
		for _, s := range p.Sources {
			if s.Version == "" && s.Licence != "facts" && s.Licence != "Apache-2.0" {
				t.Errorf("%s: the source %s has no version", p.Name, s.Name)
			}
		}
		for name, f := range p.Credentials {
			if !f.Secret && (name == "apiKey" || name == "password" || name == "client_secret") {
				t.Errorf("%s: the credential %s is shown while it is typed", p.Name, name)
			}
		}
	}
}

// Every entry must give a request: with a value for each name it reads, the URLs come out as https and nothing is missing.
func TestEveryEmbeddedEntryBuildsItsRequests(t *testing.T) {
	t.Parallel()
	for _, p := range embedded(t).List() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			values := valuesFor(p)
			for place, expand := range map[string]func() (*url.URL, error){
				"authorization_url": func() (*url.URL, error) { return p.ExpandAuthorizationURL(values) },
				"token_url":         func() (*url.URL, error) { return p.ExpandTokenURL(p.AuthMode, values) },
				"refresh_url":       func() (*url.URL, error) { return p.ExpandRefreshURL(p.AuthMode, values) },
			} {
				if place == "authorization_url" && p.AuthorizationURL == nil || p.TokenURL() == nil {
					continue
				}
				if u, err := expand(); err != nil || u.Scheme != "https" {
					t.Errorf("%s: %v, %v", place, u, err)
				}
			}
			if p.Proxy.BaseURL == nil {
				return
			}
			connection := &proxyrequest.Connection{
				Mode: p.AuthMode, Config: values.ConnectionConfig, IntegrationConfig: values.IntegrationConfig,
				Credentials: map[string]any{"access_token": "AT", "token": "TT", "apiKey": "K1", "username": "ann", "password": "s3"},
			}
			proxy := p.ProxyFor(values.IntegrationConfig)
			r := proxyrequest.Request{Proxy: &proxy, Connection: connection, Method: http.MethodGet, Path: "/v1/items", Now: time.Unix(1, 0)}
			target, err := r.URL()
			if err != nil || target.URL.Scheme != "https" || target.Missing != nil {
				t.Fatalf("URL: %v, %v, missing %v", target.URL, err, target.Missing)
			}
			set, err := r.Headers(target.URL)
			if err != nil || set.Missing != nil || len(set.Injected)+len(target.Injected) == 0 {
				t.Errorf("headers: %v, %v; every entry with an API sends some credential", set, err)
			}
			if v := proxy.Verification; v != nil {
				for _, endpoint := range v.Endpoints {
					r.CatalogPath = endpoint
					if target, err := r.URL(); err != nil {
						t.Errorf("verification: %v, %v", target.URL, err)
					}
				}
			}
		})
	}
}

// valuesFor makes up a value for everything an entry may ask for.
func valuesFor(p *provider.Provider) template.URLValues {
	value := func(f provider.Field) string {
		switch {
		case f.Default != "":
			return f.Default
		case len(f.Enum) > 0:
			return f.Enum[0]
		case f.Format == "uri":
			return "https://v.test/base"
		default:
			return "v1"
		}
	}
	values := template.URLValues{ConnectionConfig: map[string]any{}, IntegrationConfig: map[string]string{}}
	for name, f := range p.ConnectionConfig {
		values.ConnectionConfig[name] = value(f)
	}
	for name, f := range p.IntegrationConfig {
		values.IntegrationConfig[name] = value(f)
	}
	return values
}

func TestModesAreThoseOfTheWireContract(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`OAUTH1 OAUTH2 OAUTH2_CC BASIC API_KEY CUSTOM APP NONE TBA JWT BILL TWO_STEP SIGNATURE MCP_OAUTH2
		MCP_OAUTH2_GENERIC INSTALL_PLUGIN AWS_SIGV4`)
	var schema struct {
		Properties struct {
			AuthMode struct {
				Enum []string `json:"enum"`
			} `json:"auth_mode"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(providers.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(schema.Properties.AuthMode.Enum)
	if diff := cmp.Diff(want, schema.Properties.AuthMode.Enum); diff != "" {
		t.Errorf("modes of the schema (-want +got)\n%s", diff)
	}
	for _, mode := range want {
		if !provider.AuthMode(mode).Valid() {
			t.Errorf("%s is not known", mode)
		}
	}
	if provider.AuthMode("APP_STORE").Valid() {
		t.Error("a mode that does not exist is known")
	}
	if !provider.APIKey.AsksForCredentials() || provider.OAuth2.AsksForCredentials() {
		t.Error("who is asked for credentials is wrong")
	}
}

func TestSchemaStructAndDocumentationNameTheSameKeys(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(providers.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	inStruct := jsonNames(reflect.TypeFor[provider.Provider]())
	for key, property := range schema.Properties {
		if !slices.Contains(inStruct, key) {
			t.Errorf("the schema allows %s, which Provider does not read", key)
		}
		if !strings.Contains(string(document), "`"+key+"`") {
			t.Errorf("docs/providers.md does not explain %s", key)
		}
		if key == "proxy" {
			for inner := range property.Properties {
				if !slices.Contains(jsonNames(reflect.TypeFor[provider.Proxy]()), inner) {
					t.Errorf("the schema allows proxy.%s, which Proxy does not read", inner)
				}
				if !strings.Contains(string(document), "`"+inner+"`") {
					t.Errorf("docs/providers.md does not explain proxy.%s", inner)
				}
			}
		}
	}
	for _, key := range inStruct {
		if _, ok := schema.Properties[key]; !ok {
			t.Errorf("Provider reads %s, which the schema refuses", key)
		}
	}
}

func jsonNames(of reflect.Type) []string {
	var names []string
	for field := range of.Fields() {
		if name := field.Tag.Get("json"); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func TestTypedKeysOfAnEntry(t *testing.T) {
	t.Parallel()
	catalog, err := provider.Load(files("x", `display_name: X
docs: https://example.com
auth_mode: OAUTH2
authorization_url: https://${tenant}.x.test/authorize?fixed=1
token_url:
  OAUTH2: https://x.test/token?fixed=1
  APP: https://x.test/app/${connectionConfig.installation_id}
token_params: {a: "${connectionConfig.tenant}", n: 1}
refresh_url: https://x.test/refresh
token_expiration_buffer: 30
token_response_metadata: [installation_id]
connection_config:
  tenant: {type: string, title: T, description: D}
proxy:
  base_url: https://api.x.test
  retry:
    after: [retry-after]
    at: [x-reset]
    remaining: x-remaining
    error_code: ["429", 5xx, 410-411]
    in_body: {path: error.message, value: "retry after (\\d+)s", strategy: after}
  paginate: {type: offset, offset_name_in_request: page, offset_start_value: 1, offset_calculation_method: per-page}
  verification: {endpoints: [/me]}
post_connection:
  - url: https://api.x.test/me
    save: {tenant: 0.id}
webhook_routing_script: example
webhook_user_defined_secret: true
`))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("x")
	retry := p.Proxy.Retry
	for status, want := range map[int]bool{429: true, 500: true, 599: true, 410: true, 412: false, 401: false} {
		if named, got := retry.Covers(status); !named || got != want {
			t.Errorf("status %d: named %v, retry %v", status, named, got)
		}
	}
	if named, retried := (provider.Retry{}).Covers(500); named || retried {
		t.Error("a provider without error_code names statuses")
	}
	if m := retry.InBody.Value.FindStringSubmatch("retry after 12s"); len(m) != 2 || m[1] != "12" {
		t.Errorf("in_body found %v", m)
	}
	if p.TokenExpirationBuffer() != 30*time.Second || get(t, "hubspot").TokenExpirationBuffer() != 15*time.Minute {
		t.Error("wrong margins before expiry")
	}
	if p.ScopeSeparator != " " || get(t, "slack").ScopeSeparator != "," {
		t.Error("wrong scope separators")
	}
	if p.Proxy.Verification.Method != "GET" || p.PostConnection[0].Method != "GET" || p.PostConnection[0].Save["tenant"] != "0.id" {
		t.Error("defaults of the calls are missing")
	}
	if p.Proxy.Paginate.OffsetStartValue != 1 || !p.WebhookUserDefinedSecret || p.WebhookRoutingScript != "example" {
		t.Error("typed keys are missing")
	}

	values := template.URLValues{ConnectionConfig: map[string]any{"tenant": "blue", "installation_id": "7/8"}}
	expand := func(u *url.URL, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return u.String()
	}
	got := []string{
		expand(p.ExpandAuthorizationURL(values)), expand(p.ExpandTokenURL(provider.OAuth2, values)),
		expand(p.ExpandTokenURL(provider.App, values)), expand(p.ExpandRefreshURL(provider.OAuth2, values)),
	}
	want := []string{
		"https://blue.x.test/authorize?fixed=1", "https://x.test/token?fixed=1", "https://x.test/app/7/8", "https://x.test/refresh",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("URLs (-want +got)\n%s", diff)
	}
	params, missing := p.TokenParams.Eval(template.Object, &template.Scope{Layers: []map[string]any{{"connectionConfig": map[string]any{"tenant": "t"}}}})
	if diff := cmp.Diff(any(map[string]any{"a": "t", "n": json.Number("1")}), params); diff != "" || missing != nil {
		t.Errorf("token_params (-want +got)\n%s%v", diff, missing)
	}
}

// The document is what the API shows, so it must be the file, no more and no less.
func TestDocumentIsTheEntryAsItWasWritten(t *testing.T) {
	t.Parallel()
	catalog, err := provider.Load(files("x", plain))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("x")
	got, err := json.Marshal(p.Document)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"auth_mode":"API_KEY","display_name":"Example","docs":"https://example.com/docs",` +
		`"proxy":{"base_url":"https://api.example.com","headers":{"x-api-key":"${apiKey}"}}}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
