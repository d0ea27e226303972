package oauth_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// seen is what an endpoint got.
type seen struct {
	Method, URL, Auth, Type, Accept, Body string
}

// endpoint is a token endpoint in memory.
type endpoint struct {
	status int
	header http.Header
	body   string
	err    error
	got    []seen
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	one := seen{
		Method: r.Method, URL: r.URL.String(), Auth: r.Header.Get("Authorization"), Type: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept"),
	}
	if r.Body != nil {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		one.Body = string(data)
	}
	e.got = append(e.got, one)
	if e.err != nil {
		return nil, e.err
	}
	if e.header == nil {
		e.header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{StatusCode: max(e.status, 200), Header: e.header, Body: io.NopCloser(strings.NewReader(e.body)), Request: r}, nil
}

func (e *endpoint) client() *oauth.Client {
	return oauth.New(oauth.Options{HTTP: through(e), Now: func() time.Time { return now }})
}

// through makes a client like those of egress, which follow no redirect and put the URL into their errors.
func through(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// entry loads one catalog entry with the given lines.
func entry(t testing.TB, mode provider.AuthMode, lines string) *provider.Provider {
	t.Helper()
	text := `display_name: Test
categories: [other]
docs: https://docs.example
sources: [{name: RFC 6749, licence: facts}]
confidence: from-vendor-spec
auth_mode: ` + string(mode) + "\n"
	if mode == provider.OAuth2 {
		text += "authorization_url: https://id.example/authorize\n"
	}
	// The catalog demands that what is asked for is used.
	base := "https://api.example"
	if strings.Contains(lines, config) {
		base += "/${connectionConfig.shop}/${connectionConfig.audience}"
	}
	text += lines + "proxy: {base_url: '" + base + "'}\n"
	catalog, err := provider.Load(fstest.MapFS{"test.yaml": &fstest.MapFile{Data: []byte(text)}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p, _ := catalog.Get("test")
	return p
}

func party(p *provider.Provider) oauth.Party {
	return oauth.Party{
		Provider: p, Mode: p.AuthMode, ClientID: "id one", ClientSecret: secret.New("s:cret/1"),
		Config:            map[string]any{"shop": "acme", "audience": "a b"},
		IntegrationConfig: map[string]string{"tenant": "t1"},
	}
}

const config = `connection_config:
  shop: {type: string, title: Shop, description: Name of the shop, example: acme}
  audience: {type: string, title: Audience, description: Who the token is for, example: api}
`

func TestRefreshRequestsAreWrittenAsTheCatalogSays(t *testing.T) {
	t.Parallel()
	const (
		client  = "client_id=id%20one&client_secret=s%3Acret%2F1"
		grant   = "grant_type=refresh_token"
		token   = "refresh_token=r%2B1"
		form    = "application/x-www-form-urlencoded"
		plain   = "Basic aWQgb25lOnM6Y3JldC8x"           // id one:s:cret/1
		escaped = "Basic aWQrb25lOnMlM0FjcmV0JTJGMQ=="   // id+one:s%3Acret%2F1
		target  = "https://id.example/token?tenant=acme" // a query in the catalog is kept
		shop    = "token_url: https://id.example/token?tenant=${connectionConfig.shop}\n" + config
	)
	for name, tc := range map[string]struct {
		lines string
		want  seen
	}{
		"client in the body by default": {shop, seen{URL: target, Type: form, Body: grant + "&" + token + "&" + client}},
		"basic adds a header and leaves the body": {
			shop + "token_request_auth_method: basic\n", seen{URL: target, Type: form, Auth: plain, Body: grant + "&" + token + "&" + client},
		},
		"authorization_method header takes the client out of the body and wins": {
			shop + "authorization_method: header\ntoken_request_auth_method: basic\n", seen{URL: target, Type: form, Auth: escaped, Body: grant + "&" + token},
		},
		"token_params are sent along but never their grant_type": {
			shop + "token_params: {grant_type: authorization_code, audience: '${connectionConfig.audience}', lang: en}\n",
			seen{URL: target, Type: form, Body: grant + "&audience=a%20b&lang=en&" + token + "&" + client},
		},
		"refresh_params replace token_params": {
			shop + "token_params: {lang: en}\nrefresh_params: {grant_type: other, client_id: public}\n",
			seen{URL: target, Type: form, Body: grant + "&client_id=public&" + token + "&client_secret=s%3Acret%2F1"},
		},
		"refresh_url is used": {
			shop + "refresh_url: https://id.example/refresh\n", seen{URL: "https://id.example/refresh", Type: form, Body: grant + "&" + token + "&" + client},
		},
		"json": {
			shop + "body_format: json\n",
			seen{URL: target, Type: "application/json", Body: `{"client_id":"id one","client_secret":"s:cret/1","grant_type":"refresh_token","refresh_token":"r+1"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &endpoint{body: `{"access_token":"a"}`}
			if _, err := e.client().Refresh(t.Context(), party(entry(t, provider.OAuth2, tc.lines)), secret.New("r+1")); err != nil {
				t.Fatal(err)
			}
			tc.want.Method, tc.want.Accept = http.MethodPost, "application/json"
			if diff := cmp.Diff([]seen{tc.want}, e.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClientCredentialsRequestsAreWrittenAsTheCatalogSays(t *testing.T) {
	t.Parallel()
	const (
		form  = "application/x-www-form-urlencoded"
		basic = "Basic aWQgb25lOnM6Y3JldC8x"
		url   = "token_url: https://id.example/token?v=2\n"
		typed = "token_params: {grant_type: client_credentials}\n"
	)
	scopes := oauth.ClientCredentials{Scopes: []string{"read", "write"}}
	for name, tc := range map[string]struct {
		lines string
		cc    oauth.ClientCredentials
		want  seen
	}{
		"client, then token_params, then scope": {
			url + typed, scopes,
			seen{URL: "https://id.example/token?v=2", Type: form, Body: "client_id=id%20one&client_secret=s%3Acret%2F1&grant_type=client_credentials&scope=read%20write"},
		},
		"no grant_type unless the catalog has one": {url, oauth.ClientCredentials{}, seen{
			URL: "https://id.example/token?v=2", Type: form, Body: "client_id=id%20one&client_secret=s%3Acret%2F1",
		}},
		"basic leaves nothing of the client in the body": {
			url + typed + "token_request_auth_method: basic\n", oauth.ClientCredentials{},
			seen{URL: "https://id.example/token?v=2", Type: form, Auth: basic, Body: "grant_type=client_credentials"},
		},
		"custom": {
			url + "token_request_auth_method: custom\n", oauth.ClientCredentials{},
			seen{URL: "https://id.example/token?v=2", Type: form, Body: "username=id%20one&password=s%3Acret%2F1"},
		},
		"scope separator": {url + "scope_separator: ','\n", scopes, seen{
			URL: "https://id.example/token?v=2", Type: form, Body: "client_id=id%20one&client_secret=s%3Acret%2F1&scope=read%2Cwrite",
		}},
		"overrides win": {
			url + typed, oauth.ClientCredentials{Scopes: []string{"read"}, Override: map[string]any{"scope": "all", "resource": "x"}},
			seen{
				URL: "https://id.example/token?v=2", Type: form,
				Body: "client_id=id%20one&client_secret=s%3Acret%2F1&grant_type=client_credentials&scope=all&resource=x",
			},
		},
		"query": {url + typed + "body_format: query\n", oauth.ClientCredentials{}, seen{
			URL: "https://id.example/token?v=2&client_id=id%20one&client_secret=s%3Acret%2F1&grant_type=client_credentials",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &endpoint{body: `{"access_token":"a"}`}
			if _, err := e.client().ClientCredentials(t.Context(), party(entry(t, provider.OAuth2CC, tc.lines)), tc.cc); err != nil {
				t.Fatal(err)
			}
			tc.want.Method, tc.want.Accept = http.MethodPost, "application/json"
			if diff := cmp.Diff([]seen{tc.want}, e.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrivateKeyJWTSignsAnAssertionAndSendsNoSecret(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	jwk := fmt.Sprintf(`{"kty":"RSA","kid":"k1","n":%q,"e":"AQAB","d":%q,"p":%q,"q":%q}`, b64(key.N), b64(key.D), b64(key.Primes[0]), b64(key.Primes[1]))
	p := entry(t, provider.OAuth2CC, "token_url: https://id.example/token\nbody_format: json\ntoken_request_auth_method: private_key_jwt\n")
	e := &endpoint{body: `{"access_token":"a"}`}
	if _, err := e.client().ClientCredentials(t.Context(), party(p), oauth.ClientCredentials{PrivateKey: secret.New(jwk)}); err != nil {
		t.Fatal(err)
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(e.got[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	if body["client_secret"] != "" || body["client_id"] != "id one" {
		t.Errorf("client fields: %v", body)
	}
	parts := strings.Split(body["client_assertion"], ".")
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
		t.Error(err)
	}
	claims := map[string]any{}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["jti"] == "" {
		t.Error("no jti")
	}
	delete(claims, "jti")
	want := map[string]any{"iss": "id one", "sub": "id one", "aud": "https://id.example/token", "iat": float64(now.Unix()), "exp": float64(now.Unix() + 300)}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}

	for _, bad := range []string{"", "{}", `{"kty":"RSA","n":"AQAB"}`, "-----BEGIN PRIVATE KEY-----"} {
		_, err := e.client().ClientCredentials(t.Context(), party(p), oauth.ClientCredentials{PrivateKey: secret.New(bad)})
		if _, ok := errors.AsType[*oauth.KeyError](err); !ok {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	if len(e.got) != 1 {
		t.Errorf("a bad key sent %d requests", len(e.got)-1)
	}
}

func TestAnswersBecomeTokens(t *testing.T) {
	t.Parallel()
	in := now.Add
	for name, tc := range map[string]struct {
		answer, alternate string
		access, refresh   string
		expires           time.Time
	}{
		"plain":                         {`{"access_token":"a","refresh_token":"r","expires_in":3600}`, "", "a", "r", in(time.Hour)},
		"no expiry":                     {`{"access_token":"a"}`, "", "a", "", time.Time{}},
		"text lifetime":                 {`{"access_token":"a","expires_in":"3600 seconds"}`, "", "a", "", in(time.Hour)},
		"zero expires at once":          {`{"access_token":"a","expires_in":0}`, "", "a", "", now},
		"fraction":                      {`{"access_token":"a","expires_in":59.9}`, "", "a", "", in(59 * time.Second)},
		"endless":                       {`{"access_token":"a","expires_in":1e300}`, "", "a", "", in(100 * 365 * 24 * time.Hour)},
		"expires_at wins":               {`{"access_token":"a","expires_in":1,"expires_at":1772370000}`, "", "a", "", time.Unix(1772370000, 0)},
		"expires_at 0 does not":         {`{"access_token":"a","expires_in":60,"expires_at":0}`, "", "a", "", in(time.Minute)},
		"milliseconds":                  {`{"access_token":"a","expires_at":1772370000123}`, "", "a", "", time.UnixMilli(1772370000123)},
		"date":                          {`{"access_token":"a","expires_at":"2026-03-01T13:00:00+01:00"}`, "", "a", "", now},
		"days, hours, minutes":          {`{"access_token":"a","expires_at":"1:02:03"}`, "", "a", "", in(26*time.Hour + 3*time.Minute)},
		"25 hours are none":             {`{"access_token":"a","expires_at":"1:25:03"}`, "", "a", "", time.Time{}},
		"quoted digits are no moment":   {`{"access_token":"a","expires_at":"1772370000"}`, "", "a", "", time.Time{}},
		"alternate object":              {`{"authed_user":{"access_token":"u","refresh_token":"ur","expires_in":60},"refresh_token":"x","expires_in":5}`, "authed_user", "u", "ur", in(time.Minute)},
		"alternate zero is no expiry":   {`{"list":[{"access_token":"u","expires_in":0}],"expires_in":5}`, "list.0", "u", "", time.Time{}},
		"alternate text":                {`{"data":{"key":"u"},"refresh_token":"r","expires_in":60}`, "data.key", "u", "r", in(time.Minute)},
		"alternate only when missing":   {`{"access_token":"a","data":{"key":"u"}}`, "data.key", "a", "", time.Time{}},
		"an error beside a token is ok": {`{"access_token":"a","error":"none"}`, "", "a", "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := "token_url: https://id.example/token\n"
			if tc.alternate != "" {
				lines += "alternate_access_token_response_path: " + tc.alternate + "\n"
			}
			e := &endpoint{body: tc.answer}
			token, err := e.client().Refresh(t.Context(), party(entry(t, provider.OAuth2, lines)), secret.New("r"))
			if err != nil {
				t.Fatal(err)
			}
			if token.Access.Reveal() != tc.access || token.Refresh.Reveal() != tc.refresh || !token.ExpiresAt.Equal(tc.expires) {
				t.Errorf("got %s %s %s", token.Access.Reveal(), token.Refresh.Reveal(), token.ExpiresAt)
			}
			var raw map[string]any
			if err := json.Unmarshal(token.Raw, &raw); err != nil {
				t.Fatal(err)
			}
			if at, has := raw["expires_at"]; !tc.expires.IsZero() && at != tc.expires.UTC().Format("2006-01-02T15:04:05.000Z") {
				t.Errorf("raw.expires_at is %v (%t)", at, has)
			}
			if text := fmt.Sprintf("%v %+v %#v", token, token, token); strings.Contains(text, `"`) || strings.Contains(text, "a1") {
				t.Errorf("a token prints itself: %s", text)
			}
		})
	}
}

func TestClientCredentialAnswersBecomeTokens(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]struct {
		access string
		after  time.Duration
	}{
		`{"access_token":"a","expires_in":60}`: {"a", time.Minute},
		`{"data":{"token":"d"}}`:               {"d", 55 * time.Minute},
		`{"jwt":"j","expires_in":0}`:           {"j", 55 * time.Minute},
	} {
		e := &endpoint{body: answer}
		token, err := e.client().ClientCredentials(t.Context(), party(entry(t, provider.OAuth2CC, "token_url: https://id.example/token\n")), oauth.ClientCredentials{})
		if err != nil || token.Access.Reveal() != want.access || !token.ExpiresAt.Equal(now.Add(want.after)) || string(token.Raw) != answer {
			t.Errorf("%s: got %s, %s, %s, %v", answer, token.Access.Reveal(), token.ExpiresAt, token.Raw, err)
		}
	}
	e := &endpoint{body: `{"access_token":"a","expires_in":60000}`}
	token, err := e.client().ClientCredentials(t.Context(), party(entry(t, provider.OAuth2CC, "token_url: https://id.example/token\nexpires_in_unit: milliseconds\n")), oauth.ClientCredentials{})
	if err != nil || !token.ExpiresAt.Equal(now.Add(time.Minute)) {
		t.Errorf("milliseconds: %s, %v", token.ExpiresAt, err)
	}
}

func TestRefusalsTellPermanentFromTemporary(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   oauth.Refused
	}{
		"dead grant":            {400, `{"error":"invalid_grant","error_description":"Token was\n revoked"}`, oauth.Refused{Permanent: true, Code: "invalid_grant", Description: "Token was revoked"}},
		"bad client":            {401, `{"error":"invalid_client"}`, oauth.Refused{Permanent: true, Client: true, Code: "invalid_client"}},
		"error with status 200": {200, `{"error":"bad_refresh_token","error_description":"old"}`, oauth.Refused{Permanent: true, Code: "bad_refresh_token", Description: "old"}},
		"nested":                {400, `{"error":{"code":"invalid_grant","message":"no"}}`, oauth.Refused{Permanent: true, Code: "invalid_grant", Description: "no"}},
		"in other words":        {400, `{"status":"BAD_REFRESH_TOKEN","message":"no"}`, oauth.Refused{Permanent: true, Code: "BAD_REFRESH_TOKEN", Description: "no"}},
		"rate limit":            {429, `{"error":"invalid_grant"}`, oauth.Refused{Code: "invalid_grant"}},
		"broken endpoint":       {503, `{"error":"invalid_grant"}`, oauth.Refused{Code: "invalid_grant"}},
		"temporary by its word": {400, `{"error":"temporarily_unavailable"}`, oauth.Refused{Code: "temporarily_unavailable"}},
		"a page":                {502, `<html>secret r1-secret</html>`, oauth.Refused{}},
		"a page that agrees":    {200, `<html></html>`, oauth.Refused{Description: "the answer is no JSON object"}},
		"no token":              {200, `{"token_type":"bearer"}`, oauth.Refused{Description: "the answer holds no access token"}},
		"a redirect":            {307, ``, oauth.Refused{}},
		"secrets are hidden":    {400, `{"error":"x","error_description":"bad r1-secret of s:cret/1"}`, oauth.Refused{Code: "x", Description: "bad [redacted] of [redacted]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &endpoint{status: tc.status, body: tc.body, header: http.Header{"Location": {"https://thief.example/"}}}
			_, err := e.client().Refresh(t.Context(), party(entry(t, provider.OAuth2, "token_url: https://id.example/token\n")), secret.New("r1-secret"))
			var refused *oauth.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}
			tc.want.Status = tc.status
			if diff := cmp.Diff(tc.want, *refused); diff != "" {
				t.Error(diff)
			}
			if len(e.got) != 1 {
				t.Errorf("%d requests", len(e.got))
			}
		})
	}
}

