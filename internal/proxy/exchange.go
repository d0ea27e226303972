package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// exchange is one call on its way.
type exchange struct {
	*Service

	call *Call
	op   *oplog.Operation
	// own is set when the operation was begun here and ends with the call.
	own bool

	integration *integration.Integration
	entry       *provider.Provider
	rules       *provider.Proxy
	// holder is the integration that conn belongs to; it differs from integration when the call takes other credentials.
	holder  *integration.Integration
	conn    *connection.Connection
	secrets []secret.Text

	body *payload
	// retries is how many are allowed, used how many were made, waited how long they were waited for.
	retries, used int
	waited        time.Duration
	unauthorized  bool
	// renewed is set once a refresh was forced, current while its outcome has not been sent yet.
	renewed, current bool
}

// Do sends a call and gives the answer of the third party, whatever its status. An error is an *errs.Error (the call was refused,
// by us or for want of good credentials), a *NetworkError (no answer), the error of ctx, or an internal fault.
func (s *Service) Do(ctx context.Context, call Call) (*Response, error) {
	e := &exchange{Service: s, call: &call, op: call.Operation, own: call.Operation == nil, retries: min(max(call.Retries, 0), maxRetries)}
	call.Method = strings.ToUpper(call.Method)
	res, err := e.run(ctx)
	if err != nil {
		e.fail(ctx, err)
		return nil, err
	}
	return res, nil
}

func (e *exchange) run(ctx context.Context) (*Response, error) {
	if err := e.resolve(ctx); err != nil {
		return nil, err
	}
	e.begin(ctx)
	var err error
	if e.body, err = newPayload(e.call, e.rules); err != nil {
		return nil, err
	}
	if err := e.freshen(ctx); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		sent, err := e.send(ctx, attempt)
		if err != nil {
			return nil, err
		}
		wait, again := e.next(ctx, sent)
		if !again {
			return e.answer(ctx, sent)
		}
		e.discard(ctx, sent)
		if wait > 0 {
			if err := e.opts.Sleep(ctx, wait); err != nil {
				return nil, err
			}
			e.waited += wait
		}
		if err := e.reload(ctx); err != nil {
			return nil, err
		}
	}
}

// resolve finds what the call names, in the order of the wire contract.
func (e *exchange) resolve(ctx context.Context) error {
	if err := e.checkOverride(); err != nil {
		return err
	}
	call := e.call
	var err error
	if e.integration, err = e.opts.Integrations.Get(ctx, call.Environment.ID, call.IntegrationKey); err != nil {
		return noIntegration(err, call.Ref)
	}
	var ok bool
	if e.entry, ok = e.opts.Catalog.Get(e.integration.Provider); !ok {
		return bad("unknown_provider", "The provider %q of this integration is not in the catalog", e.integration.Provider)
	}
	e.rules, e.holder = e.placed.rules(e.integration, e.entry), e.integration
	ref := call.Ref
	if call.Credentials != nil && *call.Credentials != ref {
		ref = *call.Credentials
		if e.holder, err = e.opts.Integrations.Get(ctx, call.Environment.ID, ref.IntegrationKey); err != nil {
			return noIntegration(err, ref)
		}
	}
	if e.conn, err = e.opts.Connections.Get(ctx, e.holder, ref.ConnectionID); err != nil {
		return noConnection(err, ref)
	}
	switch e.conn.Credentials.Mode() {
	case provider.OAuth1, provider.TBA, provider.AWSSigV4:
		return bad("unsupported_auth", "Requests of the mode %s have to be signed, which the proxy does not do", e.conn.Credentials.Mode())
	default:
	}
	if call.Path == "" && call.BaseURL == "" {
		return bad("missing_api_url", "The request has neither a path nor a base URL")
	}
	return nil
}

// checkOverride judges the caller's base URL as far as that is possible without DNS. One with placeholders is judged when it is
// dialled, like every other address.
func (e *exchange) checkOverride() error {
	if e.call.BaseURL == "" {
		return nil
	}
	if e.opts.ForbidOverride {
		return bad("base_url_override_disabled", "The operator of this server does not allow a base-url-override")
	}
	if strings.Contains(e.call.BaseURL, "${") {
		return nil
	}
	var denied *egress.DeniedError
	if _, err := e.opts.Door.CheckURL(e.call.BaseURL); errors.As(err, &denied) {
		return notAllowed(denied)
	}
	return nil
}

