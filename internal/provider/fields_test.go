package provider_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

func embedded(t *testing.T) *provider.Catalog {
	t.Helper()
	c, err := provider.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, name string) *provider.Provider {
	t.Helper()
	p, ok := embedded(t).Get(name)
	if !ok {
		t.Fatalf("no provider %s", name)
	}
	return p
}

func TestNormalizeTakesOffWhatTheFormShowsAround(t *testing.T) {
	t.Parallel()
	zendesk := get(t, "zendesk").ConnectionConfig["subdomain"]
	for in, want := range map[string]string{
		"acme":                                 "acme",
		"  acme\n":                             "acme",
		"https://acme.zendesk.com":             "acme",
		"https://acme.zendesk.com/agent/inbox": "acme",
		"http://acme.zendesk.com/":             "acme",
		"HTTPS://Acme.Zendesk.COM":             "Acme",
		"acme.zendesk.com":                     "acme",
		"acme.example.com":                     "acme.example.com",
		"":                                     "",
	} {
		if got := zendesk.Normalize(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	zoho := get(t, "zoho-crm").ConnectionConfig["extension"]
	for _, in := range []string{"eu", "https://accounts.zoho.eu", "accounts.zoho.eu"} {
		if got := zoho.Normalize(in); got != "eu" {
			t.Errorf("%q: got %q, want eu", in, got)
		}
	}
}

func TestNormalizeFindsTheValueInAPastedAddress(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := provider.Field{
			Prefix: rapid.SampledFrom([]string{"", "https://", "https://app."}).Draw(t, "prefix"),
			Suffix: rapid.SampledFrom([]string{"", ".x.test", "-eu.x.test"}).Draw(t, "suffix"),
		}
		label := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,20}`).Draw(t, "label")
		path := ""
		if f.Suffix != "" {
			path = rapid.SampledFrom([]string{"", "/", "/a/b?c=d"}).Draw(t, "path")
		}
		pasted := " " + f.Prefix + label + f.Suffix + path + "\n"
		if got := f.Normalize(pasted); got != label {
			t.Fatalf("%q became %q, want %q", pasted, got, label)
		}
		if got := f.Normalize(label); got != label && !strings.HasSuffix(label, f.Suffix) {
			t.Fatalf("%q became %q", label, got)
		}
		anything := rapid.String().Draw(t, "anything")
		if got := f.Normalize(anything); !strings.Contains(anything, got) {
			t.Fatalf("%q became %q, which is no part of it", anything, got)
		}
	})
}

func TestFieldsRefuseWhatBreaksTheirRules(t *testing.T) {
	t.Parallel()
	fields := provider.Fields{
		"host": {Format: "hostname", Optional: true}, "uri": {Format: "uri", Optional: true}, "uuid": {Format: "uuid", Optional: true},
		"email": {Format: "email", Optional: true}, "enum": {Enum: []string{"a", "b"}, Optional: true}, "required": {},
		"defaulted": {Default: "d"}, "automated": {Automated: true, Format: "uuid"}, "hidden": {Hidden: true},
	}
	good := map[string]any{
		"host": "a-b.example.com", "uri": "http://x.test/a", "uuid": "123e4567-e89b-12d3-a456-426614174000", "email": "a.b@c.test",
		"enum": "b", "required": " r ", "undeclared": []any{1}, "hidden": nil,
	}
	got, issues := fields.Apply(good)
	if issues != nil {
		t.Fatalf("issues %v", issues)
	}
	want := map[string]any{
		"host": "a-b.example.com", "uri": "http://x.test/a", "uuid": "123e4567-e89b-12d3-a456-426614174000", "email": "a.b@c.test",
		"enum": "b", "required": "r", "undeclared": []any{1}, "hidden": nil, "defaulted": "d",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got)\n%s", diff)
	}
	if good["required"] != " r " {
		t.Error("Apply changed the map it was given")
	}

	_, issues = fields.Apply(map[string]any{
		"host": "a/b", "uri": "ftp://x.test", "uuid": "123", "email": "a@b c", "enum": "c", "required": 7.0, "automated": "s3cr3t",
	}, "params")
	wantIssues := []errs.Issue{
		{Code: "invalid_string", Message: "automated must be a UUID", Path: []string{"params", "automated"}},
		{Code: "invalid_string", Message: "email must be an e-mail address", Path: []string{"params", "email"}},
		{Code: "invalid_string", Message: "enum must be one of a, b", Path: []string{"params", "enum"}},
		{Code: "invalid_string", Message: "host must be a host name: letters, digits, dots and dashes", Path: []string{"params", "host"}},
		{Code: "invalid_type", Message: "required must be a string", Path: []string{"params", "required"}},
		{Code: "invalid_string", Message: "uri must be a URL that begins with https:// or http://", Path: []string{"params", "uri"}},
		{Code: "invalid_string", Message: "uuid must be a UUID", Path: []string{"params", "uuid"}},
	}
	if diff := cmp.Diff(wantIssues, issues); diff != "" {
		t.Errorf("issues (-want +got)\n%s", diff)
	}
	if _, issues := fields.Apply(nil); len(issues) != 1 || issues[0].Message != "required needs a value" {
		t.Errorf("a missing value gave %v", issues)
	}
}

func TestPatternsGuardTheHostOfAProvider(t *testing.T) {
	t.Parallel()
	shop := get(t, "shopify").ConnectionConfig
	for _, value := range []string{"evil.test/", "a.b", "-a", "a@b"} {
		if _, issues := shop.Apply(map[string]any{"subdomain": value}); len(issues) == 0 {
			t.Errorf("%q was accepted as a shop", value)
		}
	}
	if got, issues := shop.Apply(map[string]any{"subdomain": "https://my-shop.myshopify.com/admin"}); issues != nil || got["subdomain"] != "my-shop" {
		t.Errorf("got %v, %v", got, issues)
	}
}

func TestIntegrationConfig(t *testing.T) {
	t.Parallel()
	p := get(t, "private-api-generic")
	created, err := p.CheckIntegrationConfig(nil, map[string]string{"baseUrl": " https://x.test ", "keyName": "X-Key"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"baseUrl": "https://x.test", "keyName": "X-Key", "keyPlacement": "header", "valueTemplate": "${apiKey}"}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Errorf("created (-want +got)\n%s", diff)
	}

	changed, err := p.CheckIntegrationConfig(map[string]string{"baseUrl": "https://x.test", "keyName": "a", "keyLabel": "Old"}, map[string]string{"keyName": "b", "keyLabel": ""})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"baseUrl": "https://x.test", "keyName": "b"}, changed); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}

	_, err = p.CheckIntegrationConfig(nil, map[string]string{"baseUrl": "ftp://x.test", "keyPlacement": "body", "valueTemplate": "none", "size": "1"})
	wantErr := `integration_config: size is not a setting of Private API (API key anywhere); baseUrl must be a URL that begins with https:// or http://; ` +
		`keyName needs a value; keyPlacement must be one of header, query; valueTemplate must match \$\{apiKey\}`
	var config *provider.ConfigError
	if !errors.As(err, &config) || err.Error() != wantErr {
		t.Errorf("got %v\nwant %s", err, wantErr)
	}
}

func TestIntegrationConfigSecretsAndHiddenFields(t *testing.T) {
	t.Parallel()
	p := &provider.Provider{DisplayName: "X", IntegrationConfig: provider.Fields{
		"mode":   {Enum: []string{"plain", "custom"}, Default: "plain"},
		"url":    {Format: "uri", VisibleWhen: &provider.VisibleWhen{Field: "mode", Equals: "custom"}},
		"detail": {VisibleWhen: &provider.VisibleWhen{Field: "url", Equals: "https://x.test"}},
		"key":    {Secret: true, Optional: true},
	}}
	if _, err := p.CheckIntegrationConfig(nil, map[string]string{"url": "not checked while hidden"}); err != nil {
		t.Errorf("a hidden field was checked: %v", err)
	}
	if _, err := p.CheckIntegrationConfig(nil, map[string]string{"mode": "custom", "url": "https://x.test"}); err == nil {
		t.Error("a field that is shown by a shown field was not required")
	}
	kept, err := p.CheckIntegrationConfig(map[string]string{"mode": "plain", "key": "s3"}, map[string]string{"key": provider.MaskedValue})
	if err != nil || kept["key"] != "s3" {
		t.Errorf("sending the mask back gave %v, %v", kept, err)
	}
	if shown := p.MaskIntegrationConfig(kept); shown["key"] != provider.MaskedValue || shown["mode"] != "plain" || kept["key"] != "s3" {
		t.Errorf("shown %v", shown)
	}
}

func TestProxyForPlacesTheKeyWhereTheIntegrationSays(t *testing.T) {
	t.Parallel()
	p := get(t, "private-api-generic")
	header := p.ProxyFor(map[string]string{"keyName": "X-Key", "valueTemplate": "Token ${apiKey}", "baseUrl": "https://x.test"})
	if len(header.Headers) != 1 || header.Headers[0].Name != "x-key" || header.Headers[0].Value.String() != "Token ${apiKey}" || header.BaseURL.String() != "https://x.test" {
		t.Errorf("header: %+v", header)
	}
	query := p.ProxyFor(map[string]string{"keyName": "X-Key", "keyPlacement": "query"})
	if len(query.Query) != 1 || query.Query[0].Name != "X-Key" || query.Query[0].Value.String() != "${apiKey}" || query.Headers != nil {
		t.Errorf("query: %+v", query)
	}
	if without := p.ProxyFor(map[string]string{"baseUrl": "https://x.test"}); without.BaseURL != p.Proxy.BaseURL || without.Headers != nil {
		t.Errorf("without a key name: %+v", without)
	}
	if p.Proxy.Headers != nil || p.Proxy.Query != nil {
		t.Error("the provider itself was changed")
	}
	stripe := get(t, "stripe")
	if got := stripe.ProxyFor(map[string]string{"keyName": "x"}); len(got.Headers) != 1 || got.Headers[0].Name != "authorization" {
		t.Errorf("a provider without integration_config was changed: %+v", got)
	}
}