func TestARedirectIsNotFollowedThroughTheDoor(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var paths []string
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			paths = append(paths, r.URL.Path)
			http.Redirect(w, r, "/thief", status)
		}))
		t.Cleanup(server.Close)
		address, err := egress.ParseEntry(strings.TrimPrefix(server.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		door := egress.New(egress.Options{Policy: egress.Policy{Allow: []egress.Entry{address}}})
		t.Cleanup(door.Close)
		p := party(entry(t, provider.OAuth2, "token_url: "+server.URL+"/token\n"))
		client := door.Client(egress.ClientOptions{TLS: server.Client().Transport.(*http.Transport).TLSClientConfig})
		t.Cleanup(client.CloseIdleConnections)
		_, err = oauth.New(oauth.Options{HTTP: client}).Refresh(t.Context(), p, secret.New("r"))
		if refused, ok := errors.AsType[*oauth.Refused](err); !ok || refused.Status != status || refused.Permanent {
			t.Errorf("%d: got %v", status, err)
		}
		if diff := cmp.Diff([]string{"/token"}, paths); diff != "" {
			t.Errorf("%d: %s", status, diff)
		}
	}
}

func TestUnreachableEndpointsAreNoRefusals(t *testing.T) {
	t.Parallel()
	cc := entry(t, provider.OAuth2CC, "token_url: https://id.example/token\nbody_format: query\n")
	e := &endpoint{err: errors.New("connection reset")}
	_, err := e.client().ClientCredentials(t.Context(), party(cc), oauth.ClientCredentials{})
	var unreachable *oauth.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatalf("got %v", err)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if strings.Contains(cause.Error(), "s%3Acret") {
			t.Errorf("the client secret in the query shows: %s", cause)
		}
	}

	e = &endpoint{body: `{"access_token":"` + strings.Repeat("a", oauth.MaxAnswer) + `"}`}
	if _, err := e.client().ClientCredentials(t.Context(), party(cc), oauth.ClientCredentials{}); !errors.As(err, &unreachable) {
		t.Errorf("an answer without end: %v", err)
	}
}

