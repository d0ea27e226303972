package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/queue"
)

// ErrNotFound is for a delivery that does not exist in the environment.
var ErrNotFound = errs.NotFound("The delivery does not exist")

// deliverArgs is the job of one delivery.
type deliverArgs struct {
	DeliveryID string `json:"delivery_id"`
}

// Kind implements queue.Args.
func (deliverArgs) Kind() string { return "outbound.deliver" }

// inJob is the longest wait between attempts that the job sits out itself; longer ones it leaves to the queue.
const inJob = 2 * time.Second

// Register adds the worker of deliveries.
func (s *Service) Register(workers *queue.Workers) {
	queue.Add(workers, &deliverer{s}, queue.WorkerOpts{Timeout: 10 * time.Minute})
}

type deliverer struct{ *Service }

// Work makes the attempts of a delivery until one succeeds or the plan is used up.
func (w *deliverer) Work(ctx context.Context, job *queue.Job[deliverArgs]) error {
	d, err := w.opts.Store.Delivery(ctx, job.Args.DeliveryID)
	if errors.Is(err, ErrNotFound) {
		return nil // its environment is gone
	}
	if err != nil || d.State != Pending {
		return err
	}
	settings, err := w.opts.Settings.Settings(ctx, d.EnvironmentID)
	if err != nil {
		return err
	}
	op, err := w.opts.Log.Resume(ctx, d.EnvironmentID, d.OperationID)
	if errors.Is(err, oplog.ErrNotFound) {
		// The process ended between the commit and the beginning of the operation.
		op, err = w.opts.Log.Begin(ctx, oplog.Record{
			ID: d.OperationID, CreatedAt: d.CreatedAt, Kind: oplog.WebhookSync, EnvironmentID: d.EnvironmentID, EnvironmentName: settings.Environment.Name,
			IntegrationName: d.Integration, ConnectionID: d.ConnectionID, ConnectionName: d.ConnectionName,
		}), nil
	}
	if err != nil {
		return err
	}
	key := settings.SigningKey
	op.Hide(key)
	for number := d.Attempts + 1; number <= len(w.opts.Plan)+1; number++ {
		if number > 1 {
			wait := w.opts.Plan[number-2]
			if wait > inJob && number > d.Attempts+1 {
				return queue.Snooze(wait)
			}
			if err := w.opts.Sleep(ctx, wait); err != nil {
				return err
			}
		}
		if begun, err := w.opts.Store.BeginAttempt(ctx, d.ID, number); err != nil || !begun {
			return err // not begun: another process has taken the job over
		}
		a := Attempt{DeliveryID: d.ID, Number: number, StartedAt: w.opts.Now().UTC()}
		header := http.Header{}
		sign(header, key, d.Body)
		w.post(ctx, d, &a, header)
		if context.Cause(ctx) != nil && a.Status == 0 {
			return context.Cause(ctx) // cut off by a stop, which says nothing about the receiver
		}
		w.logAttempt(ctx, op, d, a, header)
		switch {
		case a.Status >= 200 && a.Status < 300:
			return w.end(ctx, job, op, d, a, Succeeded)
		case number > len(w.opts.Plan):
			return w.end(ctx, job, op, d, a, Failed)
		}
		if err := w.opts.Store.InsertAttempt(ctx, a); err != nil {
			return fmt.Errorf("store an attempt: %w", err)
		}
	}
	// Every attempt was begun but the last one's end was not recorded.
	return w.end(ctx, job, op, d, Attempt{}, Failed)
}

// post makes one attempt and fills in how it went.
func (w *deliverer) post(ctx context.Context, d Delivery, a *Attempt, header http.Header) {
	start := w.opts.Now()
	defer func() { a.Duration = w.opts.Now().Sub(start) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		a.Error = "the URL is not valid"
		return
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "patchbay/"+w.opts.Version)
	header.Set("Patchbay-Event-Id", d.EventID)
	header.Set("Patchbay-Delivery-Id", d.ID)
	header.Set("Patchbay-Attempt", strconv.Itoa(a.Number))
	req.Header = header
	res, err := w.opts.Client.Do(req)
	if err != nil {
		a.Error = reason(err)
		return
	}
	defer func() { _ = res.Body.Close() }() // what was wanted of it has been read
	a.Status = res.StatusCode
	a.Headers = make(map[string]string, len(res.Header))
	for name, values := range res.Header {
		a.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if a.Body, err = io.ReadAll(io.LimitReader(res.Body, KeptBody)); err != nil {
		a.Error = reason(err)
	}
}

// reason says in words that may be stored why there was no answer.
func reason(err error) string {
	var denied *egress.DeniedError
	switch {
	case errors.As(err, &denied):
		return "refused by the outbound policy: " + string(denied.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", Timeout)
	}
	if code := egress.Code(err); code != "" {
		return code + ": " + egress.NodeMessage(err)
	}
	return "the connection failed"
}

func (w *deliverer) logAttempt(ctx context.Context, op *oplog.Operation, d Delivery, a Attempt, header http.Header) {
	ended := a.StartedAt.Add(a.Duration)
	headers := make(map[string]string, len(header))
	for name := range header {
		if name != HeaderHMAC && name != HeaderLegacy {
			headers[strings.ToLower(name)] = header.Get(name)
		}
	}
	m := oplog.Message{
		Level: oplog.Info, Text: "POST " + d.URL, Context: "webhook", CreatedAt: a.StartedAt, EndedAt: &ended, DurationMs: a.Duration.Milliseconds(),
		Request: &oplog.HTTPRequest{URL: d.URL, Method: http.MethodPost, Headers: headers, Body: string(d.Body)},
		Retry:   &oplog.Retry{Attempt: a.Number - 1, Max: len(w.opts.Plan)},
	}
	if a.Status > 0 {
		m.Response = &oplog.HTTPResponse{Code: a.Status, Headers: a.Headers, Body: string(a.Body)}
	}
	if a.Status < 200 || a.Status > 299 {
		m.Level = oplog.Error
		if a.Error != "" {
			m.Error = &oplog.Failure{Name: "DeliveryError", Message: a.Error}
		}
	}
	op.Append(ctx, m)
	if m.Level == oplog.Error && a.Number <= len(w.opts.Plan) {
		op.Log(ctx, oplog.Warn, fmt.Sprintf("Retrying in %s [%d/%d]", w.opts.Plan[a.Number-1], a.Number, len(w.opts.Plan)))
	}
	op.Flush(ctx)
}

// end records the last attempt, the delivery's state and the end of the job together, and closes the operation with the last
// delivery of the event.
func (w *deliverer) end(ctx context.Context, job *queue.Job[deliverArgs], op *oplog.Operation, d Delivery, a Attempt, state State) error {
	var pending, failed int
	err := w.opts.Store.Write(ctx, func(ctx context.Context) error {
		if a.Number > 0 {
			if err := w.opts.Store.InsertAttempt(ctx, a); err != nil {
				return fmt.Errorf("store an attempt: %w", err)
			}
		}
		var err error
		if pending, failed, err = w.opts.Store.EndDelivery(ctx, d, state, w.opts.Now().UTC()); err != nil {
			return fmt.Errorf("end a delivery: %w", err)
		}
		return job.CompleteTx(ctx)
	})
	if err != nil {
		return err
	}
	switch {
	case pending > 0:
	case failed > 0:
		op.Fail(ctx, oplog.Failure{Name: "DeliveryError", Message: "The webhook was not accepted", Type: "webhook_delivery_failed"})
	default:
		op.Success(ctx)
	}
	return nil
}
