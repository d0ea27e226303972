package oauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Refused says that an endpoint answered and handed out no token. Its text is safe to show.
type Refused struct { //nolint:errname // it is what an endpoint answered, beside Token, and judged before it is an error
	// Permanent means that asking again with the same credentials is in vain.
	Permanent bool
	// Client means that the client was refused, not the grant: a wrong client id or secret, or one that may not do this.
	Client bool
	// Status is the HTTP status, which may be 200.
	Status int
	// Code is the error code of the endpoint, such as invalid_grant; empty when it sent none.
	Code string
	// Description is the endpoint's text, cut to 300 characters, without secrets; may be empty.
	Description string
}

func (e *Refused) Error() string {
	text := fmt.Sprintf("the token endpoint answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// UnreachableError says that no answer was had: the endpoint may or may not have seen the request. Its text is safe to show.
type UnreachableError struct {
	// Timeout is set when the endpoint took too long.
	Timeout bool

	text  string
	cause error
}

func (e *UnreachableError) Error() string { return e.text }

// Unwrap gives the cause, without the URL, whose query may hold a secret.
func (e *UnreachableError) Unwrap() error { return e.cause }

// unreachable words a failed exchange.
func unreachable(err error) *UnreachableError {
	e := &UnreachableError{cause: err, text: "the token endpoint could not be reached"}
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		e.cause = withURL.Err
	}
	var denied *egress.DeniedError
	var tooLarge *egress.TooLargeError
	var timeout net.Error
	switch {
	case errors.As(err, &denied):
		e.text = fmt.Sprintf("the outbound policy refuses the token endpoint (%s)", denied.Reason)
	case errors.Is(err, errTooLarge), errors.As(err, &tooLarge):
		e.text = "the answer of the token endpoint is larger than 1 MB"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Timeout = true
		e.text = fmt.Sprintf("the token endpoint did not answer within %s", Timeout)
	default:
		if code := egress.Code(err); code != "" {
			e.text += " (" + code + ")"
		}
	}
	return e
}

// KeyError says that a private key or certificate of the client can't be used. Its text is safe to show.
type KeyError struct {
	Problem string
	cause   error
}

func (e *KeyError) Error() string { return e.Problem }

// Unwrap gives the cause, which may quote the key: it is for debugging only.
func (e *KeyError) Unwrap() error { return e.cause }

// Error codes after which asking again is in vain. Beside RFC 6749 §5.2 and OpenID Connect they are those of providers that
// have words of their own for a refresh token that is spent, revoked or too old.
var (
	grantIsDead = map[string]bool{
		"invalid_grant": true, "interaction_required": true, "consent_required": true, "login_required": true, "access_denied": true,
		"bad_refresh_token": true, "invalid_refresh_token": true, "expired_refresh_token": true, "refresh_token_expired": true,
		"token_revoked": true, "token_expired": true, "account_inactive": true,
	}
	clientIsRefused = map[string]bool{
		"invalid_client": true, "unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true,
		"incorrect_client_credentials": true, "bad_client_secret": true, "invalid_client_id": true,
	}
)

// refusal is what is wrong with an answer; nil when it may hold a token. Errors with a status of 2xx exist too.
func (a answer) refusal(secrets []secret.Text) *Refused {
	code, description := a.problem()
	ok := a.status >= 200 && a.status < 300
	if ok && (code == "" || str(a.values["access_token"]) != "") {
		return nil
	}
	r := &Refused{Status: a.status, Code: safe(code, 64, secrets), Description: safe(description, 300, secrets)}
	// An overloaded or broken endpoint says anything; it is asked again.
	if a.status < 500 && a.status != 429 {
		known := strings.ToLower(code)
		r.Client = clientIsRefused[known]
		r.Permanent = r.Client || grantIsDead[known]
	}
	return r
}

// problem finds code and description: {"error": "…", "error_description": "…"} of the RFC, or what others send in its place.
func (a answer) problem() (code, description string) {
	switch e := a.values["error"].(type) {
	case string:
		code = e
	case map[string]any:
		code, description = first(e, "code", "type", "status"), first(e, "message", "description")
	}
	if a.status < 200 || a.status >= 300 {
		if code == "" {
			code = first(a.values, "error_code", "errorCode", "code", "status")
		}
		if description == "" {
			description = first(a.values, "error_description", "message", "error_message", "detail")
		}
	} else if description == "" {
		description = first(a.values, "error_description")
	}
	return code, description
}

func first(values map[string]any, names ...string) string {
	for _, name := range names {
		if s := str(values[name]); s != "" {
			return s
		}
	}
	return ""
}

// unusable is an answer that agrees but holds no token.
func (a answer) unusable() *Refused {
	if a.values == nil {
		return &Refused{Status: a.status, Description: "the answer is no JSON object"}
	}
	return &Refused{Status: a.status, Description: "the answer holds no access token"}
}

// safe makes a text of an endpoint fit to show: one line, cut, secrets removed.
func safe(text string, limit int, secrets []secret.Text) string {
	for _, s := range secrets {
		if !s.IsEmpty() {
			text = strings.ReplaceAll(text, s.Reveal(), secret.Redacted)
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if r := []rune(text); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return text
}