type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func TestASilentEndpointIsGivenUpAfter20Seconds(t *testing.T) {
	t.Parallel()
	p := party(entry(t, provider.OAuth2, "token_url: https://id.example/token\n"))
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := oauth.New(oauth.Options{HTTP: through(silence{})}).Refresh(t.Context(), p, secret.New("r"))
		var unreachable *oauth.UnreachableError
		if !errors.As(err, &unreachable) || !unreachable.Timeout || time.Since(start) != oauth.Timeout {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestUnresolvedPlaceholdersSendNothing(t *testing.T) {
	t.Parallel()
	p := party(entry(t, provider.OAuth2, "token_url: https://${connectionConfig.shop}.example/token\n"+config))
	p.Config = nil
	e := &endpoint{body: `{"access_token":"a"}`}
	_, err := e.client().Refresh(t.Context(), p, secret.New("r"))
	var unresolved *template.UnresolvedError
	if !errors.As(err, &unresolved) || unresolved.Place != "token_url" || len(e.got) != 0 {
		t.Errorf("%v, %d requests", err, len(e.got))
	}

	p = party(entry(t, provider.OAuth2, "token_url: https://id.example/token\nrefresh_params: {audience: '${connectionConfig.audience}'}\n"+config))
	p.Config = nil
	_, err = e.client().Refresh(t.Context(), p, secret.New("r"))
	if !errors.As(err, &unresolved) || unresolved.Place != "refresh_params.audience" || len(e.got) != 0 {
		t.Errorf("%v, %d requests", err, len(e.got))
	}
}

// FuzzAnswer: whatever an endpoint sends, there is a token with a sane expiry or a typed error.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","expires_in":"36x"}`, `{"access_token":"a","expires_at":"9:23:59"}`, `{"access_token":"a","expires_at":1e99}`, `[]`, `access_token=a&expires_in=5`,
		`{"access_token":"a","expires_at":-1e20,"expires_in":-5}`, `{"error":{"code":"invalid_grant"}}`,
	} {
		f.Add(seed, 200)
	}
	f.Add(`{"error":"invalid_grant"}`, 400)
	p := party(entry(f, provider.OAuth2, "token_url: https://id.example/token\n"))
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 100 || status > 999 {
			status = 200
		}
		e := &endpoint{status: status, body: body, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
		token, err := e.client().Refresh(t.Context(), p, secret.New("refresh-1"))
		var refused *oauth.Refused
		switch {
		case err != nil:
			if !errors.As(err, &refused) && !errors.As(err, new(*oauth.UnreachableError)) {
				t.Errorf("untyped: %v", err)
			}
			if strings.Contains(err.Error(), "refresh-1") {
				t.Errorf("the refresh token shows: %v", err)
			}
		case token.Access.IsEmpty() || !json.Valid(token.Raw):
			t.Errorf("no token from %q", body)
		case token.ExpiresAt.Year() > 40000:
			t.Errorf("expires in %d", token.ExpiresAt.Year())
		}
	})
}
