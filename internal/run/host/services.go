package host

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/proxy"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Variables reads the variables of environments.
type Variables interface {
	Variables(ctx context.Context, e tenant.Environment) ([]tenant.Variable, error)
}

// Integrations finds integrations.
type Integrations interface {
	Get(ctx context.Context, environmentID int64, key string) (*integration.Integration, error)
}

// Connections are the rules of connections.
type Connections interface {
	Get(ctx context.Context, i *integration.Integration, connectionID string) (*connection.Connection, error)
	SetMetadata(ctx context.Context, i *integration.Integration, connectionIDs []string, metadata json.RawMessage, merge bool) error
	Touch(c *connection.Connection)
}

// Fresh makes credentials fresh.
type Fresh interface {
	Ensure(ctx context.Context, i *integration.Integration, c *connection.Connection, force bool) (*connection.Connection, error)
}

// Proxy sends requests with the credentials of a connection.
type Proxy interface {
	Do(ctx context.Context, call proxy.Call) (*proxy.Response, error)
}

// Doer sends a request.
type Doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// Writes are the changes of the records cache.
type Writes interface {
	Save(ctx context.Context, stream record.Stream, by record.Run, records json.RawMessage, merge record.Merge) (record.Result, error)
	Update(ctx context.Context, stream record.Stream, by record.Run, records json.RawMessage, merge record.Merge) (record.Result, error)
	Delete(ctx context.Context, stream record.Stream, by record.Run, records json.RawMessage, merge record.Merge) (record.Result, error)
	StartMerge(ctx context.Context, stream record.Stream, strategy record.Strategy) (record.Merge, error)
	TrackDeletesStart(ctx context.Context, stream record.Stream, by record.Run) error
	TrackDeletesEnd(ctx context.Context, stream record.Stream, by record.Run) (deleted []string, err error)
	DeletePrevious(ctx context.Context, stream record.Stream, by record.Run) ([]string, error)
}

// Records is the records cache.
type Records interface {
	Writes

	Page(ctx context.Context, stream record.Stream, q record.PageQuery) (record.Page, error)
	GetByIDs(ctx context.Context, stream record.Stream, externalIDs []string) ([]json.RawMessage, error)
}

// Checkpoints remembers where functions left off.
type Checkpoints interface {
	Get(ctx context.Context, key checkpoint.Key) (checkpoint.Checkpoint, error)
	Save(ctx context.Context, key checkpoint.Key, fields json.RawMessage, version int64) (int64, error)
	Clear(ctx context.Context, key checkpoint.Key, version int64) (int64, error)
}

// Locks keeps the locks of functions. A lock of another owner that has expired is free.
type Locks interface {
	AcquireLock(ctx context.Context, environmentID int64, key, owner string, now, until time.Time) (bool, error)
	ReleaseLock(ctx context.Context, environmentID int64, key, owner string) (bool, error)
	ReleaseLocks(ctx context.Context, environmentID int64, owner string) error
}

// Platform runs other functions. How one failed is an [Answer].
type Platform interface {
	// TriggerAction runs an action that is depth actions deep, and waits for its output.
	TriggerAction(ctx context.Context, e tenant.Environment, in ActionRequest, depth int) (json.RawMessage, error)
	TriggerSyncs(ctx context.Context, e tenant.Environment, in SyncRequest) error
	ResumeSyncs(ctx context.Context, e tenant.Environment, in SyncRequest) error
}

// Answer is an error that the public API has a body for.
type Answer interface {
	error
	Status() int
	Code() string
	Message() string
	Body() []byte
}

// ActionRequest asks for an action.
type ActionRequest struct {
	Integration  string          `json:"providerConfigKey"`
	ConnectionID string          `json:"connectionId"`
	Action       string          `json:"action"`
	Input        json.RawMessage `json:"input"`
}

// SyncRequest asks for syncs.
type SyncRequest struct {
	Integration  string `json:"providerConfigKey"`
	ConnectionID string `json:"connectionId"`
	// Syncs is a list of names and of objects with name and variant.
	Syncs json.RawMessage `json:"syncs"`
	Opts  *SyncOptions    `json:"opts"`
	// Mode is the deprecated sync_mode.
	Mode string `json:"syncMode"`
}

// SyncOptions say how a sync is to run.
type SyncOptions struct {
	Reset      bool `json:"reset"`
	EmptyCache bool `json:"emptyCache"`
}

// Services are what a host works with. All are required.
type Services struct {
	Variables    Variables
	Integrations Integrations
	Connections  Connections
	Fresh        Fresh
	Proxy        Proxy
	// Fetch sends requests that functions make without credentials. It must go through egress and not follow redirects.
	Fetch       Doer
	Records     Records
	Checkpoints Checkpoints
	Locks       Locks
	Platform    Platform
	// PublicURL is where the server is reached, without a trailing slash.
	PublicURL string
	Now       func() time.Time
	Logger    *slog.Logger
}
