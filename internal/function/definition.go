package function

import (
	"encoding/json"
)

// Type is what a function is.
type Type string

// The types, in the words of the wire contract.
const (
	Sync    Type = "sync"
	Action  Type = "action"
	OnEvent Type = "on-event"
)

// Definition is what a function says of itself. It is stored in this form, in which an empty list and none are the same.
type Definition struct {
	Type        Type   `json:"type"`
	Description string `json:"description"`
	// Version is the author's own, empty to have one assigned.
	Version   string     `json:"version"`
	Scopes    []string   `json:"scopes,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Models are the models of a sync, or the one output model of an action.
	Models []string `json:"models,omitempty"`
	// Input is the model of the input (action) or of the metadata (sync), empty for none.
	Input string `json:"input"`
	// JSONSchema is {"definitions": {model: schema}}.
	JSONSchema json.RawMessage `json:"json_schema,omitempty"`

	// For syncs.
	Frequency            string   `json:"frequency"`
	SyncType             string   `json:"sync_type"`
	TrackDeletes         bool     `json:"track_deletes"`
	AutoStart            bool     `json:"auto_start"`
	WebhookSubscriptions []string `json:"webhook_subscriptions,omitempty"`
	// Features holds "checkpoints" if the function uses them.
	Features []string `json:"features,omitempty"`

	// Event is when an on-event function runs.
	Event string `json:"event"`
}

// Endpoint is the deprecated address of a function.
type Endpoint struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Group  string `json:"group,omitempty"`
}

// Compiled is a function that is ready to be deployed.
type Compiled struct {
	Definition

	Name string
	// Integration is the key of the integration it belongs to.
	Integration string
	// JS is the bundle, TS the source of the entry file.
	JS, TS string
}

// ScriptName is how stack traces call the function.
func ScriptName(name, integration string) string { return name + "-" + integration + ".cjs" }

// SDKVersion marks bundles made by this compiler: the version of the wire contract they follow, and the form of project.
const SDKVersion = "0.71.10-zero"
