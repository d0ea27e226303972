package grant_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	scopes = []string{"contacts.read", "deals.read"}
	rotate = grant.Policy{Lifetime: time.Hour, Rotate: true}
)

const verifier = "a-verifier-of-at-least-forty-three-characters-x"

func mustRefresh(t *testing.T, l *grant.Ledger, token string, now time.Time, p grant.Policy) grant.Tokens {
	t.Helper()
	got, refused := l.Refresh("app", token, nil, now, p)
	if refused != nil {
		t.Fatalf("refresh refused: %+v", *refused)
	}
	return got
}

func wantRefusal(t *testing.T, got *grant.Refusal, code, why string) {
	t.Helper()
	if got == nil {
		t.Fatalf("accepted, want %s (%s)", code, why)
	}
	if got.Code != code || !strings.Contains(got.Description, why) {
		t.Fatalf("refused with %+v, want %s (%s)", *got, code, why)
	}
}

func works(l *grant.Ledger, token string, now time.Time) bool {
	_, ok := l.AccessToken(token, now)
	return ok
}

func TestARefreshTokenSpentTwiceKillsTheWholeFamily(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	first := l.Begin("app", scopes, true, start, rotate)
	bystander := l.Begin("app", scopes, true, start, rotate)
	second := mustRefresh(t, l, first.Refresh, start, rotate)
	if second.Refresh == first.Refresh || second.Access == first.Access {
		t.Fatal("the refresh gave old tokens")
	}
	if !works(l, first.Access, start) || !works(l, second.Access, start) {
		t.Fatal("a rotation must not end access tokens")
	}

	_, refused := l.Refresh("app", first.Refresh, nil, start, rotate)
	wantRefusal(t, refused, "invalid_grant", "used before")
	_, refused = l.Refresh("app", second.Refresh, nil, start, rotate)
	wantRefusal(t, refused, "invalid_grant", "revoked")
	if works(l, first.Access, start) || works(l, second.Access, start) {
		t.Error("access tokens of the stolen family still work")
	}
	if !works(l, bystander.Access, start) {
		t.Error("another family was revoked too")
	}
	if want := (grant.Stats{Issued: 2, Refreshed: 1, ReuseDetected: 1}); l.Stats != want {
		t.Errorf("stats %+v, want %+v", l.Stats, want)
	}
}

func TestGraceAnswersTheTokenBeforeWithTheCurrentOne(t *testing.T) {
	t.Parallel()
	grace := rotate
	grace.ReuseGrace = 10 * time.Second
	l := grant.New(1)
	first := l.Begin("app", scopes, true, start, grace)
	second := mustRefresh(t, l, first.Refresh, start, grace)
	again := mustRefresh(t, l, first.Refresh, start.Add(9*time.Second), grace)
	if again.Refresh != second.Refresh {
		t.Fatal("the late caller must get the token that the early one got, or one of them is lost")
	}
	third := mustRefresh(t, l, second.Refresh, start.Add(9*time.Second), grace)
	_, refused := l.Refresh("app", first.Refresh, nil, start.Add(9*time.Second), grace)
	wantRefusal(t, refused, "invalid_grant", "used before") // two generations old
	if _, ok := l.RefreshToken(third.Refresh); ok {
		t.Error("the family survived a reuse outside the grace")
	}

	late := grant.New(1)
	first = late.Begin("app", scopes, true, start, grace)
	mustRefresh(t, late, first.Refresh, start, grace)
	_, refused = late.Refresh("app", first.Refresh, nil, start.Add(10*time.Second), grace)
	wantRefusal(t, refused, "invalid_grant", "used before")
}

func TestWithoutRotationTheRefreshTokenStays(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	keep := grant.Policy{Lifetime: time.Hour}
	first := l.Begin("app", scopes, true, start, keep)
	for range 3 {
		if got := mustRefresh(t, l, first.Refresh, start, keep); got.Refresh != "" || !works(l, got.Access, start) {
			t.Fatalf("got %+v, want an access token alone", got)
		}
	}
}

func TestACodeIsSpentOnce(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	code := l.Approve(grant.Consent{Client: "app", RedirectURI: "https://a.example/cb", Scopes: scopes}, start)
	got, refused := l.Redeem("app", code, "https://a.example/cb", "", start, rotate)
	if refused != nil || !works(l, got.Access, start) || !slices.Equal(got.Scopes, scopes) {
		t.Fatalf("redeem gave %+v, %+v", got, refused)
	}
	_, refused = l.Redeem("app", code, "https://a.example/cb", "", start, rotate)
	wantRefusal(t, refused, "invalid_grant", "used before")
	if works(l, got.Access, start) {
		t.Error("tokens from a replayed code still work")
	}
	if _, ok := l.RefreshToken(got.Refresh); ok {
		t.Error("the refresh token from a replayed code still works")
	}
}

