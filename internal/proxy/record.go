package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider/proxyrequest"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// begin begins the operation with what is known by now, unless there is one.
func (e *exchange) begin(ctx context.Context) {
	if e.op == nil {
		env := &e.call.Environment
		r := oplog.Record{
			Kind: oplog.ProxyCall, AccountID: env.AccountID, EnvironmentID: env.ID, EnvironmentName: env.Name,
			IntegrationName: e.call.IntegrationKey, ConnectionName: e.call.ConnectionID,
		}
		if e.integration != nil {
			r.IntegrationID, r.ProviderName = e.integration.ID, e.integration.Provider
		}
		if e.conn != nil {
			r.ConnectionID = e.conn.ID
		}
		e.op = e.opts.Operations.Begin(ctx, r)
		if e.call.Begun != nil {
			e.call.Begun(e.op.ID())
		}
	}
	e.hide()
}

// hide makes the operation blind to every secret that may turn up in it.
func (e *exchange) hide() {
	if e.conn == nil {
		return
	}
	own := &e.integration.Secrets
	secrets := append(e.conn.Credentials.Secrets(), own.ClientSecret, own.PrivateKey, own.WebhookSecret)
	for name, value := range own.Config {
		if e.entry.IntegrationConfig[name].Secret {
			secrets = append(secrets, secret.New(value))
		}
	}
	for name, field := range e.entry.ConnectionConfig {
		if !field.Secret {
			continue
		}
		if value, ok := object(e.conn.Config)[name].(string); ok {
			secrets = append(secrets, secret.New(value))
		}
	}
	e.secrets = slices.DeleteFunc(secrets, secret.Text.IsEmpty)
	e.op.Hide(e.secrets...)
}

// noteMissing tells once what the catalog wanted to send and could not, which explains many a 401.
func (e *exchange) noteMissing(ctx context.Context, lists ...[]proxyrequest.Missing) {
	for _, list := range lists {
		for _, m := range list {
			e.op.Log(ctx, oplog.Warn, m.Place+" has no value for "+strings.Join(m.Names, ", "))
		}
	}
}

// record adds the message of one attempt.
func (e *exchange) record(ctx context.Context, s *sent, failure error) {
	m := oplog.Message{
		Context: "proxy", CreatedAt: s.started, EndedAt: &s.ended, Retry: &s.retry,
		Request: &oplog.HTTPRequest{URL: s.request.URL.String(), Method: s.request.Method, Headers: flat(s.request.Header)},
	}
	if s.res != nil {
		m.Response = &oplog.HTTPResponse{Code: s.res.StatusCode, Headers: s.logged, Body: loggedBody(s.head)}
	}
	if failure != nil {
		m.Error = asFailure(failure)
	}
	e.op.Append(ctx, m)
}

