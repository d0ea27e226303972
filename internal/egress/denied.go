package egress

import (
	"fmt"
	"net/netip"
)

// Reason names a decision of the policy. The texts are stable: they are metric labels and appear in logs.
type Reason string

// The reasons. The zero Reason belongs to what was allowed.
const (
	InvalidURL       Reason = "invalid_url"        // can not be parsed, has no host, a bad port, or user information
	InvalidScheme    Reason = "invalid_scheme"     // neither http nor https
	DeniedHostname   Reason = "denied_hostname"    // a deny entry or a built-in name (localhost, metadata services)
	DeniedIP         Reason = "denied_ip"          // the URL names an address that is not open
	DeniedDNS        Reason = "denied_dns"         // the name resolves to an address that is not open
	AllowlistMiss    Reason = "allowlist_miss"     // allowlist mode and no entry admits the host
	RedirectDenied   Reason = "redirect_denied"    // a redirect hop was refused; Unwrap gives the reason of the hop
	TooManyRedirects Reason = "too_many_redirects" // more hops than Policy.MaxRedirects

	// DNSFailed is the reason of a Decision only. The error of a failed look-up is the *net.DNSError itself, because it
	// is a network fault that may be retried, not a refusal.
	DNSFailed Reason = "dns_resolution_failed"
)

// DeniedError says that the policy refused a connection; nothing was sent. errors.As finds it through *url.Error.
//
// Error names the address the host resolved to, which tells a client about the private network: it is for the log. Show
// clients the Reason.
type DeniedError struct {
	Reason  Reason
	Host    string     // as understood; as given if it could not be parsed
	Address netip.Addr // the address that was refused, or the zero Addr

	cause error
}

// Error is for the log.
func (e *DeniedError) Error() string {
	text := fmt.Sprintf("outbound connection to %q denied: %s", e.Host, e.Reason)
	if e.Address.IsValid() {
		text += fmt.Sprintf(" (%s is %s)", e.Address, Classify(e.Address))
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap gives what was wrong with the URL, or the refusal of a redirect hop.
func (e *DeniedError) Unwrap() error { return e.cause }

// Decision is one answer of the policy: one per request, per redirect hop and per DialContext.
type Decision struct {
	Allowed bool
	Reason  Reason // empty when Allowed
	Host    string // as DeniedError.Host; unbounded, so no metric label
}

// TooLargeError says that a response body was longer than ClientOptions.MaxResponseBytes. The bytes up to the limit were
// delivered before it.
type TooLargeError struct {
	Limit int64 // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("response body is longer than %d bytes", e.Limit)
}
