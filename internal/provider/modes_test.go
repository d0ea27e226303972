package provider_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

const (
	head  = "display_name: X\ndocs: https://example.com\n"
	proxy = "proxy:\n  base_url: https://x.test\n"
)

func form(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("  " + name + ": {type: string, title: T, description: D}\n")
	}
	return b.String()
}

// One entry for each mode that the embedded catalog has no example of.
var otherModes = map[string]string{
	"jwt": head + "auth_mode: JWT\ncredentials:\n" + form("privateKey", "keyId") + proxy + `signature: {protocol: RSA}
connection_config:
  team: {type: string, title: T, description: D}
token:
  signing_key: ${credentials.privateKey}
  expires_in_ms: 60000
  header: {alg: RS256, typ: JWT, kid: "${keyId}"}
  payload: {iss: "${connectionConfig.team}", aud: ["a", "${keyId}"], nonce: "${random}", none: null, level: 2}
`,
	"two-step": head + "auth_mode: TWO_STEP\ncredentials:\n" + form("username", "password") + `token_url: https://${connectionConfig.site}.x.test/login
connection_config:
  site: {type: string, title: T, description: D}
token_params: {user: "${credentials.username}", nested: {secret: "${password}", site: "${connectionConfig.site}"}}
token_headers: {content-type: application/json, x-id: "${random}"}
token_response: {token: access.token, refresh_token: access.refresh, token_expiration: expires, token_expiration_strategy: expireIn}
token_response_headers: [x-session]
refresh_token_params: {refresh: "${credentials.refresh_token}"}
refresh_token_headers: {x-session: "${x-session}"}
assertion:
  type: jwt
  key: ${credentials.password}
  payload: {iss: "${credentials.username}", sub: "${assertionOption.subject}"}
assertion_option:
` + form("subject") + `additional_steps:
  - token_url: https://x.test/${step1.data.id}/token
    token_params: {code: "${step1.code}"}
    token_headers: {authorization: "Bearer ${step1.token}"}
proxy:
  base_url: https://x.test
  headers: {cookie: "${credentials._cookies}", x-token: "${accessToken}"}
`,
	"app": head + "auth_mode: APP\nauthorization_url: ${connectionConfig.appPublicLink}/installations/new\n" +
		"token_url: https://x.test/app/installations/${connectionConfig.installation_id}/access_tokens\n" + proxy,
	"oauth1": head + "auth_mode: OAUTH1\nrequest_url: https://x.test/r\nauthorization_url: https://x.test/a\ntoken_url: https://x.test/t\n" +
		"request_params: {scope: all}\nsignature_method: HMAC-SHA1\n" + proxy,
	"tba": head + "auth_mode: TBA\nconnection_config:\n" + form("accountId") + proxy,
	"aws": head + "auth_mode: AWS_SIGV4\ncredentials:\n" + form("role_arn") + "integration_config:\n" + form("service") +
		"proxy:\n  base_url: https://${service}.${region}.amazonaws.com\n",
	"signature": head + "auth_mode: SIGNATURE\nsignature: {protocol: WSSE}\n" + proxy + "  headers: {x-wsse: \"${accessToken}\"}\n",
	"bill":      head + "auth_mode: BILL\ntoken_url: https://x.test/login\n" + proxy,
	"mcp": head + "auth_mode: MCP_OAUTH2\nclient_registration: dynamic\nregistration_url: https://x.test/register\nregistration_params: {grant_types: [authorization_code]}\n" +
		"authorization_url: https://x.test/a\ntoken_url: https://x.test/t\nmcp_server_url: https://x.test/mcp\n" + proxy,
	"mcp-generic": head + "auth_mode: MCP_OAUTH2_GENERIC\nconnection_config:\n" + form("mcp_server_url"),
	"plugin":      head + "auth_mode: INSTALL_PLUGIN\nauth_type: BASIC\n" + proxy + "  verification: {endpoints: [/me], headers: {x-user: \"${username}\"}}\n",
	"custom": head + "auth_mode: CUSTOM\nauthorization_url: ${connectionConfig.appPublicLink}\ntoken_url:\n  OAUTH2: https://x.test/t\n" +
		"  APP: https://x.test/${connectionConfig.installation_id}\n" + proxy,
}