func TestRedeemRefuses(t *testing.T) {
	t.Parallel()
	withPKCE := grant.Consent{Client: "app", RedirectURI: "https://a.example/cb", Scopes: scopes, Challenge: grant.Challenge(verifier)}
	plain := withPKCE
	plain.Challenge = ""
	for name, tc := range map[string]struct {
		consent               grant.Consent
		client, uri, verifier string
		after                 time.Duration
		why                   string
	}{
		"a wrong verifier":             {withPKCE, "app", "https://a.example/cb", verifier + "y", 0, "code_verifier"},
		"a missing verifier":           {withPKCE, "app", "https://a.example/cb", "", 0, "code_verifier"},
		"a verifier without challenge": {plain, "app", "https://a.example/cb", verifier, 0, "code_verifier"},
		"an expired code":              {plain, "app", "https://a.example/cb", "", grant.CodeLifetime, "expired"},
		"another redirect_uri":         {plain, "app", "https://a.example/cb/", "", 0, "redirect_uri"},
		"no redirect_uri":              {plain, "app", "", "", 0, "redirect_uri"},
		"another client":               {plain, "other", "https://a.example/cb", "", 0, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := grant.New(1)
			code := l.Approve(tc.consent, start)
			_, refused := l.Redeem(tc.client, code, tc.uri, tc.verifier, start.Add(tc.after), rotate)
			wantRefusal(t, refused, "invalid_grant", tc.why)
			if l.Stats != (grant.Stats{}) {
				t.Errorf("a refusal counted: %+v", l.Stats)
			}
		})
	}
}

