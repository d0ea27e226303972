package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/proxy"
)

// Proxy sends requests to third parties with the credentials of a connection.
type Proxy interface {
	Do(ctx context.Context, call proxy.Call) (*proxy.Response, error)
}

// Operations continues operations that were begun elsewhere.
type Operations interface {
	Resume(ctx context.Context, environmentID int64, id string) (*oplog.Operation, error)
}

// proxyRoutes takes every method. Any Content-Type is welcome.
func (s *Server) proxyRoutes() {
	for _, pattern := range []string{"/proxy", "/proxy/*"} {
		s.router.handle("", pattern, func(w http.ResponseWriter, r *request) error {
			if err := s.authenticate(r, access{"environment:proxy"}); err != nil {
				return err
			}
			return s.proxy(w, r)
		})
	}
}

// operationHeader tells the app where in the logs a call is found.
const operationHeader = "X-Patchbay-Operation-Id"

func (s *Server) proxy(w http.ResponseWriter, r *request) error {
	call, err := s.readCall(r)
	if err != nil {
		return err
	}
	operation := ""
	call.Begun = func(id string) {
		operation = id
		w.Header().Set(operationHeader, id)
	}
	if call.Operation != nil {
		defer call.Operation.Flush(r.Context())
		call.Begun(call.Operation.ID())
	}
	if r.ContentLength != 0 {
		// A third party may answer while it still reads. HTTP/2 always can; HTTP/1 has to be told.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	res, err := s.opts.Proxy.Do(r.Context(), call)
	var network *proxy.NetworkError
	switch {
	case errors.As(err, &network):
		return writeNetworkError(w, network, r.Method)
	case err != nil && r.Context().Err() != nil:
		return nil // the client is gone, nobody reads an answer
	case err != nil:
		return err
	}
	defer res.Body.Close()
	maps.Copy(w.Header(), res.Header)
	w.Header().Set(operationHeader, operation) // the third party may be a Patchbay too
	w.WriteHeader(res.Status)
	if err := stream(w, res); err != nil {
		panic(http.ErrAbortHandler) // the status is out: only a broken connection tells that the body is not whole
	}
	return nil
}

var (
	statusList    = input.Text{Pattern: regexp.MustCompile(`^\d+(,\d+)*$`)}
	operationName = input.Text{Max: 255}
)

// readCall reads a call out of its headers.
func (s *Server) readCall(r *request) (proxy.Call, error) {
	h := input.Headers(r.Header, "Provider-Config-Key", "Connection-Id", "Retries", "Retry-On", "Base-Url-Override", "Decompress",
		"Forward-Headers-On-Redirect", "Nango-Activity-Log-Id", "Nango-Is-Sync", "Nango-Is-Dry-Run")
	call := proxy.Call{
		Environment: r.principal.Environment,
		Ref: proxy.Ref{
			IntegrationKey: h.String("provider-config-key", input.IntegrationKey),
			ConnectionID:   h.String("connection-id", input.ConnectionID),
		},
		Method: r.Method, Path: proxiedPath(r.Request), BaseURL: baseURLOverride(h), Header: forwardedHeaders(r.Header),
		Body: r.Body, ContentLength: r.ContentLength, ContentType: r.Header.Get("Content-Type"),
		AcceptEncoding: strings.Join(r.Header["Accept-Encoding"], ", "), Decompress: flag(h, "decompress"),
		ForwardHeadersOnRedirect: flag(h, "forward-headers-on-redirect"), Retries: h.Int("retries", 0, 0, 1<<31),
	}
	for status := range strings.SplitSeq(h.String("retry-on", statusList), ",") {
		if n, err := strconv.Atoi(status); err == nil {
			call.RetryOn = append(call.RetryOn, n)
		}
	}
	flag(h, "nango-is-sync")
	flag(h, "nango-is-dry-run")
	id := h.String("nango-activity-log-id", operationName)
	if err := h.Err("invalid_headers"); err != nil {
		return proxy.Call{}, err
	}
	if id != "" {
		// One that is not known any more is no reason to refuse the call: it gets an operation of its own.
		if op, err := s.opts.Operations.Resume(r.Context(), r.env(), id); err == nil {
			call.Operation = op
			return call, nil
		}
	}
	call.Inbound = &oplog.HTTPRequest{URL: s.opts.PublicURL + r.RequestURI, Method: r.Method, Headers: loggedHeaders(r.Header)}
	return call, nil
}

// flag reads a header that is true, false or absent.
func flag(h *input.Reader, name string) *bool {
	switch h.OneOf(name, "true", "false") {
	case "true":
		return new(true)
	case "false":
		return new(false)
	}
	return nil
}

func baseURLOverride(h *input.Reader) string {
	const name = "base-url-override"
	raw := h.String(name, input.Text{Max: 2048})
	if raw == "" {
		return ""
	}
	// A placeholder may stand where a URL has none; the address is parsed when it is filled in.
	if u, err := url.Parse(strings.NewReplacer("${", "", "}", "").Replace(raw)); err != nil || u.Scheme == "" || u.Host == "" {
		h.Issue("invalid_format", "Invalid URL", name)
		return ""
	}
	return raw
}

// proxiedPath is what follows /proxy, byte for byte: parsing and printing a URL changes escapes.
func proxiedPath(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") { // absolute form, as for a forward proxy
		if target = r.URL.EscapedPath(); r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
	}
	return target[len("/proxy"):]
}

// forwardPrefixes mark the headers that go to the third party, without the prefix. Headers without it are for us.
var forwardPrefixes = []string{"Nango-Proxy-", "Patchbay-Proxy-"}

func forwardedHeaders(h http.Header) http.Header {
	forwarded := http.Header{}
	for name, values := range h {
		for _, prefix := range forwardPrefixes {
			if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
				forwarded[http.CanonicalHeaderKey(rest)] = values
			}
		}
	}
	return forwarded
}

func loggedHeaders(h http.Header) map[string]string {
	all := make(map[string]string, len(h))
	for name, values := range h {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return all
}

// writeNetworkError answers for a third party that did not: without the usual envelope, so that it can't be mistaken for an
// error of ours.
func writeNetworkError(w http.ResponseWriter, e *proxy.NetworkError, method string) error {
	body, err := json.Marshal(struct {
		Message string `json:"message"`
		Code    string `json:"code,omitempty"`
		Method  string `json:"method"`
	}{e.Message, e.Code, strings.ToLower(method)})
	if err != nil {
		return err
	}
	writeRaw(w, http.StatusInternalServerError, body)
	return nil
}

// copySize is how much of a body is in memory per call.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// stream copies an answer as it arrives: what was read is sent on before more is waited for.
func stream(w http.ResponseWriter, res *proxy.Response) error {
	buffer := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buffer)
	control := http.NewResponseController(w)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") { // the first event may be long in coming
		if err := control.Flush(); err != nil {
			return err
		}
	}
	var sent int64
	for {
		n, err := res.Body.Read(buffer[:])
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if sent += int64(n); err == nil && sent != res.ContentLength {
				if err := control.Flush(); err != nil {
					return err
				}
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