// freshen makes the credentials fresh and the operation blind to them.
func (e *exchange) freshen(ctx context.Context) error {
	fresh, err := e.opts.Fresh.Ensure(ctx, e.holder, e.conn, false)
	if err != nil {
		return refreshFailed(err)
	}
	if fresh != e.conn {
		e.conn = fresh
		e.hide()
	}
	e.opts.Connections.Touch(e.conn)
	return nil
}

// reload reads the connection again for another attempt: time has passed, and somebody may have reconnected.
func (e *exchange) reload(ctx context.Context) error {
	if e.current {
		e.current = false
		return nil
	}
	next, err := e.opts.Connections.Get(ctx, e.holder, e.conn.ConnectionID)
	if err != nil {
		return noConnection(err, Ref{e.holder.Key, e.conn.ConnectionID})
	}
	e.conn = next
	e.hide()
	return e.freshen(ctx)
}

// sent is one attempt: an answer, or a network fault.
type sent struct {
	watch   *watch
	request *http.Request
	res     *http.Response
	fault   *NetworkError
	started time.Time
	ended   time.Time
	retry   oplog.Retry
	// logged are the headers of the answer for the log, head the beginning of its body if it is an error.
	logged map[string]string
	head   []byte
}

// send makes one attempt. What is not worth another one is an error.
func (e *exchange) send(ctx context.Context, attempt int) (*sent, error) {
	build, body, err := e.build()
	if err != nil {
		return nil, err
	}
	target, err := build.URL()
	if err != nil {
		return nil, buildFailed(err)
	}
	set, err := build.Headers(target.URL)
	if err != nil {
		return nil, buildFailed(err)
	}
	if attempt == 0 {
		e.noteMissing(ctx, target.Missing, set.Missing)
	}
	s := &sent{started: e.opts.Now(), retry: oplog.Retry{Attempt: attempt, Max: e.retries, WaitedMs: e.waited.Milliseconds()}}
	ctx, s.watch = newWatch(ctx, e.opts.Idle)
	if s.request, err = e.request(ctx, target.URL, set.Header, body, s.watch); err != nil {
		s.watch.stop()
		return nil, err
	}
	s.res, err = e.client().Do(s.request) //nolint:bodyclose // the answer's owner closes it: discard, or the caller
	s.ended = e.opts.Now()
	if err == nil {
		s.watch.touch()
		e.unauthorized = e.unauthorized || s.res.StatusCode == http.StatusUnauthorized
		return s, nil
	}
	failure := exchangeFailed(ctx, err)
	s.watch.stop()
	if errors.As(failure, &s.fault) {
		return s, nil
	}
	e.record(ctx, s, failure)
	return nil, failure
}

// build gathers what the request is made of. It is done for each attempt, because credentials may change between two.
func (e *exchange) build() (*proxyrequest.Request, *payload, error) {
	call, c, secrets := e.call, e.conn, &e.integration.Secrets
	from := &proxyrequest.Connection{
		Mode: c.Credentials.Mode(), Credentials: c.Credentials.Values(), Config: object(c.Config), Tags: c.Tags,
		ID: c.ConnectionID, ProviderConfigKey: e.holder.Key, EnvironmentID: environmentID(call),
		IntegrationConfig: secrets.Config, ClientID: secrets.ClientID, ClientSecret: secrets.ClientSecret,
	}
	// Metadata may be large, and few read it.
	if strings.Contains(call.Path, "${") || strings.Contains(call.BaseURL, "${") || strings.Contains(e.rules.BaseURL.String(), "metadata") {
		from.Metadata = object(c.Metadata)
	}
	request := &proxyrequest.Request{
		Proxy: e.rules, Connection: from, Method: call.Method, Path: call.Path, BaseURL: call.BaseURL, Header: forwarded(call.Header),
		ContentType: e.body.contentType, Now: e.opts.Now(), Random: uuid.NewString(),
	}
	body := e.body
	if !e.rules.Body.IsZero() && body.loaded {
		fields, _ := request.BodyFields()
		var err error
		if body, err = body.merge(fields); err != nil {
			return nil, nil, err
		}
		request.ContentType = body.contentType
	}
	request.Body = body.memory
	return request, body, nil
}

// defaultAccept is what HTTP clients of JSON APIs send, and what some APIs insist on.
const defaultAccept = "application/json, text/plain, */*"

