package host

import (
	"context"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Subject is what runs, and for whom.
type Subject struct {
	Environment tenant.Environment
	Integration *integration.Integration
	Provider    *provider.Provider // nil when it has left the catalog
	Connection  *connection.Connection
	Function    *function.Function
	Kind        runner.Kind
	Variant     string
	Operation   *oplog.Operation
	// Depth is how many actions are waiting for this one.
	Depth int
	// Source is set for functions that have records.
	Source *Source
	// Soft is when saving a checkpoint interrupts the run; zero for never.
	Soft time.Time
}

// Source is the run that writes records.
type Source struct {
	record.Run

	// Count stores what was changed in a model, so that it survives the process. It is called from several goroutines.
	Count func(ctx context.Context, model string, c Counts) error
}

// Counts is what a run changed in one model.
type Counts struct {
	Added   int `json:"added"`
	Updated int `json:"updated"`
	Deleted int `json:"deleted"`
}

// CheckpointName is the name of the function's checkpoint: a sync and its webhook handler have one each.
func (x *Subject) CheckpointName() string {
	name := string(x.Kind) + ":" + x.Function.Name
	if x.Kind == runner.KindSync || x.Kind == runner.KindWebhook {
		name += ":" + x.Variant
	}
	return name
}

// Stream names the records of one of its models.
func (x *Subject) Stream(model string) record.Stream {
	return record.Stream{EnvironmentID: x.Environment.ID, ConnectionID: x.Connection.ID, Model: record.FullModel(model, x.Variant)}
}

// Hide keeps the secrets that a function may come by out of its log.
func (x *Subject) Hide(c *connection.Connection, i *integration.Integration) {
	x.Operation.Hide(append(c.Credentials.Secrets(), i.Secrets.ClientSecret, i.Secrets.PrivateKey, i.Secrets.WebhookSecret)...)
}

// HideVariables does the same for environment variables, which are where authors keep secrets. Short values are ordinary words.
func (x *Subject) HideVariables(variables []tenant.Variable) {
	const shortest = 8
	var all []secret.Text
	for _, v := range variables {
		if len(v.Value.Reveal()) >= shortest {
			all = append(all, v.Value)
		}
	}
	x.Operation.Hide(all...)
}
