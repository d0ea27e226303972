package sandbox

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// The one account of Acme CRM and the one user who consents in it.
const (
	accountID   = "acc_1"
	accountName = "Acme Demo Inc."
	userID      = "usr_1"
	userName    = "Robin Example"
	userEmail   = "robin@acme.example"
)

// caller is who an API request comes from.
type caller struct {
	// Method is oauth2, api_key or basic.
	Method   string
	ClientID string // only for oauth2
	Scopes   []string
}

// identify returns the caller, or a reason why there is none. The first credential present decides: Bearer, Basic,
// x-api-key.
func (s *Server) identify(r *http.Request) (caller, string) {
	header := r.Header.Get("Authorization")
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		s.mu.RLock()
		defer s.mu.RUnlock()
		t, works := s.grants.AccessToken(strings.TrimSpace(value), s.now())
		if !works {
			return caller{}, "The access token is unknown, expired or revoked."
		}
		return caller{Method: "oauth2", ClientID: t.Client, Scopes: t.Scopes}, ""
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := r.BasicAuth()
		if want, known := s.users[user]; !ok || !want.Equal(secret.New(password)) || !known {
			return caller{}, "User name or password is wrong."
		}
		return caller{Method: "basic", Scopes: allScopes()}, ""
	case header != "":
		return caller{}, "The Authorization scheme is not supported."
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		if !slices.ContainsFunc(s.apiKeys, secret.New(key).Equal) {
			return caller{}, "The API key is unknown."
		}
		return caller{Method: "api_key", Scopes: allScopes()}, ""
	}
	return caller{}, "No credentials were sent."
}

// allow wraps a handler for callers who have the scope; "" is any caller.
func (s *Server) allow(scope string, next func(http.ResponseWriter, *http.Request, caller)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, reason := s.identify(r)
		if reason != "" {
			challenge := `Bearer realm="Acme CRM"`
			if r.Header.Get("Authorization") != "" { // no error code for those who sent nothing (RFC 6750 §3.1)
				challenge += `, error="invalid_token"`
			}
			w.Header().Set("WWW-Authenticate", challenge)
			failf(w, http.StatusUnauthorized, "unauthorized", "%s", reason)
			return
		}
		if scope != "" && !slices.Contains(who.Scopes, scope) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="Acme CRM", error="insufficient_scope", scope="`+scope+`"`)
			failf(w, http.StatusForbidden, "insufficient_scope", "This needs the scope %s.", scope)
			return
		}
		next(w, r, who)
	}
}

// me tells who the caller is; clients use it to verify credentials.
func (s *Server) me(w http.ResponseWriter, _ *http.Request, who caller) {
	answer(w, http.StatusOK, map[string]any{
		"id": userID, "name": userName, "email": userEmail, "account": map[string]string{"id": accountID, "name": accountName},
		"auth": who.Method, "client_id": who.ClientID, "scopes": who.Scopes,
	})
}
