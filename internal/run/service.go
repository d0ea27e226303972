package run

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Tenants knows environments.
type Tenants interface {
	host.Variables

	Settings(ctx context.Context, environmentID int64) (tenant.Settings, error)
}

// Connections are the rules of connections.
type Connections interface {
	host.Connections

	GetByID(ctx context.Context, environmentID, id int64) (*connection.Connection, error)
	SetError(ctx context.Context, environmentID, id int64, e connection.ActiveError) (first bool, err error)
	ClearError(ctx context.Context, environmentID, id int64, errorType, source string) (cleared bool, err error)
}

// Functions finds deployed functions.
type Functions interface {
	Get(ctx context.Context, i *integration.Integration, t function.Type, name string) (*function.Function, error)
}

// Catalog finds providers.
type Catalog interface {
	Get(name string) (*provider.Provider, bool)
}

// Records is the records cache.
type Records interface {
	host.Records

	Counts(ctx context.Context, environmentID, connectionID int64) ([]record.Count, error)
	Touch(ctx context.Context, stream record.Stream) error
	DeleteModel(ctx context.Context, stream record.Stream) (deleted int, err error)
	DeleteConnection(ctx context.Context, environmentID, connectionID int64) (deleted int, err error)
}

// Checkpoints remembers where functions left off.
type Checkpoints interface {
	host.Checkpoints

	Reset(ctx context.Context, key checkpoint.Key) (int, error)
}

// Runner executes bundles.
type Runner interface {
	Run(ctx context.Context, req runner.Request, host runner.Host) (runner.Result, error)
}

// Webhooks tells the app what happened.
type Webhooks interface {
	SendSync(ctx context.Context, e outbound.SyncEvent) error
}

// Sealer seals what asynchronous actions take and give.
type Sealer interface {
	Seal(plaintext []byte, c vault.Context) ([]byte, error)
	Open(sealed []byte, c vault.Context) ([]byte, error)
}

