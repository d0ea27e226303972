package outbound

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound/canonical"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Succeeded State = "success"
	Failed    State = "failed"
)

// Delivery is one event for one endpoint.
type Delivery struct {
	// ID is the same over all attempts, EventID over all endpoints of an event. Both are UUIDs.
	ID, EventID   string
	EnvironmentID int64
	// ConnectionID is the internal id; ConnectionName and Integration are what people know.
	ConnectionID   int64
	ConnectionName string
	Integration    string
	Type           string
	URL            string
	// Body is what is signed and sent, byte for byte.
	Body []byte
	// OperationID is the log operation of the event.
	OperationID string
	State       State
	// Attempts is how many have been begun.
	Attempts           int
	CreatedAt, EndedAt time.Time
}

// Attempt is one try of a delivery.
type Attempt struct {
	DeliveryID string
	// Number counts from 1.
	Number    int
	StartedAt time.Time
	Duration  time.Duration
	// Status is 0 when there was no answer; Error then says why.
	Status  int
	Headers map[string]string
	// Body is the first KeptBody bytes of the answer.
	Body  []byte
	Error string
}

// KeptBody is how much of an answer is kept with its attempt.
const KeptBody = 64 << 10

// Plan is how long to wait before each further attempt.
type Plan []time.Duration

// DefaultPlan repeats twice: after 100 ms and, doubling, after 200 ms.
var DefaultPlan = Plan{100 * time.Millisecond, 200 * time.Millisecond} //nolint:gochecknoglobals // a constant that Go has no syntax for

// Filter narrows a list of deliveries. Empty fields don't.
type Filter struct {
	State      State
	Type       string
	Connection string
	Before     time.Time
	Limit      int
}

// Store keeps deliveries and attempts. Every method joins the transaction of its context.
type Store interface {
	Tx
	DeliveryStore
	AttemptStore
}

// Tx runs closures in a transaction, and others when it is committed.
type Tx interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
	AfterCommit(ctx context.Context, fn func())
}

// DeliveryStore keeps deliveries.
type DeliveryStore interface {
	InsertDelivery(ctx context.Context, d Delivery) error
	// Delivery gives ErrNotFound for one that does not exist.
	Delivery(ctx context.Context, id string) (Delivery, error)
	// EndDelivery stores the final state and reports how many deliveries of the event are pending or failed then.
	EndDelivery(ctx context.Context, d Delivery, state State, now time.Time) (pending, failed int, err error)
	Deliveries(ctx context.Context, environmentID int64, f Filter) ([]Delivery, error)
	// Reopen makes a delivery of the environment pending again, with no attempts counted.
	Reopen(ctx context.Context, environmentID int64, id string) (Delivery, error)
	// DropDeliveries removes up to limit deliveries that ended before a time, with their attempts, and counts them.
	DropDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
}

// AttemptStore keeps the attempts of deliveries.
type AttemptStore interface {
	// BeginAttempt raises Attempts to number if it is number-1, and reports whether it was.
	BeginAttempt(ctx context.Context, id string, number int) (bool, error)
	InsertAttempt(ctx context.Context, a Attempt) error
	Attempts(ctx context.Context, environmentID int64, deliveryID string) ([]Attempt, error)
}

// Settings gives what an environment is set to.
type Settings interface {
	Settings(ctx context.Context, environmentID int64) (tenant.Settings, error)
}

// Jobs inserts jobs.
type Jobs interface {
	Insert(ctx context.Context, args queue.Args, opts queue.InsertOpts) (queue.JobID, error)
}

// Doer sends a request.
type Doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// Options of New. Store, Settings, Jobs, Log and Client are required.
type Options struct {
	Store    Store
	Settings Settings
	Jobs     Jobs
	Log      *oplog.Log
	// Client must go through egress, not follow redirects, and time out after 20 s.
	Client Doer
	// Version is told to receivers in the User-Agent.
	Version string
	Plan    Plan
	Now     func() time.Time
	// Sleep waits between attempts that are close together; nil waits in real time.
	Sleep  func(ctx context.Context, d time.Duration) error
	Logger *slog.Logger
}

