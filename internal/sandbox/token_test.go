package sandbox_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

func TestPKCEAndExpiryAreCheckedAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	fields := func(code, verifier string) []string {
		return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier}
	}
	code := approved(t, a)
	if got := a.token(t, 400, fields(code, verifier+"-other")...); got.Error != "invalid_grant" || !strings.Contains(got.Description, "code_verifier") {
		t.Errorf("a wrong verifier gave %+v", got)
	}
	a.clock.advance(grant.CodeLifetime)
	if got := a.token(t, 400, fields(code, verifier)...); got.Error != "invalid_grant" || !strings.Contains(got.Description, "expired") {
		t.Errorf("an expired code gave %+v", got)
	}
	if got := a.token(t, 200, fields(approved(t, a), verifier)...); got.RefreshToken == "" {
		t.Errorf("got %+v", got)
	}
}

func TestReuseRevokesTheFamilyAndIsCounted(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	access, refresh := a.issue(t)
	next := a.refresh(t, 200, refresh)
	if got := a.refresh(t, 400, refresh); got.Error != "invalid_grant" || got.AccessToken != "" {
		t.Errorf("reuse gave %+v", got)
	}
	if got := a.refresh(t, 400, next.RefreshToken); got.Error != "invalid_grant" {
		t.Errorf("the family survived: %+v", got)
	}
	if a.me(access) != 401 || a.me(next.AccessToken) != 401 {
		t.Error("access tokens of the revoked family still work")
	}
	if want := (stats{Issued: 1, Refreshed: 1, ReuseDetected: 1}); a.stats(t) != want {
		t.Errorf("stats %+v, want %+v", a.stats(t), want)
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{Clients: []sandbox.Client{
		{ID: "odd id", Secret: secret.New("p&ss:%w")}, {ID: "public", RedirectURIs: []string{callback}},
	}})
	basic := func(user, pass string) []string {
		r := strings.NewReplacer(" ", "+", "&", "%26", ":", "%3A", "%", "%25")
		return []string{"Authorization", "Basic " + base64Of(r.Replace(user)+":"+r.Replace(pass))}
	}
	form := func(pairs ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v
	}
	for name, tc := range map[string]struct {
		form   url.Values
		header []string
		status int
		code   string
	}{
		"body":                   {form("client_id", "odd id", "client_secret", "p&ss:%w"), nil, 200, ""},
		"basic":                  {form(), basic("odd id", "p&ss:%w"), 200, ""},
		"basic with client_id":   {form("client_id", "odd id"), basic("odd id", "p&ss:%w"), 200, ""},
		"both":                   {form("client_id", "odd id", "client_secret", "p&ss:%w"), basic("odd id", "p&ss:%w"), 400, "invalid_request"},
		"contradicting":          {form("client_id", "public"), basic("odd id", "p&ss:%w"), 400, "invalid_request"},
		"wrong secret":           {form("client_id", "odd id", "client_secret", "nope"), nil, 401, "invalid_client"},
		"no secret":              {form("client_id", "odd id"), nil, 401, "invalid_client"},
		"nobody":                 {form(), nil, 401, "invalid_client"},
		"unknown without secret": {form("client_id", "ghost"), nil, 401, "invalid_client"},
		"public":                 {form("client_id", "public"), nil, 400, "unauthorized_client"},
		"public with a secret":   {form("client_id", "public", "client_secret", "x"), nil, 401, "invalid_client"},
		"repeated":               {form("client_id", "odd id", "client_secret", "p&ss:%w", "scope", "a", "scope", "b"), nil, 400, "invalid_request"},
		"unknown scope":          {form("client_id", "odd id", "client_secret", "p&ss:%w", "scope", "admin"), nil, 400, "invalid_scope"},
		"password grant":         {url.Values{"client_id": {"odd id"}, "client_secret": {"p&ss:%w"}, "grant_type": {"password"}}, nil, 400, "unsupported_grant_type"},
		"no grant":               {url.Values{"client_id": {"odd id"}, "client_secret": {"p&ss:%w"}}, nil, 400, "invalid_request"},
	} {
		var got tokenAnswer
		res := a.do("POST", "/oauth/token", tc.form, tc.header...).into(t, tc.status, &got)
		if got.Error != tc.code || (got.AccessToken != "") != (tc.status == 200) {
			t.Errorf("%s: %+v, want %q", name, got, tc.code)
		}
		if got.RefreshToken != "" {
			t.Errorf("%s: client_credentials gave a refresh token", name)
		}
		if res.header.Get("Cache-Control") != "no-store" || (tc.status == 401) != (res.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: headers %v", name, res.header)
		}
	}
	if got := a.do("POST", "/oauth/token", `{"grant_type":"client_credentials"}`, "Content-Type", "application/json"); got.status != 400 {
		t.Errorf("a JSON token request answered %d", got.status)
	}
}

func TestAPublicClientMustUsePKCE(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{Clients: []sandbox.Client{{ID: "spa", RedirectURIs: []string{callback}}}})
	q := landed(t, a.do("GET", request("client_id", "spa", "auto", "approve", "code_challenge", "", "code_challenge_method", ""), nil), callback)
	if q.Get("error") != "invalid_request" {
		t.Errorf("without PKCE it came back with %v", q)
	}
	q = landed(t, a.do("GET", request("client_id", "spa", "auto", "approve"), nil), callback)
	form := url.Values{"client_id": {"spa"}, "grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	var got tokenAnswer
	a.do("POST", "/oauth/token", form).into(t, 200, &got)
	if a.me(got.AccessToken) != 200 {
		t.Error("the token does not work")
	}
}