// request makes the request out of its parts.
func (e *exchange) request(ctx context.Context, u *url.URL, h http.Header, body *payload, w *watch) (*http.Request, error) {
	if h.Get("Accept") == "" {
		h.Set("Accept", defaultAccept)
	}
	askEncoding(h, e.call.AcceptEncoding, e.decompress())
	if body.contentType == "" {
		h.Del("Content-Type")
	} else {
		h.Set("Content-Type", body.contentType)
	}
	r := &http.Request{Method: e.call.Method, URL: u, Host: u.Host, Header: h, ContentLength: body.length}
	var err error
	if r.Body, err = body.open(w.touch); err != nil {
		return nil, &NetworkError{Message: "the body could not be read", cause: err}
	}
	if body.length != 0 {
		r.GetBody = func() (io.ReadCloser, error) { return body.open(w.touch) }
	}
	return r.WithContext(ctx), nil
}

func (e *exchange) decompress() bool {
	if e.call.Decompress != nil {
		return *e.call.Decompress
	}
	return e.rules.Decompress
}

func (e *exchange) client() doer {
	forward := e.rules.ForwardHeadersOnRedirect
	if e.call.ForwardHeadersOnRedirect != nil {
		forward = *e.call.ForwardHeadersOnRedirect
	}
	if forward {
		return e.forwarding
	}
	return e.plain
}

// forwarded is what of the caller's headers goes to the third party. The length is that of the body, whatever the caller says.
func forwarded(h http.Header) http.Header {
	if !slices.ContainsFunc(hopByHop, func(name string) bool { return h[name] != nil }) && h["Host"] == nil && h["Content-Length"] == nil {
		return h
	}
	h = h.Clone()
	dropHopByHop(h)
	delete(h, "Host")
	delete(h, "Content-Length")
	return h
}

// next decides whether there is another attempt, and how long to wait before it.
func (e *exchange) next(ctx context.Context, s *sent) (time.Duration, bool) {
	if !e.body.repeatable() {
		return 0, false
	}
	if s.fault == nil && s.res.StatusCode == http.StatusUnauthorized && e.renew(ctx) {
		return 0, true
	}
	if e.used >= e.retries {
		return 0, false
	}
	wait, again := e.plan(s)
	if !again || !e.fits(ctx, wait) {
		return 0, false
	}
	e.used++
	return wait, true
}

// plan reports whether the attempt failed in a way that another one may mend, and how long to wait for it.
func (e *exchange) plan(s *sent) (time.Duration, bool) {
	plan := retryPlan{rules: e.rules.Retry, on: e.call.RetryOn}
	switch {
	case s.fault != nil && !slices.Contains(retryable, s.fault.Code), s.fault == nil && !plan.failed(s.res):
		return 0, false
	case s.fault == nil:
		if wait, told := plan.told(s.res, e.opts.Now()); told {
			return wait, true
		}
	}
	return backoff(e.used, e.opts.Jitter()), true
}

// fits reports whether there is time for a wait. Coming back earlier than told would only fail again.
func (e *exchange) fits(ctx context.Context, wait time.Duration) bool {
	limit := e.call.MaxWait
	if limit == 0 {
		limit = defaultMaxWait
	}
	deadline, limited := ctx.Deadline()
	if wait > maxHinted || e.waited+wait > limit || limited && deadline.Sub(e.opts.Now()) <= wait {
		e.op.Log(ctx, oplog.Warn, "Not retried: a wait of "+wait.Round(time.Millisecond).String()+" is more than this call has left")
		return false
	}
	return true
}

// renew answers a 401 by one forced refresh, and reports whether it gave other credentials. When the caller sent an
// authorization of its own, ours were not refused.
func (e *exchange) renew(ctx context.Context) bool {
	if e.renewed || e.call.Header.Get("Authorization") != "" || !e.forced.allow(e.conn.ID, e.opts.Now()) {
		return false
	}
	e.renewed = true
	fresh, err := e.opts.Fresh.Ensure(ctx, e.holder, e.conn, true)
	if err != nil {
		e.op.Log(ctx, oplog.Warn, "The third party refused the credentials, and they could not be refreshed: "+shown(err))
		return false
	}
	if fresh.Version == e.conn.Version {
		return false
	}
	e.conn, e.current = fresh, true
	e.hide()
	e.op.Log(ctx, oplog.Info, "The third party refused the credentials. They were refreshed, the request is sent again")
	return true
}