// Timeout is how long a receiver may take to answer.
const Timeout = 20 * time.Second

// Service sends webhooks to the app.
type Service struct{ opts Options }

// New makes a Service. Its jobs are worked off by the worker that Register adds.
func New(opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Plan == nil {
		opts.Plan = DefaultPlan
	}
	if opts.Sleep == nil {
		opts.Sleep = lifecycle.Sleep
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Service{opts}
}

// SendAuth announces what happened to a connection. The switch for creations also covers failed ones; overrides are always sent.
func (s *Service) SendAuth(ctx context.Context, e AuthEvent) error {
	settings, err := s.opts.Settings.Settings(ctx, e.EnvironmentID)
	if err != nil {
		return fmt.Errorf("settings of environment %d: %w", e.EnvironmentID, err)
	}
	wanted := true
	switch e.Operation {
	case Creation:
		wanted = settings.Notifications.OnAuthCreation
	case Refresh:
		wanted = settings.Notifications.OnAuthRefreshError
	case Override:
	}
	if !wanted {
		return nil
	}
	return s.send(ctx, settings, e.event(settings.Environment.Name))
}

// SendSync announces the end of a sync run: one webhook per model, or one for all if it failed.
func (s *Service) SendSync(ctx context.Context, e SyncEvent) error {
	settings, err := s.opts.Settings.Settings(ctx, e.EnvironmentID)
	if err != nil {
		return fmt.Errorf("settings of environment %d: %w", e.EnvironmentID, err)
	}
	if e.Failure != nil {
		if !settings.Notifications.OnSyncError {
			return nil
		}
		names := make([]string, len(e.Models))
		for i, m := range e.Models {
			names[i] = m.Model
		}
		return s.send(ctx, settings, e.failure(settings.Environment.Name, strings.Join(names, ",")))
	}
	for _, m := range e.Models {
		if m.empty() && !settings.Notifications.OnSyncCompletionAlways {
			continue
		}
		if err := s.send(ctx, settings, e.success(settings.Environment.Name, m)); err != nil {
			return err
		}
	}
	return nil
}

// Queue is the queue that deliveries wait in, and perEndpoint how many of one endpoint are on their way at once: a slow one fills
// its own share only.
const (
	Queue       = "outbound"
	perEndpoint = 8
)

func endpoints(settings tenant.Settings, override string) []string {
	if override != "" {
		return []string{override}
	}
	var urls []string
	for _, url := range []string{settings.PrimaryURL, settings.SecondaryURL} {
		if url != "" && (len(urls) == 0 || urls[0] != url) {
			urls = append(urls, url)
		}
	}
	return urls
}

func (s *Service) send(ctx context.Context, settings tenant.Settings, e event) error {
	urls := endpoints(settings, e.URLOverride)
	if len(urls) == 0 {
		return nil
	}
	body, err := canonical.Marshal(e.body)
	if err != nil {
		return fmt.Errorf("body of a webhook: %w", err)
	}
	now := s.opts.Now().UTC()
	eventID, operationID := uuid.NewString(), oplog.NewID(now)
	return s.opts.Store.Write(ctx, func(ctx context.Context) error {
		for _, url := range urls {
			d := Delivery{
				ID: uuid.NewString(), EventID: eventID, EnvironmentID: e.EnvironmentID, ConnectionID: e.ID, ConnectionName: e.ConnectionID,
				Integration: e.IntegrationKey, Type: fmt.Sprint(e.body["type"]), URL: url, Body: body, OperationID: operationID, State: Pending, CreatedAt: now,
			}
			if err := s.opts.Store.InsertDelivery(ctx, d); err != nil {
				return fmt.Errorf("store a delivery: %w", err)
			}
			if err := s.enqueue(ctx, d); err != nil {
				return err
			}
		}
		s.opts.Store.AfterCommit(ctx, func() { s.opts.Log.Begin(ctx, s.operation(e, settings, operationID, now)) })
		return nil
	})
}

func (s *Service) enqueue(ctx context.Context, d Delivery) error {
	_, err := s.opts.Jobs.Insert(ctx, deliverArgs{d.ID}, queue.InsertOpts{
		Queue: Queue, Tenant: d.EnvironmentID, Key: fmt.Sprintf("endpoint:%d:%s", d.EnvironmentID, d.URL), KeyLimit: perEndpoint,
	})
	if err != nil {
		return fmt.Errorf("enqueue a delivery: %w", err)
	}
	return nil
}

func (s *Service) operation(e event, settings tenant.Settings, id string, now time.Time) oplog.Record {
	r := oplog.Record{
		ID: id, CreatedAt: now, Kind: e.kind,
		EnvironmentID: e.EnvironmentID, EnvironmentName: settings.Environment.Name, AccountID: settings.Environment.AccountID,
		ProviderName: e.Provider, IntegrationName: e.IntegrationKey, ConnectionID: e.ID, ConnectionName: e.ConnectionID, FunctionName: e.function,
	}
	if e.meta != nil {
		if meta, err := json.Marshal(e.meta); err == nil {
			r.Meta = meta
		}
	}
	return r
}

// Deliveries lists an environment's deliveries, newest first.
func (s *Service) Deliveries(ctx context.Context, environmentID int64, f Filter) ([]Delivery, error) {
	return s.opts.Store.Deliveries(ctx, environmentID, f)
}

// Attempts lists the attempts of a delivery in order.
func (s *Service) Attempts(ctx context.Context, environmentID int64, deliveryID string) ([]Attempt, error) {
	return s.opts.Store.Attempts(ctx, environmentID, deliveryID)
}

// Replay delivers once more what was delivered or given up, under the same ids and with the same bytes.
func (s *Service) Replay(ctx context.Context, environmentID int64, deliveryID string) error {
	return s.opts.Store.Write(ctx, func(ctx context.Context) error {
		d, err := s.opts.Store.Reopen(ctx, environmentID, deliveryID)
		if err != nil {
			return err
		}
		return s.enqueue(ctx, d)
	})
}

// dropBatch is how many deliveries one transaction drops: few enough not to hold the writer.
const dropBatch = 500

// Drop removes deliveries that ended before a time.
func (s *Service) Drop(ctx context.Context, before time.Time) error {
	for {
		n, err := s.opts.Store.DropDeliveries(ctx, before, dropBatch)
		if err != nil || n < dropBatch {
			return err
		}
	}
}

// Stored implements connection.Hooks.
func (s *Service) Stored(ctx context.Context, c *connection.Connection, operation connection.Operation) error {
	return s.SendAuth(ctx, AuthEvent{
		Target: TargetOf(c), Operation: AuthOperation(operation), AuthMode: string(c.Credentials.Mode()), Tags: c.Tags,
	})
}

// Deleted implements connection.Hooks: there is no webhook for it.
func (s *Service) Deleted(context.Context, *connection.Connection) error { return nil }

// TargetOf is the connection as events name it.
func TargetOf(c *connection.Connection) Target {
	return Target{
		EnvironmentID: c.EnvironmentID, ID: c.ID, ConnectionID: c.ConnectionID, IntegrationKey: c.IntegrationKey, Provider: c.Provider,
		URLOverride: c.WebhookURLOverride,
	}
}

// Failed implements refresh.Observer: one webhook when a connection begins to fail, and one when it is lost for good.
func (s *Service) Failed(ctx context.Context, c *connection.Connection, code, message string, _ bool) error {
	return s.SendAuth(ctx, AuthEvent{
		Target: TargetOf(c), Operation: Refresh, AuthMode: string(c.Credentials.Mode()), Tags: c.Tags, Failure: &Failure{Type: code, Description: message},
	})
}

// Recovered implements refresh.Observer: there is no webhook for it.
func (s *Service) Recovered(context.Context, *connection.Connection) error { return nil }
