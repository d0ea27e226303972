package egress

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Resolver turns a name into addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configures a Door. The zero value is ready for use and denies everything that is not public.
type Options struct {
	Policy   Policy
	Resolver Resolver // nil: net.DefaultResolver

	// DialTimeout bounds DNS and TCP connect together, over all addresses of the name. 0 means 10 s.
	DialTimeout time.Duration
	// TLSHandshakeTimeout bounds the handshake. 0 means 10 s.
	TLSHandshakeTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait from the end of the request to the response header. 0 means 2 min, just above
	// what common gateways allow their own backends (60 to 120 s); -1 means no limit.
	ResponseHeaderTimeout time.Duration
	// IdleTimeout is how long an unused connection is kept. 0 means 90 s.
	IdleTimeout time.Duration
	// MaxIdleConnsPerHost is how many unused HTTP/1 connections are kept per host and port. 0 means 32: net/http's 2 makes
	// a busy proxy dial for almost every request.
	MaxIdleConnsPerHost int

	// UserAgent is sent when a request has no User-Agent header. "" means "Patchbay".
	UserAgent string
	// OnDecision is told each decision, from the goroutine of the request. It must be quick and safe for concurrent use.
	// nil tells nobody.
	OnDecision func(Decision)
}

const (
	defaultDialTimeout           = 10 * time.Second
	defaultTLSHandshakeTimeout   = 10 * time.Second
	defaultResponseHeaderTimeout = 2 * time.Minute
	defaultIdleTimeout           = 90 * time.Second
	defaultMaxIdleConnsPerHost   = 32
	defaultUserAgent             = "Patchbay"

	maxIdleConns           = 1024    // in all: idle connections hold file descriptors
	maxResponseHeaderBytes = 1 << 20 // a header of 1 MiB is an attack; common servers stop at 8 to 64 KiB
	pingAfter              = 30 * time.Second
	pingTimeout            = 15 * time.Second
	keepAlive              = 30 * time.Second
)

// Door opens outbound connections. It is immutable, safe for concurrent use, and shares one connection pool between all
// its clients. A change of policy needs a new Door.
type Door struct {
	rules        *rules
	resolver     Resolver
	dialTimeout  time.Duration
	userAgent    []string // as a header value
	onDecision   func(Decision)
	maxRedirects int
	options      Options
	transport    *http.Transport

	// connect opens one socket to an address that passed. Tests replace it to see what would be dialled.
	connect func(ctx context.Context, t target, a netip.Addr) (net.Conn, error)
}

// New makes a Door.
func New(o Options) *Door {
	d := &Door{
		rules:        newRules(o.Policy),
		resolver:     o.Resolver,
		dialTimeout:  orDefault(o.DialTimeout, defaultDialTimeout),
		userAgent:    []string{orDefault(o.UserAgent, defaultUserAgent)},
		onDecision:   o.OnDecision,
		maxRedirects: o.Policy.maxRedirects(),
		options:      o,
	}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	if d.onDecision == nil {
		d.onDecision = func(Decision) {}
	}
	d.connect = d.connectTCP
	d.transport = d.newTransport(nil)
	return d
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// newTransport makes a connection pool behind the door's dialer. There is no other way to make one.
func (d *Door) newTransport(config *tls.Config) *http.Transport {
	header := max(orDefault(d.options.ResponseHeaderTimeout, defaultResponseHeaderTimeout), 0)
	return &http.Transport{
		Proxy:                  nil, // HTTP_PROXY and friends would move the dial out of our sight
		DialContext:            d.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    orDefault(d.options.TLSHandshakeTimeout, defaultTLSHandshakeTimeout),
		ResponseHeaderTimeout:  header,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        orDefault(d.options.IdleTimeout, defaultIdleTimeout),
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    orDefault(d.options.MaxIdleConnsPerHost, defaultMaxIdleConnsPerHost),
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		DisableCompression:     true, // bodies pass as they are
		ForceAttemptHTTP2:      true, // off by default once DialContext is set
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// Close drops the unused connections of the shared pool. Requests in flight finish. It may be called twice.
func (d *Door) Close() { d.transport.CloseIdleConnections() }

// CheckURL judges a URL as far as that is possible without DNS, for validation when a setting is saved. That it passes
// does not mean that a request will: the addresses are judged when the connection is opened. The error is a *DeniedError.
func (d *Door) CheckURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &DeniedError{Reason: InvalidURL, cause: urlCause(err)}
	}
	if _, err := d.check(u); err != nil {
		return nil, err
	}
	return u, nil
}

func (d *Door) check(u *url.URL) (target, error) {
	t, err := targetOf(u)
	if err != nil {
		return t, err
	}
	return t, d.rules.host(t)
}
