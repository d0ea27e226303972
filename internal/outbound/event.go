package outbound

import (
	"encoding/json"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
)

// Target is the connection an event is about.
type Target struct {
	EnvironmentID int64
	// ID is the internal id of the connection, ConnectionID the public one.
	ID             int64
	ConnectionID   string
	IntegrationKey string
	Provider       string
	// URLOverride replaces the environment's URLs when it is not empty.
	URLOverride string
}

// AuthOperation is what happened to a connection.
type AuthOperation string

// The operations of auth events.
const (
	Creation AuthOperation = "creation"
	Override AuthOperation = "override"
	Refresh  AuthOperation = "refresh"
)

// AuthEvent says that a connection was made or authorised again, or that its credentials stopped working.
type AuthEvent struct {
	Target

	Operation AuthOperation
	AuthMode  string
	Tags      map[string]string
	// Failure is nil for success.
	Failure *Failure
}

// Failure is why something failed, in words that the app may see.
type Failure struct {
	Type        string          `json:"type"`
	Description string          `json:"description"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	Additional  json.RawMessage `json:"additional_properties,omitempty"`
}

// SyncEvent says that a sync run ended. Success is told per model, failure once for all of them.
type SyncEvent struct {
	Target

	Sync    string
	Variant string
	// Type is INITIAL, INCREMENTAL or WEBHOOK.
	Type      string
	Models    []ModelResult
	StartedAt time.Time
	// Checkpoints is {"from":…,"to":…}; nil when the function uses none.
	Checkpoints json.RawMessage
	// Failure and FailedAt are set for a run that failed.
	Failure  *Failure
	FailedAt time.Time
}

// ModelResult is what a run changed in one model.
type ModelResult struct {
	Model                   string
	Added, Updated, Deleted int
}

func (m ModelResult) empty() bool { return m.Added == 0 && m.Updated == 0 && m.Deleted == 0 }

// event is one webhook before it is bound to endpoints.
type event struct {
	Target

	kind oplog.Kind
	body map[string]any
	meta map[string]any
	// function is the sync the event is about, for the log.
	function string
}

func (e AuthEvent) event(environment string) event {
	body := map[string]any{
		"from": "nango", "type": "auth", "operation": e.Operation, "connectionId": e.ConnectionID, "providerConfigKey": e.IntegrationKey,
		"provider": e.Provider, "authMode": e.AuthMode, "environment": environment, "success": e.Failure == nil,
	}
	if len(e.Tags) > 0 {
		body["tags"] = e.Tags
	}
	if e.Failure != nil {
		body["error"] = e.Failure
	}
	kind := oplog.WebhookRefresh
	if e.Operation == Creation {
		kind = oplog.WebhookConnection
	}
	return event{Target: e.Target, kind: kind, body: body}
}

// isoTime is how bodies write times.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (e SyncEvent) event(environment string, model string) event {
	body := map[string]any{
		"from": "nango", "type": "sync", "connectionId": e.ConnectionID, "providerConfigKey": e.IntegrationKey, "environment": environment,
		"syncName": e.Sync, "syncVariant": e.Variant, "syncType": e.Type, "model": model, "success": e.Failure == nil,
	}
	if e.Checkpoints != nil {
		body["checkpoints"] = e.Checkpoints
	}
	return event{
		Target: e.Target, kind: oplog.WebhookSync, body: body, function: e.Sync,
		meta: map[string]any{"syncVariant": e.Variant, "model": model},
	}
}

func (e SyncEvent) success(environment string, m ModelResult) event {
	out := e.event(environment, m.Model)
	out.body["responseResults"] = map[string]int{"added": m.Added, "updated": m.Updated, "deleted": m.Deleted}
	out.body["modifiedAfter"] = isoTime(e.StartedAt)
	out.body["queryTimeStamp"] = isoTime(e.StartedAt)
	return out
}

func (e SyncEvent) failure(environment, models string) event {
	out := e.event(environment, models)
	failure := *e.Failure
	failure.Type = "script_error" // the one type there is on the wire; what happened is in the description and the payload
	out.body["error"] = failure
	out.body["startedAt"] = isoTime(e.StartedAt)
	out.body["failedAt"] = isoTime(e.FailedAt)
	return out
}