// Options of New. All are required but PublicURL, SyncWall, ActionsAtOnce, Now and Logger.
type Options struct {
	Instances *Instances

	Tenants      Tenants
	Integrations host.Integrations
	Connections  Connections
	Functions    Functions
	Catalog      Catalog
	Fresh        host.Fresh
	Proxy        host.Proxy
	Records      Records
	Checkpoints  Checkpoints
	Runner       Runner
	Webhooks     Webhooks
	Vault        Sealer
	Log          *oplog.Log
	// Fetch sends requests that functions make without credentials. It must go through egress, not follow redirects, and limit
	// what it reads.
	Fetch host.Doer

	// PublicURL is where the server is reached, without a trailing slash.
	PublicURL string
	// SyncWall is how long a sync may run. 0 means 24 hours (wire contract).
	SyncWall time.Duration
	// ActionsAtOnce is how many synchronous actions of an environment run at once. 0 means 500 (wire contract).
	ActionsAtOnce int
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Service executes functions. It is a lifecycle.Service that forgets what is old; everything else works without Start.
type Service struct {
	*lifecycle.Loop

	opts      Options
	services  host.Services
	store     Store
	queue     Queue
	slots     slots
	variables variables
}

// Limits of the wire contract.
const (
	// RunLife is how long runs are kept, ResultLife how long results of asynchronous actions.
	RunLife    = 31 * 24 * time.Hour
	ResultLife = 5 * 24 * time.Hour

	defaultSyncWall      = 24 * time.Hour
	defaultActionsAtOnce = 500
)

// softShare is the part of SyncWall after which saving a checkpoint interrupts a sync, so that it goes on in a fresh run (wire
// contract: 80 %).
const softShare = 0.8

// New makes a Service. Its jobs are worked off by the workers that Register adds.
func New(opts Options) *Service {
	if opts.SyncWall == 0 {
		opts.SyncWall = defaultSyncWall
	}
	if opts.ActionsAtOnce == 0 {
		opts.ActionsAtOnce = defaultActionsAtOnce
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	s := &Service{opts: opts, store: opts.Instances.opts.Store, queue: opts.Instances.opts.Queue}
	s.slots.most = opts.ActionsAtOnce
	s.services = host.Services{
		Variables: opts.Tenants, Integrations: opts.Integrations, Connections: opts.Connections, Fresh: opts.Fresh, Proxy: opts.Proxy, Fetch: opts.Fetch,
		Records: opts.Records, Checkpoints: opts.Checkpoints, Locks: s.store, Platform: platform{s}, PublicURL: opts.PublicURL,
		Now: opts.Now, Logger: opts.Logger,
	}
	s.Loop = lifecycle.NewLoop("runs", opts.Logger, s.sweep)
	return s
}

func (s *Service) now() time.Time { return s.opts.Now() }

// Register adds the workers of this package.
func (s *Service) Register(workers *queue.Workers) {
	queue.Add(workers, &syncWorker{s}, queue.WorkerOpts{Timeout: syncTimeout})
	queue.Add(workers, &callWorker{s}, queue.WorkerOpts{Timeout: actionTimeout, Backoff: func(int) time.Duration { return 0 }})
	queue.Add(workers, queue.WorkerFunc[purgeConnectionArgs](s.purgeConnection), queue.WorkerOpts{Timeout: purgeTimeout})
	queue.Add(workers, queue.WorkerFunc[purgeSyncArgs](s.purgeSync), queue.WorkerOpts{Timeout: purgeTimeout})
}

// Limits of purges. Deleting 10 million records in transactions of 1,000 takes about an hour.
const (
	purgeTimeout = 4 * time.Hour
	// purgePatience is how long a purge waits for runs that are being aborted.
	purgePatience = 2 * time.Minute
	purgeAgain    = 5 * time.Second
)

// purgeConnectionArgs is the job that deletes what a connection leaves behind.
type purgeConnectionArgs struct {
	EnvironmentID int64 `json:"environment_id"`
	ConnectionID  int64 `json:"connection_id"`
}

// Kind implements queue.Args.
func (purgeConnectionArgs) Kind() string { return "connection.purge" }

func (s *Service) purgeConnection(ctx context.Context, job *queue.Job[purgeConnectionArgs]) error {
	a := job.Args
	if again, err := s.stillRunning(ctx, a.EnvironmentID, a.ConnectionID, job.CreatedAt); err != nil || again {
		return orSnooze(err)
	}
	if err := s.store.StopRunsOf(ctx, a.EnvironmentID, a.ConnectionID, "connection_deleted", s.opts.Now()); err != nil {
		return err
	}
	_, err := s.opts.Records.DeleteConnection(ctx, a.EnvironmentID, a.ConnectionID)
	return err
}

// purgeSyncArgs is the job that deletes what a sync leaves behind.
type purgeSyncArgs struct {
	EnvironmentID int64 `json:"environment_id"`
	ConnectionID  int64 `json:"connection_id"`
	// Models are full names.
	Models []string `json:"models"`
	// Checkpoint is the name of the checkpoint to forget with those below it; empty for none.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// Kind implements queue.Args.
func (purgeSyncArgs) Kind() string { return "sync.purge" }

func (s *Service) purgeSync(ctx context.Context, job *queue.Job[purgeSyncArgs]) error {
	a := job.Args
	if again, err := s.stillRunning(ctx, a.EnvironmentID, a.ConnectionID, job.CreatedAt); err != nil || again {
		return orSnooze(err)
	}
	for _, model := range a.Models {
		stream := record.Stream{EnvironmentID: a.EnvironmentID, ConnectionID: a.ConnectionID, Model: model}
		if _, err := s.opts.Records.DeleteModel(ctx, stream); err != nil {
			return err
		}
	}
	if a.Checkpoint == "" {
		return nil
	}
	_, err := s.opts.Checkpoints.Reset(ctx, checkpoint.Key{EnvironmentID: a.EnvironmentID, ConnectionID: a.ConnectionID, Name: a.Checkpoint})
	return err
}

// stillRunning reports whether a purge should wait: what a run that is being aborted saves after the purge would stay for ever.
func (s *Service) stillRunning(ctx context.Context, environmentID, connectionID int64, since time.Time) (bool, error) {
	if s.opts.Now().Sub(since) > purgePatience {
		return false, nil
	}
	return s.store.RunningOf(ctx, environmentID, connectionID)
}

func orSnooze(err error) error {
	if err != nil {
		return err
	}
	return queue.Snooze(purgeAgain)
}

// Sweeps.
const (
	sweepEvery = 10 * time.Minute
	sweepBatch = 1000
)

// sweep forgets old runs, results and locks until ctx ends.
func (s *Service) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := s.Sweep(ctx, s.opts.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep forgets what is too old at the given time.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	for {
		n, err := s.store.DeleteRuns(ctx, now.Add(-RunLife), sweepBatch)
		if err != nil {
			return fmt.Errorf("delete old runs: %w", err)
		}
		if n < sweepBatch {
			break
		}
	}
	for {
		n, err := s.store.DeleteCalls(ctx, now.Add(-ResultLife), now.Add(-2*ResultLife), sweepBatch)
		if err != nil {
			return fmt.Errorf("delete old results of actions: %w", err)
		}
		if n < sweepBatch {
			break
		}
	}
	if err := s.store.DeleteLocks(ctx, now); err != nil {
		return fmt.Errorf("delete expired locks: %w", err)
	}
	return nil
}