func TestEntriesOfEveryModeLoad(t *testing.T) {
	t.Parallel()
	for name, text := range otherModes {
		catalog, err := provider.Load(files(name, text))
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		p, _ := catalog.Get(name)
		if !p.AuthMode.Valid() || p.DisplayName != "X" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestNamesAreCheckedInEveryPlaceOfATwoStepEntry(t *testing.T) {
	t.Parallel()
	text := otherModes["two-step"]
	for _, c := range []struct{ old, mistake, want string }{
		{"${credentials.username}\", nested", "${credentials.user}\", nested", "token_params.user: ${credentials.user} is no credential of this provider"},
		{"secret: \"${password}\"", "secret: \"${step0.x}\"", "token_params.nested.secret: ${step0.x} means nothing here"},
		{"${assertionOption.subject}", "${assertionOption.other}", "assertion.payload.sub: ${assertionOption.other} is not declared in assertion_option"},
		{"Bearer ${step1.token}", "Bearer ${metadata.token}", "additional_steps.0.token_headers.authorization: ${metadata.token} means nothing here"},
		{"https://x.test/${step1.data.id}", "http://x.test/${step1.data.id}", "additional_steps.0.token_url must begin with https:// or with a placeholder"},
		{"x-token: \"${accessToken}\"", "x-token: \"${method}\"", "proxy.headers.x-token: ${method} means nothing here"},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatalf("the entry holds no %s", c.old)
		}
		_, err := provider.Load(files("x", strings.Replace(text, c.old, c.mistake, 1)))
		if got := lines(t, err); len(got) != 1 || !strings.HasSuffix(got[0], ": "+c.want) {
			t.Errorf("%s: got %q, want %s", c.mistake, got, c.want)
		}
	}
}

func TestTokenOfAJWTEntryKeepsItsShape(t *testing.T) {
	t.Parallel()
	catalog, err := provider.Load(files("jwt", otherModes["jwt"]))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("jwt")
	payload := p.Token.Payload
	if diff := cmp.Diff([]string{"aud", "iss", "level", "nonce", "none"}, payload.Keys()); diff != "" {
		t.Errorf("claims (-want +got)\n%s", diff)
	}
	if items := payload.Field("aud").Items(); len(items) != 2 || items[1].Leaf().String() != "${keyId}" {
		t.Errorf("aud is %v", items)
	}
	if v, ok := payload.Field("none").Plain(); !ok || v != nil {
		t.Errorf("none is %v, %v", v, ok)
	}
	if !payload.Field("gone").IsZero() {
		t.Error("a claim that is not there is a tree")
	}
	scope := &template.Scope{
		Layers: []map[string]any{{"keyId": "K", "connectionConfig": map[string]any{"team": "T"}}}, Strip: []string{"credentials."}, Random: "r",
	}
	claims, missing := payload.Eval(template.Flat, scope)
	if got := claims.(map[string]any); got["iss"] != "T" || got["nonce"] != "r" || missing != nil {
		t.Errorf("claims %v, missing %v", claims, missing)
	}
	if got := p.Token.SigningKey.Eval(template.Flat, &template.Scope{Layers: []map[string]any{{"privateKey": "PEM"}}, Strip: scope.Strip}).Text; got != "PEM" {
		t.Errorf("signing key %q", got)
	}
}

func TestScalarsAreReadAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	catalog, err := provider.Load(files("x", head+"auth_mode: OAUTH2\nauthorization_url: https://x.test/a\ntoken_url: https://x.test/t\n"+
		"token_params: {date: 2022-06-28, on: yes, hex: 0x10, float: 1.5, big: 9007199254740993, flag: true, nothing: null}\n"+proxy))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := catalog.Get("x")
	got, _ := p.TokenParams.Eval(template.Object, nil)
	want := map[string]any{
		"date": "2022-06-28", "on": "yes", "hex": json.Number("16"), "float": json.Number("1.5"), "big": json.Number("9007199254740993"),
		"flag": true, "nothing": nil,
	}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("values (-want +got)\n%s", diff)
	}
}

func TestFilesThatAreTooLargeOrHoldStrangeValuesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := provider.Load(files("huge", strings.Repeat("# filler\n", 40_000), "binary", head+"auth_mode: !!binary aGVsbG8=\n", "number", head+"auth_mode: .inf\n"))
	got := strings.Join(lines(t, err), "\n")
	for _, want := range []string{
		"huge.yaml: the file has 360000 bytes, at most 262144 are allowed",
		`binary.yaml:3: "aGVsbG8=" is a value of a kind that a catalog entry can't hold`,
		`number.yaml:3: ".inf" is a value of a kind that a catalog entry can't hold`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}
