package sandbox

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// maxForm bounds a form body.
const maxForm = 64 << 10

func refusal(code, description string) *grant.Refusal {
	return &grant.Refusal{Code: code, Description: description}
}

// refuse answers an OAuth error: 401 for a bad client, 400 for all others (RFC 6749 §5.2).
func refuse(w http.ResponseWriter, why *grant.Refusal) {
	status := http.StatusBadRequest
	if why.Code == "invalid_client" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="Acme CRM"`)
	}
	answer(w, status, why)
}

// tokenAnswer is the success answer of RFC 6749 §5.1, with Acme's account id beside it.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	// ExpiresIn is in seconds; nil leaves it out.
	ExpiresIn    *int64 `json:"expires_in,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	AccountID    string `json:"account_id"`
}

// credentialedForm reads the form of a token, revocation or introspection request and authenticates its client, by Basic
// or by body but not both (RFC 6749 §2.3).
func (s *Server) credentialedForm(w http.ResponseWriter, r *http.Request) (url.Values, Client, *grant.Refusal) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, Client{}, refusal("invalid_request", "content type must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, Client{}, refusal("invalid_request", "form does not parse")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, Client{}, refusal("invalid_request", "parameter "+name+" is repeated")
		}
	}
	id, password := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok {
		if password != "" {
			return nil, Client{}, refusal("invalid_request", "more than one way of client authentication")
		}
		// Both parts are form-encoded inside Basic (RFC 6749 §2.3.1).
		user, errUser := url.QueryUnescape(user)
		pass, errPass := url.QueryUnescape(pass)
		if errUser != nil || errPass != nil || id != "" && id != user {
			return nil, Client{}, refusal("invalid_request", "client credentials are malformed or contradict client_id")
		}
		id, password = user, pass
	}
	client, known := s.clients[id]
	// A public client has the empty secret, so sending none is right and sending any is wrong.
	if !client.Secret.Equal(secret.New(password)) || !known {
		return nil, Client{}, refusal("invalid_client", "client is unknown or its secret is wrong")
	}
	return r.PostForm, client, nil
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	form, client, refused := s.credentialedForm(w, r)
	if refused != nil {
		refuse(w, refused)
		return
	}
	var t grant.Tokens
	set, now := s.settings.Load(), s.now()
	err := s.update(func() bool {
		before := s.grants.Stats
		t, refused = s.grant(client, form, now, set.Policy)
		return s.grants.Stats != before // reuse changes the state although it is refused
	})
	if err != nil {
		s.broken(w, r, err)
		return
	}
	if refused != nil {
		refuse(w, refused)
		return
	}
	a := tokenAnswer{AccessToken: t.Access, TokenType: "Bearer", RefreshToken: t.Refresh, Scope: strings.Join(t.Scopes, " "), AccountID: accountID}
	if lifetime := set.reported(); lifetime > 0 {
		seconds := int64(lifetime / time.Second)
		a.ExpiresIn = &seconds
	}
	answer(w, http.StatusOK, a)
}

// grant runs under s.mu.
func (s *Server) grant(client Client, form url.Values, now time.Time, p grant.Policy) (grant.Tokens, *grant.Refusal) {
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.grants.Redeem(client.ID, form.Get("code"), form.Get("redirect_uri"), form.Get("code_verifier"), now, p)
	case "refresh_token":
		return s.grants.Refresh(client.ID, form.Get("refresh_token"), strings.Fields(form.Get("scope")), now, p)
	case "client_credentials":
		if client.Secret.IsEmpty() {
			return grant.Tokens{}, refusal("unauthorized_client", "a public client may not use client_credentials")
		}
		scopes, unknown := grantedScopes(form.Get("scope"))
		if unknown != "" {
			return grant.Tokens{}, refusal("invalid_scope", "unknown scope "+unknown)
		}
		return s.grants.Begin(client.ID, scopes, false, now, p), nil
	case "":
		return grant.Tokens{}, refusal("invalid_request", "grant_type is missing")
	}
	return grant.Tokens{}, refusal("unsupported_grant_type", "use authorization_code, refresh_token or client_credentials")
}

// revoke is RFC 7009. Unknown tokens answer 200.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	form, client, refused := s.credentialedForm(w, r)
	if refused == nil && form.Get("token") == "" {
		refused = refusal("invalid_request", "token is missing")
	}
	if refused != nil {
		refuse(w, refused)
		return
	}
	var changed, allowed bool
	err := s.update(func() bool {
		changed, allowed = s.grants.Revoke(client.ID, form.Get("token"))
		return changed
	})
	switch {
	case err != nil:
		s.broken(w, r, err)
	case !allowed:
		refuse(w, refusal("unauthorized_client", "token belongs to another client"))
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// introspection is the answer of RFC 7662 §2.2. Times are Unix seconds.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Subject   string `json:"sub,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
}

// introspect is RFC 7662. Tokens of other clients are shown as inactive.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	form, client, refused := s.credentialedForm(w, r)
	if refused == nil && form.Get("token") == "" {
		refused = refusal("invalid_request", "token is missing")
	}
	if refused == nil && client.Secret.IsEmpty() {
		refused = refusal("invalid_client", "a public client may not introspect")
	}
	if refused != nil {
		refuse(w, refused)
		return
	}
	answer(w, http.StatusOK, s.inspect(client.ID, form.Get("token")))
}

func (s *Server) inspect(client, token string) introspection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t, works := s.grants.AccessToken(token, s.now()); works && t.Client == client {
		return introspection{
			Active: true, Scope: strings.Join(t.Scopes, " "), ClientID: client, TokenType: "Bearer", Subject: userID,
			IssuedAt: t.Issued.Unix(), Expires: t.Expires.Unix(),
		}
	}
	if t, works := s.grants.RefreshToken(token); works && t.Client == client {
		return introspection{Active: true, Scope: strings.Join(t.Scopes, " "), ClientID: client, TokenType: "refresh_token", Subject: userID}
	}
	return introspection{}
}

// ErrUnknownClient is returned by IssueToken for a client that is not registered.
var ErrUnknownClient = errors.New("sandbox: unknown client")

// IssueToken hands out the tokens of a consent without the browser, for a demo that imports a ready connection. Empty
// scopes are all. With a snapshot the tokens work after a restart.
func (s *Server) IssueToken(client string, scopes []string) (access, refresh string, expiresAt time.Time, err error) {
	if _, known := s.clients[client]; !known {
		return "", "", time.Time{}, fmt.Errorf("%w %q", ErrUnknownClient, client)
	}
	granted, unknown := grantedScopes(strings.Join(scopes, " "))
	if unknown != "" {
		return "", "", time.Time{}, fmt.Errorf("sandbox: unknown scope %q", unknown)
	}
	var t grant.Tokens
	err = s.update(func() bool {
		t = s.grants.Begin(client, granted, true, s.now(), s.settings.Load().Policy)
		return true
	})
	if err != nil {
		return "", "", time.Time{}, fmt.Errorf("sandbox: issue token: %w", err)
	}
	return t.Access, t.Refresh, t.Expires, nil
}
