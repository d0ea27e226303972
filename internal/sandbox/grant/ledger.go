// Package grant remembers what Acme's OAuth 2 server has granted: authorisation codes, refresh-token families and access
// tokens.
//
// It promises that a code and a refresh token are spent once, that spending one twice kills everything that came of it
// (RFC 6749 §4.1.2, RFC 9700 §4.14.2), and that the same seed and the same order of calls give the same tokens. It does no
// I/O and keeps no clock: the caller passes the time, guards a Ledger with a lock, and stores its JSON.
package grant

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	// CodeLifetime is how long an authorisation code waits for its exchange. RFC 6749 §4.1.2 recommends at most 10 min.
	CodeLifetime = time.Minute
	// codeMemory is how long a code is remembered after it expired, to notice that it is spent twice.
	codeMemory = 10 * time.Minute
	// maxCodes, maxFamilies and maxAccess bound a long run; what was used longest ago goes first.
	maxCodes    = 1_000
	maxFamilies = 10_000
	maxAccess   = 20_000
)

// Ledger is what was granted. A family is one consent (or one client_credentials request) with all tokens that descend
// from it:
//
//	code ──redeem──▶ family, generation 1 ──refresh──▶ generation 2 …
//	code or refresh token spent twice ──▶ family revoked, its tokens dead
//
// Stats may be read; the rest changes through the methods only.
type Ledger struct {
	seal
	state
}

// state is what MarshalJSON writes. Access tokens and codes are found by the number in them.
type state struct {
	Epoch    uint64                  `json:"epoch"`
	Seq      uint64                  `json:"seq"` // last number given to anything
	Codes    map[uint64]*codeRow     `json:"codes"`
	Families map[uint64]*familyRow   `json:"families"`
	Access   map[uint64]*accessToken `json:"access"`
	Stats    Stats                   `json:"stats"`
}

// Stats count since the last reset: answers that began a family, answers to refreshes, and refresh tokens or codes
// that were spent twice.
type Stats struct {
	Issued        int `json:"issued"`
	Refreshed     int `json:"refreshed"`
	ReuseDetected int `json:"reuse_detected"`
}

// Consent is what a user approved.
type Consent struct {
	Client string `json:"client"`
	// RedirectURI is "" when the authorisation request named none; the exchange must name the same.
	RedirectURI string   `json:"redirect_uri,omitempty"`
	Scopes      []string `json:"scopes"`
	// Challenge is PKCE's S256 challenge, "" without PKCE.
	Challenge string `json:"challenge,omitempty"`
}

type codeRow struct {
	Consent
	Expires time.Time `json:"expires"`
	Family  uint64    `json:"family,omitempty"` // born from the exchange; 0 before it
}

type familyRow struct {
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes"`
	Revoked bool      `json:"revoked,omitempty"`
	Used    time.Time `json:"used"`
	// Generation is the one refresh token that works. 0 means that the family has none.
	Generation uint64    `json:"generation,omitempty"`
	Rotated    time.Time `json:"rotated,omitzero"`
}