// flat writes headers as the log has them.
func flat(h http.Header) map[string]string {
	all := make(map[string]string, len(h))
	for name, values := range h {
		if len(values) == 1 {
			all[strings.ToLower(name)] = values[0]
		} else {
			all[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	return all
}

// maxLoggedBody is how much of an error's body is logged: the reason stands at the beginning.
const maxLoggedBody = 16 << 10

func loggedBody(head []byte) string {
	if len(head) == maxLoggedBody {
		for range utf8.UTFMax - 1 { // the cut may have gone through a character
			if utf8.Valid(head) {
				break
			}
			head = head[:len(head)-1]
		}
	}
	if !utf8.Valid(head) {
		return ""
	}
	return string(head)
}

// asFailure words an error for the log of users.
func asFailure(err error) *oplog.Failure {
	var known *errs.Error
	var network *NetworkError
	switch {
	case errors.As(err, &known):
		return &oplog.Failure{Name: known.Code, Message: known.Message, Type: known.Code}
	case errors.As(err, &network):
		return &oplog.Failure{Name: "NetworkError", Message: network.Message, Type: network.Code}
	}
	return &oplog.Failure{Name: "server_error", Message: "An internal fault of this server", Type: "server_error"}
}

// shown is the part of an error that users may see.
func shown(err error) string { return asFailure(err).Message }

// fail ends a call that has no answer.
func (e *exchange) fail(ctx context.Context, err error) {
	e.begin(ctx)
	if !e.own {
		return
	}
	e.op.Change(ctx, func(r *oplog.Record) { r.Request = e.call.Inbound })
	if ctx.Err() != nil {
		e.op.Cancel(ctx)
		return
	}
	e.op.Fail(ctx, *asFailure(err))
}

// maxDrained is how much of an answer is read so that its connection can be used again; more costs more than a new one.
const maxDrained = 64 << 10

// discard ends an attempt that is followed by another.
func (e *exchange) discard(ctx context.Context, s *sent) {
	if s.fault != nil {
		e.record(ctx, s, s.fault)
		return
	}
	s.logged = flat(s.res.Header)
	decode(s.res, e.call.Method, true)
	s.head, _ = io.ReadAll(io.LimitReader(s.res.Body, maxLoggedBody)) // what of it arrives is for the log only
	_, _ = io.CopyN(io.Discard, s.res.Body, maxDrained)
	s.res.Body.Close()
	s.watch.stop()
	e.record(ctx, s, nil)
}

// answer hands the last attempt over.
func (e *exchange) answer(ctx context.Context, s *sent) (*Response, error) {
	if s.fault != nil {
		e.record(ctx, s, s.fault)
		return nil, s.fault
	}
	s.logged = flat(s.res.Header)
	decode(s.res, e.call.Method, e.decompress(), e.call.AcceptEncoding, e.call.Header.Get("Accept-Encoding"))
	return &Response{
		Status: s.res.StatusCode, Header: passedOn(s.res.Header), ContentLength: s.res.ContentLength, Unauthorized: e.unauthorized,
		Body: &answered{exchange: e, ctx: ctx, sent: s}, url: s.res.Request.URL, secrets: e.secrets,
	}, nil
}

// answered is the body of an answer on its way to the caller. Closing it ends the operation.
type answered struct {
	exchange *exchange
	ctx      context.Context
	sent     *sent
	broken   error
	closing  sync.Once
}

func (a *answered) Read(p []byte) (int, error) {
	n, err := a.sent.res.Body.Read(p)
	a.sent.watch.touch()
	if a.sent.res.StatusCode >= http.StatusBadRequest && len(a.sent.head) < maxLoggedBody {
		a.sent.head = append(a.sent.head, p[:min(n, maxLoggedBody-len(a.sent.head))]...)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = exchangeFailed(a.sent.request.Context(), err)
		a.broken = err
	}
	return n, err
}

// Close ends the exchange. It may be called twice.
func (a *answered) Close() error {
	a.closing.Do(a.end)
	return nil
}

func (a *answered) end() {
	e, s, ctx := a.exchange, a.sent, a.ctx
	s.res.Body.Close()
	s.watch.stop()
	s.ended = e.opts.Now()
	e.record(ctx, s, a.broken)
	if !e.own {
		return
	}
	e.op.Change(ctx, func(r *oplog.Record) {
		r.Request, r.Response = e.call.Inbound, &oplog.HTTPResponse{Code: s.res.StatusCode, Headers: s.logged}
	})
	switch {
	case ctx.Err() != nil:
		e.op.Cancel(ctx)
	case a.broken != nil:
		e.op.Fail(ctx, *asFailure(a.broken))
	case s.res.StatusCode >= http.StatusBadRequest:
		message := "The third party answered " + strconv.Itoa(s.res.StatusCode)
		e.op.Fail(ctx, oplog.Failure{Name: "upstream_error", Message: message, Type: "upstream_error"})
	default:
		e.op.Success(ctx)
	}
}

// object reads a JSON object for templates; what is none is empty.
func object(raw json.RawMessage) map[string]any {
	var v map[string]any
	if len(raw) > 2 && json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return v
}

func environmentID(call *Call) string { return strconv.FormatInt(call.Environment.ID, 10) }