func TestIntrospectAndRevoke(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{Clients: []sandbox.Client{
		{ID: sandbox.DefaultClientID, Secret: secret.New(sandbox.DefaultClientSecret), Open: true}, {ID: "other", Secret: secret.New("x")},
	}})
	access, refresh := a.issue(t, "deals.read")
	ask := func(path, token, client, password string) answer {
		return a.do("POST", path, url.Values{"token": {token}, "client_id": {client}, "client_secret": {password}})
	}
	active := func(token, client, password string) map[string]any {
		var got map[string]any
		ask("/oauth/introspect", token, client, password).into(t, 200, &got)
		return got
	}
	mine := func(token string) map[string]any {
		return active(token, sandbox.DefaultClientID, sandbox.DefaultClientSecret)
	}
	got := mine(access)
	if got["active"] != true || got["scope"] != "deals.read" || got["exp"] != float64(a.clock.Now().Add(time.Hour).Unix()) {
		t.Errorf("introspection %v", got)
	}
	if mine(refresh)["token_type"] != "refresh_token" {
		t.Errorf("introspection of the refresh token: %v", mine(refresh))
	}
	for name, got := range map[string]map[string]any{"garbage": mine("garbage"), "foreign": active(access, "other", "x")} {
		if len(got) != 1 || got["active"] != false {
			t.Errorf("%s: %v, want inactive and no word more", name, got)
		}
	}
	ask("/oauth/introspect", access, "other", "wrong").want(t, 401)
	ask("/oauth/revoke", access, "other", "x").want(t, 400)
	if a.me(access) != 200 {
		t.Error("another client revoked the token")
	}
	ask("/oauth/revoke", "garbage", "other", "x").want(t, 200)
	ask("/oauth/revoke", refresh, sandbox.DefaultClientID, sandbox.DefaultClientSecret).want(t, 200)
	if a.me(access) != 401 || mine(refresh)["active"] != false {
		t.Error("the family survived its revocation")
	}
}

func TestTokensExpireByTheClockAndOnDemand(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{TokenLifetime: 20 * time.Minute})
	access, refresh, expires, err := a.IssueToken(sandbox.DefaultClientID, nil)
	if err != nil || !expires.Equal(a.clock.Now().Add(20*time.Minute)) {
		t.Fatalf("expires %s, %v", expires, err)
	}
	a.clock.advance(20*time.Minute - time.Millisecond)
	if a.me(access) != 200 {
		t.Error("expired early")
	}
	a.clock.advance(time.Millisecond)
	if got := a.do("GET", "/v1/me", nil, "Authorization", "Bearer "+access); got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("an expired token answered %d, %v", got.status, got.header)
	}
	next := a.refresh(t, 200, refresh)
	if *next.ExpiresIn != 1200 || a.me(next.AccessToken) != 200 {
		t.Errorf("refreshed to %+v", next)
	}
	var ended struct{ Expired int }
	a.do("POST", "/_sandbox/expire-tokens", nil).into(t, 200, &ended)
	if ended.Expired != 1 || a.me(next.AccessToken) != 401 {
		t.Errorf("%d expired", ended.Expired)
	}
	a.refresh(t, 200, next.RefreshToken) // the refresh token is not touched
}

func TestIssueTokenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	if _, _, _, err := a.IssueToken("ghost", nil); !errors.Is(err, sandbox.ErrUnknownClient) {
		t.Errorf("unknown client: %v", err)
	}
	if _, _, _, err := a.IssueToken(sandbox.DefaultClientID, []string{"admin"}); err == nil {
		t.Error("an unknown scope was granted")
	}
}

func TestOtherCredentials(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	b := start(t, sandbox.Options{APIKeys: []secret.Text{secret.New("k1"), secret.New("k2")}, Users: map[string]secret.Text{"u": secret.New("p")}})
	for _, tc := range []struct {
		acme          acme
		header, value string
		auth          string // "" means refused
	}{
		{a, "X-Api-Key", "acme-key", "api_key"}, {a, "Authorization", "Basic " + base64Of("acme:acme"), "basic"},
		{b, "X-Api-Key", "k2", "api_key"}, {b, "Authorization", "Basic " + base64Of("u:p"), "basic"},
		{a, "X-Api-Key", "acme-kez", ""}, {a, "Authorization", "Basic " + base64Of("acme:other"), ""}, {a, "Authorization", "Basic " + base64Of("ghost:"), ""},
		{a, "Authorization", "Basic !", ""}, {a, "Authorization", "Bearer acme-key", ""}, {a, "Authorization", "Digest x", ""}, {a, "X-Other", "", ""},
		{b, "X-Api-Key", "acme-key", ""}, {b, "Authorization", "Basic " + base64Of("acme:acme"), ""},
	} {
		got := tc.acme.do("GET", "/v1/me", nil, tc.header, tc.value)
		if tc.auth == "" {
			if got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %q was let in: %d", tc.header, tc.value, got.status)
			}
			continue
		}
		var who struct{ Auth string }
		if err := json.Unmarshal(got.body, &who); err != nil || who.Auth != tc.auth {
			t.Errorf("%s %q: %s", tc.header, tc.value, got.body)
		}
	}
}
