package function

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// Function is a deployed function. It is shared by all readers and must not be changed.
type Function struct {
	Definition

	ID            int64
	EnvironmentID int64
	IntegrationID int64
	// Integration and Provider are the integration's key and provider.
	Integration string
	Provider    string
	Name        string
	// Version is the one in use. The version in Definition is what the author wrote, or empty.
	Version string
	Enabled bool
	// Source is who manages it: repo (a deployed project) or standalone.
	Source     string
	SDKVersion string
	// JSHash and TSHash name the texts; see Hash.
	JSHash, TSHash string
	DeployedAt     time.Time

	js string // set by Get
}

// Bundle is what the runner needs.
func (f *Function) Bundle() runner.Bundle {
	return runner.Bundle{Hash: f.JSHash, Code: f.js, Name: ScriptName(f.Name, f.Integration), SDKVersion: f.SDKVersion}
}

// Schemas gives the JSON schemas of the models by name; empty when there are none.
func (d Definition) Schemas() map[string]json.RawMessage {
	var schema struct {
		Definitions map[string]json.RawMessage `json:"definitions"`
	}
	if err := json.Unmarshal(d.JSONSchema, &schema); err != nil {
		return nil // none, or not of the form that is checked when it is deployed
	}
	return schema.Definitions
}

// Hash names a text by its contents: lower-case hex of its SHA-256.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// The sources of functions.
const (
	FromRepo   = "repo"
	Standalone = "standalone"
)

// ErrNotFound is for a function that is not deployed.
var ErrNotFound = errs.NotFound("The function is not deployed")

// key is what a function is known by in its environment.
type key struct {
	integration, name string
	kind              Type
}

func (f *Function) key() key { return key{f.Integration, f.Name, f.Type} }

func (c Compiled) key() key { return key{c.Integration, c.Name, c.Type} }