func TestARefreshCanNarrowScopesButNotWiden(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	first := l.Begin("app", scopes, true, start, rotate)
	narrow, refused := l.Refresh("app", first.Refresh, scopes[:1], start, rotate)
	if refused != nil || !slices.Equal(narrow.Scopes, scopes[:1]) {
		t.Fatalf("narrowing gave %+v, %+v", narrow, refused)
	}
	_, refused = l.Refresh("app", narrow.Refresh, []string{"contacts.write"}, start, rotate)
	wantRefusal(t, refused, "invalid_scope", "not granted")
	if back := mustRefresh(t, l, narrow.Refresh, start, rotate); !slices.Equal(back.Scopes, scopes) {
		t.Errorf("the next refresh has scopes %v, want those of the consent", back.Scopes)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	one := l.Begin("app", scopes, true, start, rotate)
	if changed, allowed := l.Revoke("other", one.Access); changed || allowed {
		t.Error("another client revoked the access token")
	}
	if changed, allowed := l.Revoke("other", one.Refresh); changed || allowed {
		t.Error("another client revoked the refresh token")
	}
	if changed, allowed := l.Revoke("app", "acme_at_1.1.nonsense"); changed || !allowed {
		t.Error("an unknown token must be accepted and change nothing")
	}
	two := mustRefresh(t, l, one.Refresh, start, rotate)
	if changed, _ := l.Revoke("app", one.Access); !changed || works(l, one.Access, start) || !works(l, two.Access, start) {
		t.Error("revoking an access token must end it and no other")
	}
	if changed, _ := l.Revoke("app", two.Refresh); !changed || works(l, two.Access, start) {
		t.Error("revoking a refresh token must end the family")
	}
}

func TestAccessTokensEnd(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	got := l.Begin("app", scopes, false, start, rotate)
	if got.Refresh != "" {
		t.Error("got a refresh token that was not asked for")
	}
	if !works(l, got.Access, start.Add(time.Hour-time.Millisecond)) || works(l, got.Access, start.Add(time.Hour)) {
		t.Error("the token must work for exactly its lifetime")
	}
	if n := l.ExpireAll(start); n != 1 || works(l, got.Access, start) {
		t.Errorf("ExpireAll ended %d tokens", n)
	}
	if n := l.ExpireAll(start); n != 0 {
		t.Errorf("ExpireAll ended %d tokens twice", n)
	}
}

func TestTokensSurviveJSONButNoOtherSeedAndNoReset(t *testing.T) {
	t.Parallel()
	l := grant.New(7)
	got := l.Begin("app", scopes, true, start, rotate)
	code := l.Approve(grant.Consent{Client: "app", Scopes: scopes}, start)
	body, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{got.Access, got.Refresh, code} {
		if strings.Contains(string(body), token) {
			t.Error("the JSON holds a token in clear")
		}
	}
	load := func(seed uint64) *grant.Ledger {
		l := grant.New(seed)
		if err := json.Unmarshal(body, l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	same := load(7)
	if !works(same, got.Access, start) {
		t.Error("the access token was lost")
	}
	mustRefresh(t, same, got.Refresh, start, rotate)
	if _, refused := same.Redeem("app", code, "", "", start, rotate); refused != nil {
		t.Errorf("the code was lost: %+v", *refused)
	}
	if works(load(8), got.Access, start) {
		t.Error("another seed knows the token")
	}

	l.Reset()
	for range 3 {
		l.Begin("app", scopes, true, start, rotate)
	}
	if works(l, got.Access, start) {
		t.Error("a token from before the reset works again")
	}
	for _, bad := range []string{`{"codes":null}`, `{"families":null}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), grant.New(1)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestALongRunStaysInBoundsAndKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	l := grant.New(1)
	kept := l.Begin("app", scopes, true, start, rotate)
	now := start
	for i := range 25_000 {
		now = now.Add(time.Second)
		l.Begin("app", scopes, true, now, rotate)
		l.Approve(grant.Consent{Client: "app"}, start)
		if i%1000 == 0 {
			kept = mustRefresh(t, l, kept.Refresh, now, rotate)
		}
	}
	if len(l.Families) > 10_000 || len(l.Access) > 20_000 || len(l.Codes) > 1_000 {
		t.Errorf("%d families, %d access tokens, %d codes", len(l.Families), len(l.Access), len(l.Codes))
	}
	mustRefresh(t, l, kept.Refresh, now, rotate)
}

// A family has at most one refresh token that works, and none after any other was tried.
func TestOnlyTheNewestRefreshTokenWorks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := grant.New(rapid.Uint64().Draw(t, "seed"))
		seen := []string{l.Begin("app", scopes, true, start, rotate).Refresh}
		dead := false
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, len(seen)-1).Draw(t, "token")
			got, refused := l.Refresh("app", seen[i], nil, start, rotate)
			newest := i == len(seen)-1
			if (refused == nil) != (newest && !dead) {
				t.Fatalf("token %d of %d, family dead: %v: got %+v", i+1, len(seen), dead, refused)
			}
			dead = dead || !newest
			if refused == nil {
				seen = append(seen, got.Refresh)
			}
			if _, ok := l.RefreshToken(seen[len(seen)-1]); ok == dead {
				t.Fatalf("the newest token works: %v, family dead: %v", ok, dead)
			}
		}
	})
}

// No token but the minted ones is ever accepted.
func FuzzForgedTokens(f *testing.F) {
	l := grant.New(1)
	real := l.Begin("app", scopes, true, start, rotate)
	code := l.Approve(grant.Consent{Client: "app", Scopes: scopes}, start)
	for _, token := range []string{real.Access, real.Refresh, code} {
		f.Add(token)
		f.Add(strings.ToUpper(token))
		f.Add(token + ".")
		f.Add(strings.Replace(token, ".", ".0", 1))
		f.Add(strings.Replace(token, "_at_", "_rt_", 1))
	}
	f.Add("")
	f.Add("acme_at_1.1.")
	f.Fuzz(func(t *testing.T, token string) {
		if works(l, token, start) && token != real.Access {
			t.Errorf("access token %q was accepted", token)
		}
		if _, ok := l.RefreshToken(token); ok && token != real.Refresh {
			t.Errorf("refresh token %q was accepted", token)
		}
		if _, refused := l.Redeem("app", token, "", "", start, rotate); refused == nil && token != code {
			t.Errorf("code %q was accepted", token)
		}
	})
}

func ExampleLedger() {
	l := grant.New(1)
	code := l.Approve(grant.Consent{Client: "app", Scopes: []string{"contacts.read"}}, start)
	tokens, _ := l.Redeem("app", code, "", "", start, grant.Policy{Lifetime: time.Hour, Rotate: true})
	token, ok := l.AccessToken(tokens.Access, start)
	fmt.Println(token.Client, token.Scopes, ok)
	// Output: app [contacts.read] true
}
