package oplog

import (
	"encoding/json"
	"time"
)

// State is where an operation stands.
type State string

// The states. Waiting and Running may still change; the others are final.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Success   State = "success"
	Failed    State = "failed"
	Timeout   State = "timeout"
	Cancelled State = "cancelled"
)

// Level is how serious a message is.
type Level string

// The levels.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Kind is what an operation is: a type and an action, such as sync/run or webhook/forward.
type Kind struct {
	Type   string `json:"type"`
	Action string `json:"action"`
}

// The kinds of operations of the wire contract.
var (
	CreateConnection  = Kind{"auth", "create_connection"}
	RefreshToken      = Kind{"auth", "refresh_token"}
	ConnectionTest    = Kind{"auth", "connection_test"}
	PostConnection    = Kind{"auth", "post_connection"}
	SyncInit          = Kind{"sync", "init"}
	SyncRun           = Kind{"sync", "run"}
	SyncRequest       = Kind{"sync", "request_run"}
	SyncRequestFull   = Kind{"sync", "request_run_full"}
	SyncPause         = Kind{"sync", "pause"}
	SyncUnpause       = Kind{"sync", "unpause"}
	SyncCancel        = Kind{"sync", "cancel"}
	ActionRun         = Kind{"action", "run"}
	ProxyCall         = Kind{"proxy", "call"}
	WebhookIncoming   = Kind{"webhook", "incoming"}
	WebhookForward    = Kind{"webhook", "forward"}
	WebhookSync       = Kind{"webhook", "sync"}
	WebhookConnection = Kind{"webhook", "connection_create"}
	WebhookRefresh    = Kind{"webhook", "connection_refresh"}
	Deploy            = Kind{"deploy", "custom"}
)

// Record is an operation as it is stored and shown.
type Record struct {
	// ID is "<start in epoch ms>_<8 random letters and digits>"; its day is where the operation is stored.
	ID    string `json:"id"`
	Kind  Kind   `json:"operation"`
	State State  `json:"state"`
	// Message is the label of the kind, or what the caller set.
	Message         string `json:"message"`
	AccountID       int64  `json:"accountId"`
	EnvironmentID   int64  `json:"environmentId"`
	EnvironmentName string `json:"environmentName,omitempty"`
	// Names are what filters match; ids are the internal ones and 0 when unknown.
	ProviderName    string `json:"providerName,omitempty"`
	IntegrationID   int64  `json:"integrationId,omitempty"`
	IntegrationName string `json:"integrationName,omitempty"`
	ConnectionID    int64  `json:"connectionId,omitempty"`
	ConnectionName  string `json:"connectionName,omitempty"`
	FunctionName    string `json:"syncConfigName,omitempty"`
	// Request and Response are the app's own call that started the operation.
	Request   *HTTPRequest    `json:"request,omitempty"`
	Response  *HTTPResponse   `json:"response,omitempty"`
	Error     *Failure        `json:"error,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	CreatedAt time.Time       `json:"createdAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
	StartedAt *time.Time      `json:"startedAt"`
	EndedAt   *time.Time      `json:"endedAt"`
	// ExpiresAt is when an operation that is still open is taken for lost and becomes Timeout.
	ExpiresAt time.Time `json:"expiresAt"`
	// DurationMs is EndedAt minus StartedAt in milliseconds, 0 while open.
	DurationMs int64 `json:"durationMs,omitempty"`
}

// Failure is an error as users see it.
type Failure struct {
	Name    string          `json:"name"`
	Message string          `json:"message"`
	Type    string          `json:"type,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// HTTPRequest is what was sent. Headers are redacted, their names in lower case.
type HTTPRequest struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"`
}

// HTTPResponse is what came back.
type HTTPResponse struct {
	Code    int               `json:"code"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body,omitempty"`
}

// Retry tells which attempt of how many a call was, counted from 0, and how long it had waited before.
type Retry struct {
	Attempt  int   `json:"attempt"`
	Max      int   `json:"max"`
	WaitedMs int64 `json:"waited"`
}

// Message is one line inside an operation.
type Message struct {
	ID string `json:"id"`
	// Source is "internal", or "user" for the function's own lines. Empty means internal.
	Source string `json:"source"`
	Level  Level  `json:"level"`
	// Type is "log" or "http"; it follows from Request when empty.
	Type string `json:"type"`
	Text string `json:"message"`
	// Context is script, proxy, webhook or auth.
	Context    string          `json:"context,omitempty"`
	Error      *Failure        `json:"error,omitempty"`
	Request    *HTTPRequest    `json:"request,omitempty"`
	Response   *HTTPResponse   `json:"response,omitempty"`
	Retry      *Retry          `json:"retry,omitempty"`
	Persist    *PersistResults `json:"persistResults,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	CreatedAt  time.Time       `json:"createdAt"`
	EndedAt    *time.Time      `json:"endedAt,omitempty"`
	DurationMs int64           `json:"durationMs,omitempty"`
}

// PersistResults is what one batch of records changed.
type PersistResults struct {
	Model       string   `json:"model"`
	Added       int      `json:"added"`
	AddedKeys   []string `json:"addedKeys"`
	Updated     int      `json:"updated"`
	UpdatedKeys []string `json:"updatedKeys"`
	Unchanged   int      `json:"unchanged"`
	Deleted     int      `json:"deleted"`
	DeletedKeys []string `json:"deleteKeys"`
}