type accessToken struct {
	Family  uint64    `json:"family"`
	Scopes  []string  `json:"scopes"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// Policy says how tokens behave.
type Policy struct {
	// Lifetime of an access token.
	Lifetime time.Duration
	// ReuseGrace is how long after a rotation the token before still answers, with the current one. 0 is not at all.
	ReuseGrace time.Duration
	// Rotate gives a new refresh token with every refresh. Without it the answer has none and the old one stays.
	Rotate bool
}

// Tokens is what a grant hands out. Refresh is "" when the client keeps the one it has or gets none.
type Tokens struct {
	Access, Refresh string
	Scopes          []string
	Expires         time.Time
}

// Refusal is an error answer of RFC 6749 §5.2. The description is safe to show.
type Refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func invalidGrant(description string) *Refusal {
	return &Refusal{Code: "invalid_grant", Description: description}
}

// New makes an empty ledger whose tokens follow from the seed.
func New(seed uint64) *Ledger {
	return &Ledger{seal: newSeal(seed), state: emptyState()}
}

func emptyState() state {
	return state{Codes: map[uint64]*codeRow{}, Families: map[uint64]*familyRow{}, Access: map[uint64]*accessToken{}}
}

// MarshalJSON writes everything but the seed.
func (l *Ledger) MarshalJSON() ([]byte, error) { return json.Marshal(l.state) }

// UnmarshalJSON brings back what MarshalJSON wrote into a ledger from New.
func (l *Ledger) UnmarshalJSON(body []byte) error {
	loaded := emptyState()
	if err := json.Unmarshal(body, &loaded); err != nil {
		return err
	}
	if loaded.Codes == nil || loaded.Families == nil || loaded.Access == nil {
		return errors.New("grants are incomplete")
	}
	l.state = loaded
	return nil
}

// Reset forgets everything. No token from before works again, though numbering starts anew.
func (l *Ledger) Reset() {
	epoch := l.Epoch + 1
	l.state = emptyState()
	l.Epoch = epoch
}

func (l *Ledger) next() uint64 {
	l.Seq++
	return l.Seq
}

// Approve remembers a consent and returns its code.
func (l *Ledger) Approve(c Consent, now time.Time) string {
	if len(l.Codes) >= maxCodes {
		maps.DeleteFunc(l.Codes, func(_ uint64, old *codeRow) bool { return now.Sub(old.Expires) > codeMemory })
	}
	n := l.next()
	l.Codes[n] = &codeRow{Consent: c, Expires: now.Add(CodeLifetime)}
	drop(l.Codes, maxCodes, func(c *codeRow) time.Time { return c.Expires })
	return l.mint(l.Epoch, kindCode, n, 0)
}

// Begin opens a family and returns its first tokens. Only a refreshable one gets a refresh token.
func (l *Ledger) Begin(client string, scopes []string, refreshable bool, now time.Time, p Policy) Tokens {
	_, t := l.begin(client, scopes, refreshable, now, p)
	return t
}

func (l *Ledger) begin(client string, scopes []string, refreshable bool, now time.Time, p Policy) (uint64, Tokens) {
	id := l.next()
	f := &familyRow{Client: client, Scopes: scopes, Used: now}
	l.Families[id] = f
	l.Stats.Issued++
	t := l.issue(id, scopes, now, p)
	if refreshable {
		f.Generation, f.Rotated = 1, now
		t.Refresh = l.mint(l.Epoch, kindRefresh, id, 1)
	}
	l.prune(now)
	return id, t
}

func (l *Ledger) issue(family uint64, scopes []string, now time.Time, p Policy) Tokens {
	n := l.next()
	t := &accessToken{Family: family, Scopes: scopes, Issued: now, Expires: now.Add(p.Lifetime)}
	l.Access[n] = t
	return Tokens{Access: l.mint(l.Epoch, kindAccess, n, family), Scopes: scopes, Expires: t.Expires}
}

// Redeem spends a code. The verifier is PKCE's, "" when the request had none. The ledger has changed unless the refusal
// left Stats as they were.
func (l *Ledger) Redeem(client, code, redirectURI, verifier string, now time.Time, p Policy) (Tokens, *Refusal) {
	n, _, ok := l.parse(l.Epoch, kindCode, code)
	c := l.Codes[n]
	if !ok || c == nil || c.Client != client {
		return Tokens{}, invalidGrant("unknown code")
	}
	if c.Family != 0 { // spent before: what came of it may be in the wrong hands
		l.Stats.ReuseDetected++
		l.revokeFamily(c.Family)
		return Tokens{}, invalidGrant("code was used before")
	}
	if !now.Before(c.Expires) {
		return Tokens{}, invalidGrant("code has expired")
	}
	if c.RedirectURI != redirectURI {
		return Tokens{}, invalidGrant("redirect_uri differs from the authorisation request")
	}
	// A verifier without a challenge is refused too, so that stripping the challenge gains nothing (RFC 9700 §4.8.2).
	if (c.Challenge != "" || verifier != "") && !equal(Challenge(verifier), c.Challenge) {
		return Tokens{}, invalidGrant("code_verifier does not match")
	}
	id, t := l.begin(client, c.Scopes, true, now, p)
	c.Family = id
	return t, nil
}

// Refresh spends a refresh token. Empty scopes ask for all of the family's. The ledger has changed unless the refusal left
// Stats as they were.
func (l *Ledger) Refresh(client, token string, scopes []string, now time.Time, p Policy) (Tokens, *Refusal) {
	id, generation, ok := l.parse(l.Epoch, kindRefresh, token)
	f := l.Families[id]
	if !ok || f == nil || f.Client != client || generation > f.Generation {
		return Tokens{}, invalidGrant("unknown refresh token")
	}
	if f.Revoked {
		return Tokens{}, invalidGrant("refresh token was revoked")
	}
	late := generation < f.Generation
	if late && (generation+1 != f.Generation || now.Sub(f.Rotated) >= p.ReuseGrace) {
		l.Stats.ReuseDetected++
		l.revokeFamily(id)
		return Tokens{}, invalidGrant("refresh token was used before; all tokens of this consent are revoked")
	}
	if len(scopes) == 0 {
		scopes = f.Scopes
	}
	for _, scope := range scopes {
		if !slices.Contains(f.Scopes, scope) {
			return Tokens{}, &Refusal{Code: "invalid_scope", Description: "a scope was not granted"}
		}
	}
	l.Stats.Refreshed++
	f.Used = now
	t := l.issue(id, scopes, now, p)
	if p.Rotate && !late {
		f.Generation, f.Rotated = f.Generation+1, now
	}
	if p.Rotate {
		t.Refresh = l.mint(l.Epoch, kindRefresh, id, f.Generation)
	}
	l.prune(now)
	return t, nil
}

// Revoke kills what the token stands for: an access token alone, a refresh token with its family (RFC 7009 §2.1).
// Unknown tokens are fine. allowed is false when the token belongs to another client.
func (l *Ledger) Revoke(client, token string) (changed, allowed bool) {
	if id, _, ok := l.parse(l.Epoch, kindRefresh, token); ok && l.Families[id] != nil {
		if l.Families[id].Client != client {
			return false, false
		}
		l.revokeFamily(id)
		return true, true
	}
	n, id, ok := l.parse(l.Epoch, kindAccess, token)
	if !ok || l.Access[n] == nil {
		return false, true
	}
	if f := l.Families[id]; f != nil && f.Client != client {
		return false, false
	}
	delete(l.Access, n)
	return true, true
}

func (l *Ledger) revokeFamily(id uint64) {
	if f := l.Families[id]; f != nil {
		f.Revoked = true
	}
	maps.DeleteFunc(l.Access, func(_ uint64, t *accessToken) bool { return t.Family == id })
}

// ExpireAll ends every access token and returns how many worked until now.
func (l *Ledger) ExpireAll(now time.Time) int {
	ended := 0
	for _, t := range l.Access {
		if now.Before(t.Expires) {
			t.Expires = now
			ended++
		}
	}
	return ended
}

// Token is what a working token stands for. Issued and Expires are zero for a refresh token.
type Token struct {
	Client          string
	Scopes          []string
	Issued, Expires time.Time
}

// AccessToken returns the access token if it works now.
func (l *Ledger) AccessToken(token string, now time.Time) (Token, bool) {
	n, _, ok := l.parse(l.Epoch, kindAccess, token)
	t := l.Access[n]
	if !ok || t == nil || !now.Before(t.Expires) {
		return Token{}, false
	}
	f := l.Families[t.Family]
	if f == nil || f.Revoked {
		return Token{}, false
	}
	return Token{Client: f.Client, Scopes: t.Scopes, Issued: t.Issued, Expires: t.Expires}, true
}

// RefreshToken returns the refresh token if it is the one that works.
func (l *Ledger) RefreshToken(token string) (Token, bool) {
	id, generation, ok := l.parse(l.Epoch, kindRefresh, token)
	f := l.Families[id]
	if !ok || f == nil || f.Revoked || generation != f.Generation {
		return Token{}, false
	}
	return Token{Client: f.Client, Scopes: f.Scopes}, true
}

// prune keeps tokens and families in bounds: what is dead goes first, then the tenth that was used longest ago.
func (l *Ledger) prune(now time.Time) {
	if len(l.Access) > maxAccess {
		maps.DeleteFunc(l.Access, func(_ uint64, t *accessToken) bool { return !now.Before(t.Expires) })
		drop(l.Access, maxAccess, func(t *accessToken) time.Time { return t.Issued })
	}
	if len(l.Families) > maxFamilies {
		live := map[uint64]bool{}
		for _, t := range l.Access {
			live[t.Family] = true
		}
		maps.DeleteFunc(l.Families, func(id uint64, f *familyRow) bool { return f.Revoked || f.Generation == 0 && !live[id] })
		drop(l.Families, maxFamilies, func(f *familyRow) time.Time { return f.Used })
	}
}

// drop removes entries, oldest first, until a tenth of limit is free; it does nothing below the limit.
func drop[V any](from map[uint64]V, limit int, age func(V) time.Time) {
	if len(from) <= limit {
		return
	}
	ids := slices.SortedFunc(maps.Keys(from), func(a, b uint64) int {
		// At equal times the numbers tell the order.
		return cmp.Or(age(from[a]).Compare(age(from[b])), cmp.Compare(a, b))
	})
	for _, id := range ids[:len(from)-limit*9/10] {
		delete(from, id)
	}
}
