package run

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/run/host"
)

// Sync is an instance: a sync function for one connection and variant.
type Sync struct {
	// ID is a UUID.
	ID            string
	EnvironmentID int64
	// ConnectionID is the internal id, ConnectionName the public one.
	ConnectionID   int64
	ConnectionName string
	IntegrationID  int64
	// Integration is the integration's key.
	Integration string
	// Name is the function's.
	Name    string
	Variant string
	// Frequency overrides the function's own; empty does not.
	Frequency string
	// LastSyncAt is the start of the last successful run; zero before the first and after a reset.
	LastSyncAt time.Time
	CreatedAt  time.Time
}

// schedule is the key of the instance's schedule.
func (s *Sync) schedule() string { return scheduleKey(s.EnvironmentID, s.ID) }

// checkpoint is the name of the instance's checkpoint.
func (s *Sync) checkpoint() string { return "sync:" + s.Name + ":" + s.Variant }

// Type is whether a run fetches everything.
type Type string

// The types of runs.
const (
	Incremental Type = "INCREMENTAL"
	Full        Type = "FULL"
)

// Status is where a run stands.
type Status string

// The states of a run. Stopped is the end of every run that did not succeed.
const (
	Running Status = "RUNNING"
	Success Status = "SUCCESS"
	Stopped Status = "STOPPED"
)

// Counts is what a run changed in one model.
type Counts = host.Counts

// Run is one execution of a sync.
type Run struct {
	// ID grows with every run.
	ID            int64
	SyncID        string
	EnvironmentID int64
	ConnectionID  int64
	// JobID is the job that the run belongs to. Several runs have one when their processes were lost.
	JobID int64
	// Generation is what its records are marked with: the ID of the first run that this one goes on from.
	Generation int64
	Type       Type
	Status     Status
	// Result has what was changed per model, without the variant, since Since.
	Result map[string]Counts
	// OperationID is the log operation.
	OperationID string
	// Error is the code of the failure of a run that stopped.
	Error string
	// Interrupted: it succeeded so far and the next run goes on.
	Interrupted bool
	// Prepared: what a reset asked for is done.
	Prepared bool
	// Since is when the first of the runs that this one goes on from was started.
	Since      time.Time
	StartedAt  time.Time
	FinishedAt time.Time
}

// Call is an asynchronous action.
type Call struct {
	// ID is a UUID.
	ID            string
	EnvironmentID int64
	ConnectionID  int64
	Integration   string
	Action        string
	OperationID   string
	// Begun is how many attempts were begun, MaxAttempts how many there may be.
	Begun, MaxAttempts int
	CreatedAt, EndedAt time.Time
	// Input, Output and Failure are JSON, sealed at rest. Output or Failure is set when it has ended.
	Input, Output, Failure json.RawMessage
}

// SealedCall is a call as it is stored.
type SealedCall struct {
	Call

	SealedInput, SealedOutput, SealedFailure []byte
}

// ErrNotFound is what a Store returns for what is not there.
var ErrNotFound = errors.New("run: not found")

// SyncFilter narrows a list of instances. Zero fields don't.
type SyncFilter struct {
	IntegrationID int64
	ConnectionID  int64
	Name, Variant string
}

// SyncStore keeps instances.
type SyncStore interface {
	// InsertSync reports false when the connection has an instance of this name and variant.
	InsertSync(ctx context.Context, s Sync) (bool, error)
	Sync(ctx context.Context, environmentID int64, id string) (Sync, error)
	// Syncs is sorted by connection, name and variant.
	Syncs(ctx context.Context, environmentID int64, f SyncFilter) ([]Sync, error)
	SetFrequency(ctx context.Context, environmentID int64, id, frequency string) error
	// SetLastSync stores LastSyncAt; the zero time clears it.
	SetLastSync(ctx context.Context, environmentID int64, id string, at time.Time) error
	DeleteSync(ctx context.Context, environmentID int64, id string) error
	// ConnectionsOf gives the ids of an integration's connections.
	ConnectionsOf(ctx context.Context, environmentID, integrationID int64) ([]int64, error)
}

// RunStore keeps runs.
type RunStore interface {
	InsertRun(ctx context.Context, r Run) (id int64, err error)
	// SaveRun stores everything that changes while a run goes on. One that has ended stays as it is.
	SaveRun(ctx context.Context, r Run) error
	// LastRun gives ErrNotFound for a sync that never ran.
	LastRun(ctx context.Context, syncID string) (Run, error)
	// LastRuns gives the last run of each sync that ever ran.
	LastRuns(ctx context.Context, syncIDs []string) (map[string]Run, error)
	// RunningOf reports whether a run of the connection is going on.
	RunningOf(ctx context.Context, environmentID, connectionID int64) (bool, error)
	// StopRunsOf ends runs of the connection that nobody will end.
	StopRunsOf(ctx context.Context, environmentID, connectionID int64, code string, now time.Time) error
	// DeleteRuns deletes up to limit runs that ended before, except the last of each sync.
	DeleteRuns(ctx context.Context, before time.Time, limit int) (int, error)
}

// LockStore keeps the locks of functions.
type LockStore interface {
	host.Locks

	DeleteLocks(ctx context.Context, before time.Time) error
}

// CallStore keeps asynchronous actions.
type CallStore interface {
	InsertCall(ctx context.Context, c SealedCall) error
	// Call gives ErrNotFound for a call of another environment.
	Call(ctx context.Context, environmentID int64, id string) (SealedCall, error)
	// BeginCall raises Begun to number if it is number-1, and reports whether it was.
	BeginCall(ctx context.Context, environmentID int64, id string, number int) (bool, error)
	EndCall(ctx context.Context, c SealedCall) error
	// DeleteCalls deletes up to limit calls that ended before, or were made before and never ended.
	DeleteCalls(ctx context.Context, endedBefore, createdBefore time.Time, limit int) (int, error)
}

// Store is everything that is stored. Methods join the transaction of their context.
type Store interface {
	Write(ctx context.Context, fn func(ctx context.Context) error) error
	AfterCommit(ctx context.Context, fn func())

	SyncStore
	RunStore
	LockStore
	CallStore
}
