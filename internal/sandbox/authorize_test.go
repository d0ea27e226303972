package sandbox_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const (
	callback = "http://localhost:3003/oauth/callback"
	verifier = "a-verifier-of-at-least-forty-three-characters-x"
)

// request is an authorisation request of the default client; pairs replace its parameters, "" removes one.
func request(params ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {sandbox.DefaultClientID}, "redirect_uri": {callback}, "state": {"s&t/ä"},
		"code_challenge": {grant.Challenge(verifier)}, "code_challenge_method": {"S256"}, "scope": {"contacts.read deals.read"},
	}
	for i := 0; i < len(params); i += 2 {
		if q.Set(params[i], params[i+1]); params[i+1] == "" {
			q.Del(params[i])
		}
	}
	return "/oauth/authorize?" + q.Encode()
}

// landed returns the parameters of a redirect to target.
func landed(t *testing.T, a answer, target string) url.Values {
	t.Helper()
	if a.status != 302 && a.status != 303 {
		t.Fatalf("status %d, want a redirect: %s", a.status, a.body)
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	u.RawQuery = ""
	if u.String() != target {
		t.Fatalf("redirected to %s, want %s", u, target)
	}
	return q
}

func approved(t *testing.T, a acme, params ...string) string {
	t.Helper()
	q := landed(t, a.do("GET", request(append(params, "auto", "approve")...), nil), callback)
	if q.Get("code") == "" {
		t.Fatalf("no code in %v", q)
	}
	return q.Get("code")
}

func TestAConsentBecomesTokensThatWork(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	page := a.do("GET", request(), nil).want(t, 200)
	for _, want := range []string{"acme-client", "contacts.read", "Approve", "Deny", `method="post"`} {
		if !strings.Contains(string(page.body), want) {
			t.Errorf("the consent page does not show %q", want)
		}
	}
	if strings.Contains(string(page.body), "contacts.write") {
		t.Error("the page shows a scope that was not asked for")
	}
	q := landed(t, a.do("POST", request(), url.Values{"decision": {"approve"}}), callback)
	if q.Get("state") != "s&t/ä" || q.Get("error") != "" {
		t.Fatalf("came back with %v", q)
	}
	got := a.token(t, 200, "grant_type", "authorization_code", "code", q.Get("code"), "redirect_uri", callback, "code_verifier", verifier)
	if got.TokenType != "Bearer" || got.ExpiresIn == nil || *got.ExpiresIn != 3600 || got.Scope != "contacts.read deals.read" || got.AccountID == "" {
		t.Errorf("token answer %+v", got)
	}
	var who struct {
		Auth, ID string
		Scopes   []string
	}
	a.do("GET", "/v1/me", nil, "Authorization", "Bearer "+got.AccessToken).into(t, 200, &who)
	if who.Auth != "oauth2" || who.ID == "" || len(who.Scopes) != 2 {
		t.Errorf("me is %+v", who)
	}
	if got := a.do("GET", "/v1/contacts", nil, "Authorization", "bearer "+got.AccessToken).status; got != 200 {
		t.Errorf("the scheme is not case-sensitive, yet it answers %d", got)
	}
	refused := a.do("POST", "/v1/contacts", map[string]string{"last_name": "X"}, "Authorization", "Bearer "+got.AccessToken).want(t, 403)
	if refused.code(t) != "insufficient_scope" || !strings.Contains(refused.header.Get("WWW-Authenticate"), "contacts.write") {
		t.Errorf("refused with %s, %v", refused.body, refused.header)
	}

	next := a.refresh(t, 200, got.RefreshToken)
	if next.RefreshToken == got.RefreshToken || a.me(next.AccessToken) != 200 {
		t.Error("the refresh did not rotate or its token does not work")
	}
	if want := (stats{Issued: 1, Refreshed: 1}); a.stats(t) != want {
		t.Errorf("stats %+v, want %+v", a.stats(t), want)
	}
}

func TestADenialComesBackWithItsState(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	for name, got := range map[string]answer{
		"button": a.do("POST", request(), url.Values{"decision": {"deny"}}),
		"auto":   a.do("GET", request("auto", "deny"), nil),
	} {
		q := landed(t, got, callback)
		if q.Get("error") != "access_denied" || q.Get("state") != "s&t/ä" || q.Has("code") {
			t.Errorf("%s: came back with %v", name, q)
		}
	}
}

func TestBadAuthorisationRequestsGoBackToTheClient(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	for name, tc := range map[string]struct {
		params []string
		code   string
	}{
		"implicit":         {[]string{"response_type", "token"}, "unsupported_response_type"},
		"no response type": {[]string{"response_type", ""}, "unsupported_response_type"},
		"plain PKCE":       {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"no PKCE method":   {[]string{"code_challenge_method", ""}, "invalid_request"},
		"no challenge":     {[]string{"code_challenge", ""}, "invalid_request"},
		"short challenge":  {[]string{"code_challenge", "abc"}, "invalid_request"},
		"unknown scope":    {[]string{"scope", "contacts.read admin"}, "invalid_scope"},
	} {
		q := landed(t, a.do("GET", request(append(tc.params, "auto", "approve")...), nil), callback)
		if q.Get("error") != tc.code || q.Get("state") != "s&t/ä" || q.Has("code") {
			t.Errorf("%s: came back with %v, want %s", name, q, tc.code)
		}
	}
	q := landed(t, a.do("GET", request("auto", "approve")+"&state=again", nil), callback)
	if q.Get("error") != "invalid_request" {
		t.Errorf("a repeated parameter came back with %v", q)
	}
	q = landed(t, a.do("GET", request("auto", "approve", "state", ""), nil), callback)
	if q.Has("state") || q.Get("code") == "" {
		t.Errorf("without a state it came back with %v", q)
	}
}

func TestOnlyKnownAddressesAreRedirectedTo(t *testing.T) {
	t.Parallel()
	const registered = "https://app.example/cb?tenant=1"
	a := start(t, sandbox.Options{Clients: []sandbox.Client{
		{ID: "open", Secret: secret.New("x"), Open: true},
		{ID: "strict", Secret: secret.New("x"), RedirectURIs: []string{registered}},
	}})
	for _, tc := range []struct {
		client, uri string
		ok          bool
	}{
		{"open", "http://127.0.0.1:9/cb", true}, {"open", "http://[::1]/cb", true}, {"open", "https://app.localhost/cb", true},
		{"open", "http://patchbay.test:3000/", true}, {"open", "http://127.9.9.9/", true}, {"open", "http://LOCALHOST/", true},
		{"open", "https://evil.example/cb", false}, {"open", "http://localhost.evil.example/", false}, {"open", "http://evillocalhost/", false},
		{"open", "http://localhost@evil.example/", false}, {"open", "http://a:b@localhost/", false}, {"open", "http://localhost/#frag", false},
		{"open", "http://10.0.0.1/", false}, {"open", "javascript:alert(1)", false}, {"open", "//localhost/cb", false}, {"open", "/cb", false}, {"open", "", false},
		{"strict", registered, true}, {"strict", "", true},
		{"strict", registered + "&x=1", false}, {"strict", "http://localhost/", false}, {"unknown", callback, false}, {"", callback, false},
	} {
		got := a.do("GET", request("client_id", tc.client, "redirect_uri", tc.uri, "auto", "approve"), nil)
		location := got.header.Get("Location")
		if tc.ok && (got.status != 303 || !strings.Contains(location, "code=")) {
			t.Errorf("%s to %q: status %d, location %q", tc.client, tc.uri, got.status, location)
		}
		if !tc.ok && (got.status != 400 || location != "") {
			t.Errorf("%s to %q was redirected: status %d, location %q", tc.client, tc.uri, got.status, location)
		}
		if tc.client == "strict" && tc.ok && !(strings.HasPrefix(location, "https://app.example/cb?") && strings.Contains(location, "tenant=1")) {
			t.Errorf("the query of the registered address was lost: %q", location)
		}
	}
}

func TestAConsentFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	got := a.do("POST", request(), url.Values{"decision": {"approve"}}, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if got.status != 400 || got.header.Get("Location") != "" {
		t.Errorf("status %d, location %q", got.status, got.header.Get("Location"))
	}
}
