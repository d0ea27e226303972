package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Ref names a connection.
type Ref struct {
	IntegrationKey string
	ConnectionID   string
}

// Call is one request to a third-party API. Environment, Ref and Method are required, and Path or BaseURL.
type Call struct {
	Environment tenant.Environment
	// Ref is the connection; its integration decides the provider's rules and the developer app's credentials.
	Ref

	// Credentials takes the credentials and the configuration of another connection; the rest stays that of Ref. Nil is Ref.
	Credentials *Ref

	Method string
	// Path is the path and the query as they were received, "/v1/items?x=1", or an absolute URL below the provider's own
	// address. Its bytes are kept; only what may not stand in a URL is escaped. It may name connectionConfig, metadata and tags,
	// but no credential.
	Path string
	// BaseURL takes the place of the provider's address; "" does not.
	BaseURL string

	// Header is forwarded and wins over the provider's rules, but for a user-agent of theirs. Headers of the connection to us
	// (Host, Connection, Transfer-Encoding, …) are left out.
	Header http.Header

	// Body is sent as it comes; nil is none. GET and HEAD send none.
	Body io.Reader
	// ContentLength is the length of Body in bytes, -1 when it is not known; 0 is no body.
	ContentLength int64
	// GetBody opens the body again from its start. Without it the first 4 MiB are kept while they are sent, and a longer body
	// is not sent twice.
	GetBody func() (io.ReadCloser, error)
	// ContentType says what Body is. A Content-Type in Header, or one of the provider's, says what the third party gets: when
	// one is JSON and the other a form, the body is converted. The exact type "application/x-www-form-urlencoded" is what SDKs
	// say when nobody chose a type, so without another type such a body is sent as JSON: {} when it is empty, itself when it is
	// JSON, else an object of its fields. "" converts nothing.
	ContentType string

	// AcceptEncoding is what the receiver of the response can decode itself; such codings pass. Others are decoded.
	AcceptEncoding string
	// Decompress decodes gzip, deflate and br in any case; nil is the provider's setting.
	Decompress *bool
	// ForwardHeadersOnRedirect sends every header along to wherever a redirect leads; nil is the provider's setting.
	ForwardHeadersOnRedirect *bool

	// Retries is how often a failed request is repeated, at most 10. RetryOn are statuses that count as failed besides the usual.
	Retries int
	RetryOn []int
	// MaxWait bounds the time spent waiting between attempts, all together. 0 means 60 seconds. When a wait would exceed it, or
	// the deadline of the context, the last answer is handed over instead.
	MaxWait time.Duration

	// Operation gets the messages; nil begins an operation of its own, whose id Begun is told before the request is sent.
	Operation *oplog.Operation
	Begun     func(operationID string)
	// Inbound is the app's request to us, for an operation of its own.
	Inbound *oplog.HTTPRequest
}

// Response is the answer of the third party.
type Response struct {
	Status int
	// Header is what may be passed on: nothing of the connection, of CORS, or about the third party's own origin.
	Header http.Header
	// Body is never nil and must be closed. An error of Read means that the answer broke off.
	Body io.ReadCloser
	// ContentLength is the length of Body in bytes, -1 when it is not known.
	ContentLength int64
	// Unauthorized reports that some attempt was answered 401: what the caller remembers of the credentials may be old.
	Unauthorized bool

	url     *url.URL
	secrets []secret.Text
}

// URL is where the answer came from, without the secrets of the connection.
func (r *Response) URL() string {
	var pairs []string
	for _, s := range r.secrets {
		plain := s.Reveal()
		pairs = append(pairs, plain, secret.Redacted, url.QueryEscape(plain), secret.Redacted, url.PathEscape(plain), secret.Redacted)
	}
	return strings.NewReplacer(pairs...).Replace(r.url.String())
}

// hopByHop are headers of one connection, RFC 9110 section 7.6.1 and its older relatives.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade",
}

// ownOrigin are headers by which a server speaks about its own address. Passed on, they would speak about ours.
var ownOrigin = []string{"Alt-Svc", "Clear-Site-Data", "Strict-Transport-Security"}

func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// passedOn gives the headers of an answer that may be passed on. The argument is changed.
func passedOn(h http.Header) http.Header {
	dropHopByHop(h)
	for _, name := range ownOrigin {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	return h
}
