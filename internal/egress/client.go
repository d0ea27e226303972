package egress

import (
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"time"
)

// ClientOptions configures a client. The zero value follows no redirect, has no total time-out and no size limit.
type ClientOptions struct {
	// Timeout bounds the whole exchange, redirects and reading the body included. 0 means no limit: the caller's context
	// and the Door's time-outs hold.
	Timeout time.Duration
	// MaxResponseBytes ends a longer response body with a *TooLargeError. 0 means no limit.
	MaxResponseBytes int64

	// FollowRedirects follows up to Policy.MaxRedirects redirects, each judged like a first request. 301 and 302 turn
	// POST, and 303 any method, into GET without body; 307 and 308 repeat the request. When off, or when a body can not be
	// repeated because the request has no GetBody, the 3xx response itself is the answer.
	FollowRedirects bool
	// SensitiveHeaders are not sent on after a redirect to another party, beside Authorization, Proxy-Authorization and
	// Cookie. nil means all headers but Accept, Accept-Encoding, Content-Type, Content-Encoding and User-Agent.
	SensitiveHeaders []string
	// ForwardHeaders sends every header of the request on every hop, whoever it goes to.
	ForwardHeaders bool

	// TLS replaces the TLS settings, for client certificates or private authorities. The client then has a connection pool
	// of its own; call CloseIdleConnections when done with it. nil means the shared pool.
	TLS *tls.Config
}

// Client makes an HTTP client whose every connection passes the door. Make it once and keep it.
//
// Errors are the *url.Error of net/http; errors.As finds *DeniedError, *net.DNSError and *net.OpError in it. Its text
// holds the URL with the query, so log Code and NodeMessage instead where a query may carry a secret.
func (d *Door) Client(o ClientOptions) *http.Client {
	transport := d.transport
	if o.TLS != nil {
		transport = d.newTransport(o.TLS.Clone())
	}
	return &http.Client{
		Transport:     &guard{door: d, transport: transport, maxBytes: o.MaxResponseBytes},
		CheckRedirect: d.redirectPolicy(o),
		Timeout:       o.Timeout,
	}
}

// guard judges each request and redirect hop before the transport sees it, and reports the decision. The dialer judges
// again; guard exists so that a request over a pooled connection is judged too.
type guard struct {
	door      *Door
	transport *http.Transport
	maxBytes  int64
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := g.door.check(req.URL)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, g.door.refuseHop(req, err)
	}
	if _, set := req.Header["User-Agent"]; !set {
		req = withUserAgent(req, g.door.userAgent)
	}
	res, err := g.transport.RoundTrip(req)
	if err != nil {
		if !errors.As(err, new(*DeniedError)) {
			g.door.report(t.host, err)
			return nil, err
		}
		return nil, g.door.refuseHop(req, err)
	}
	g.door.report(t.host, nil)
	if g.maxBytes > 0 && res.StatusCode != http.StatusSwitchingProtocols {
		res.Body = &limitedBody{ReadCloser: res.Body, left: g.maxBytes, limit: g.maxBytes}
	}
	return res, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (g *guard) CloseIdleConnections() { g.transport.CloseIdleConnections() }

// withUserAgent copies the request: a RoundTripper must not change its argument.
func withUserAgent(req *http.Request, agent []string) *http.Request {
	clone := *req
	clone.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(clone.Header, req.Header)
	clone.Header["User-Agent"] = agent
	return &clone
}

// refuseHop reports a refusal. On a redirect hop the refusal becomes the cause of a RedirectDenied.
func (d *Door) refuseHop(req *http.Request, err error) error {
	var denied *DeniedError
	if req.Response != nil && errors.As(err, &denied) { // Response is set by http.Client on redirects only
		err = &DeniedError{Reason: RedirectDenied, Host: denied.Host, Address: denied.Address, cause: denied}
	}
	d.report("", err)
	return err
}

// report turns the outcome of an attempt into a Decision. A network fault after the policy said yes counts as allowed.
func (d *Door) report(host string, err error) {
	decision := Decision{Allowed: true, Host: host}
	if err == nil {
		d.onDecision(decision)
		return
	}
	var denied *DeniedError
	var dns *net.DNSError
	switch {
	case errors.As(err, &denied):
		decision = Decision{Reason: denied.Reason, Host: denied.Host}
	case errors.As(err, &dns):
		decision = Decision{Reason: DNSFailed, Host: host}
	}
	d.onDecision(decision)
}

// limitedBody passes limit bytes and then fails if there are more.
type limitedBody struct {
	io.ReadCloser
	left, limit int64
	err         error
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p))-1 > b.left {
		p = p[:b.left+1] // one byte more than allowed tells "exactly the limit" from "too long"
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), &TooLargeError{Limit: b.limit}
	}
	b.left -= int64(n)
	b.err = err
	return n, err
}
