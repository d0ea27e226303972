package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// NetworkError says that the third party gave no answer.
type NetworkError struct {
	// Code is the network code as Node.js programs know it (ECONNREFUSED, ENOTFOUND, …); "" when there is none.
	Code string
	// Message is safe to show.
	Message string
	cause   error
}

func (e *NetworkError) Error() string { return "no answer from the third party: " + e.Message }

// Unwrap gives the cause.
func (e *NetworkError) Unwrap() error { return e.cause }

// errIdle ends a call in which nothing moves.
var errIdle = errors.New("no byte moved for too long")

// exchangeFailed turns the error of a client into what callers get. ctx is the one the request was sent with.
func exchangeFailed(ctx context.Context, err error) error {
	var denied *egress.DeniedError
	switch {
	case errors.Is(context.Cause(ctx), errIdle):
		return &NetworkError{Code: egress.CodeAborted, Message: "timeout exceeded", cause: err}
	case ctx.Err() != nil:
		return fmt.Errorf("proxied request: %w", context.Cause(ctx))
	case errors.As(err, &denied) && denied.Reason != egress.TooManyRedirects:
		return notAllowed(denied)
	}
	return &NetworkError{Code: egress.Code(err), Message: egress.NodeMessage(err), cause: err}
}

func notAllowed(denied *egress.DeniedError) error {
	return bad("base_url_override_not_allowed", "The outbound policy refuses this address: %s", denied.Reason).Because(denied)
}

func bad(code, format string, args ...any) *errs.Error {
	return errs.Newf(http.StatusBadRequest, code, format, args...)
}

// noIntegration and noConnection give the answers of the wire contract for what does not exist. There are two because both
// packages' ErrNotFound look alike to errors.Is.
func noIntegration(err error, ref Ref) error {
	if !errors.Is(err, integration.ErrNotFound) {
		return err
	}
	const message = "There is no integration %q in this environment"
	return errs.Newf(http.StatusNotFound, "unknown_provider_config", message, ref.IntegrationKey).Because(err)
}

func noConnection(err error, ref Ref) error {
	if !errors.Is(err, connection.ErrNotFound) {
		return err
	}
	return bad("server_error", "There is no connection %q in the integration %q", ref.ConnectionID, ref.IntegrationKey).Because(err)
}

// refreshFailed gives the answer for credentials that could not be made fresh: the refusal's status, and its code only when
// clients are known to look at it.
func refreshFailed(err error) error {
	var refusal *errs.Error
	if !errors.As(err, &refusal) || refusal.Code == "connection_refresh_backoff" {
		return err
	}
	return errs.New(refusal.Status, "server_error", refusal.Message).Because(err)
}

// buildFailed gives the answer for a request that can't be built.
func buildFailed(err error) error {
	var unresolved *template.UnresolvedError
	var value *proxyrequest.ValueError
	switch {
	case errors.Is(err, proxyrequest.ErrNoBaseURL):
		return bad("unsupported_provider", "This provider has no base URL: give one with base-url-override").Because(err)
	case errors.As(err, &unresolved):
		return bad("missing_api_url", "%s needs %s, which this connection does not have", unresolved.Place, unresolved.Name).Because(err)
	case errors.As(err, &value):
		return bad("unsupported_auth", "The header %s can't be sent: its value holds a control character", value.Header).Because(err)
	}
	return bad("missing_api_url", "The address of the request is no URL that can be called: %s", err).Because(err)
}
