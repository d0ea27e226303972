package refresh

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
)

// Pauses after failed renewals double from firstPause to lastPause: short enough to see the end of an outage, long enough
// not to be part of it.
const (
	firstPause = 30 * time.Second
	lastPause  = time.Hour
)

// RenewalError is why a renewal failed.
type RenewalError struct {
	// Code is part of the public contract, such as refresh_token_external_error.
	Code string
	// Message is safe to show.
	Message string
	// Dead means that these credentials will never work again.
	Dead bool

	cause error
}

func (f *RenewalError) Error() string { return f.Code + ": " + f.Message }

// Unwrap gives the cause, for the log.
func (f *RenewalError) Unwrap() error { return f.cause }

// Because returns a copy that wraps cause.
func (f *RenewalError) Because(cause error) *RenewalError {
	wrapped := *f
	wrapped.cause = cause
	return &wrapped
}

func (f *RenewalError) public() *errs.Error {
	return errs.New(http.StatusBadRequest, f.Code, f.Message).Because(f)
}

func exhausted(s connection.RefreshState) *errs.Error {
	text := "The provider no longer accepts the credentials of this connection; it has to be connected again"
	if s.Message != "" {
		text += ". " + s.Message
	}
	return errs.New(http.StatusFailedDependency, "connection_refresh_exhausted", text)
}

func backingOff(s connection.RefreshState, now time.Time) *errs.Error {
	left := retryAt(s).Sub(now).Round(time.Second)
	return errs.Newf(http.StatusFailedDependency, "connection_refresh_backoff",
		"The last refresh of this connection failed; the next attempt is in %s. %s", max(left, time.Second), s.Message)
}

// retryAt is when a failing connection may be tried again.
func retryAt(s connection.RefreshState) time.Time {
	if s.Failures == 0 {
		return s.LastFailure
	}
	pause := lastPause
	if doublings := s.Failures - 1; doublings < 8 {
		pause = min(firstPause<<doublings, lastPause)
	}
	return s.LastFailure.Add(pause)
}

func failing(s connection.RefreshState) bool { return s.Failures > 0 || s.NeedsReconnect }

// settled reports whether there is nothing to do for c: it is fresh, or, in the error, must not be tried.
func (a attempt) settled(c *connection.Connection) (bool, error) {
	now := a.opts.Now()
	switch {
	case a.force:
		return false, nil
	case c.Refresh.NeedsReconnect:
		return true, exhausted(c.Refresh)
	case !a.stale(c, now):
		return true, nil
	case now.Before(retryAt(c.Refresh)):
		if a.expired(c) {
			return true, backingOff(c.Refresh, now)
		}
		return true, nil
	}
	return false, nil
}

// expired reports whether the credentials certainly don't work any more.
func (a attempt) expired(c *connection.Connection) bool {
	at := c.Credentials.Expiry()
	return !at.IsZero() && !a.opts.Now().Before(at)
}

// stale reports whether credentials are due: they expire within the provider's margin. The margin of a token that lives
// shorter than twice as long is half its life, or else every read would refresh.
func (a attempt) stale(c *connection.Connection, now time.Time) bool {
	at := c.Credentials.Expiry()
	if at.IsZero() {
		return false
	}
	margin := a.provider.TokenExpirationBuffer()
	if left := at.Sub(now); left > margin+a.early {
		return false
	}
	if life := lifetime(c.Credentials); life > 0 {
		margin = min(margin, life/2)
	}
	return at.Sub(now) <= margin+a.early
}

// lifetime is what the token's answer said in expires_in; 0 when it is not known.
func lifetime(c connection.Credentials) time.Duration {
	raw, _ := c.Values()["raw"].(map[string]any)
	var seconds float64
	switch v := raw["expires_in"].(type) {
	case float64:
		seconds = v
	case json.Number:
		seconds, _ = v.Float64() // 0 when it is none
	case string:
		seconds, _ = strconv.ParseFloat(v, 64) // 0 when it is none
	}
	return time.Duration(min(max(seconds, 0), 1e9)) * time.Second
}
