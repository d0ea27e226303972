package run

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
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

// execution is one function at work for one connection.
type execution struct {
	env         tenant.Environment
	integration *integration.Integration
	provider    *provider.Provider // nil when it has left the catalog
	connection  *connection.Connection
	function    *function.Function
	kind        runner.Kind
	variant     string
	input       json.RawMessage
	op          *oplog.Operation
	// depth is how many actions are waiting for this one.
	depth int

	// For syncs.
	sync       *Sync
	run        *Run
	emptyCache bool
	// soft is when saving a checkpoint interrupts the run; zero for never.
	soft time.Time
}

// checkpoint is the name of the function's checkpoint: a sync and its webhook handler have one each.
func (x *execution) checkpoint() string {
	name := string(x.kind) + ":" + x.function.Name
	if x.kind == runner.KindSync || x.kind == runner.KindWebhook {
		name += ":" + x.variant
	}
	return name
}

// stream names the records of one of its models.
func (x *execution) stream(model string) record.Stream {
	return record.Stream{EnvironmentID: x.env.ID, ConnectionID: x.connection.ID, Model: record.FullModel(model, x.variant)}
}

// record is the log operation of the execution.
func (x *execution) record(kind oplog.Kind, id string, at time.Time, meta any) oplog.Record {
	r := oplog.Record{
		ID: id, CreatedAt: at, Kind: kind, AccountID: x.env.AccountID, EnvironmentID: x.env.ID, EnvironmentName: x.env.Name, ProviderName: x.integration.Provider,
		IntegrationID: x.integration.ID, IntegrationName: x.integration.Key, ConnectionID: x.connection.ID, ConnectionName: x.connection.ConnectionID,
		FunctionName: x.function.Name,
	}
	if meta != nil {
		r.Meta = encode(meta)
	}
	return r
}

// hide keeps the secrets that a function may come by out of its log.
func (x *execution) hide(c *connection.Connection, i *integration.Integration) {
	x.op.Hide(append(c.Credentials.Secrets(), i.Secrets.ClientSecret, i.Secrets.PrivateKey, i.Secrets.WebhookSecret)...)
}

// hideVariables does the same for environment variables, which are where authors keep secrets. Short values are ordinary words.
func (x *execution) hideVariables(variables []tenant.Variable) {
	const shortest = 8
	var all []secret.Text
	for _, v := range variables {
		if len(v.Value.Reveal()) >= shortest {
			all = append(all, v.Value)
		}
	}
	x.op.Hide(all...)
}

// runContext is the context of a run, with the keys of internal/runner/js/sdk/ops.md.
type runContext struct {
	ConnectionID      string `json:"connectionId"`
	ProviderConfigKey string `json:"providerConfigKey"`
	Provider          string `json:"provider"`
	EnvironmentID     int64  `json:"environmentId"`
	EnvironmentName   string `json:"environmentName"`
	AccountID         int64  `json:"accountId"`
	ActivityLogID     string `json:"activityLogId"`
	SyncID            string `json:"syncId,omitempty"`
	SyncJobID         int64  `json:"syncJobId,omitempty"`
	NangoConnectionID int64  `json:"nangoConnectionId"`
	FunctionName      string `json:"functionName"`
	Variant           string `json:"variant,omitempty"`
	LastSyncDate      string `json:"lastSyncDate,omitempty"`
	TrackDeletes      bool   `json:"trackDeletes,omitempty"`
	EmptyCache        bool   `json:"emptyCache,omitempty"`

	Models              []string   `json:"models"`
	LoggerLevel         string     `json:"loggerLevel"`
	SyncConfig          syncConfig `json:"syncConfig"`
	ProviderPaginate    any        `json:"providerPaginate,omitempty"`
	ProviderKnown       bool       `json:"providerKnown"`
	ProviderContentType string     `json:"providerContentType,omitempty"`
}

// syncConfig is what authors find of their function as it is deployed.
type syncConfig struct {
	Name     string   `json:"sync_name"`
	Type     string   `json:"type"`
	Version  string   `json:"version"`
	Models   []string `json:"models"`
	Runs     string   `json:"runs,omitempty"`
	SyncType string   `json:"sync_type,omitempty"`
}

func (x *execution) context(level string) json.RawMessage {
	c := runContext{
		ConnectionID: x.connection.ConnectionID, ProviderConfigKey: x.integration.Key, Provider: x.integration.Provider, EnvironmentID: x.env.ID,
		EnvironmentName: x.env.Name, AccountID: x.env.AccountID, ActivityLogID: x.op.ID(), NangoConnectionID: x.connection.ID, FunctionName: x.function.Name,
		Variant: x.variant, Models: x.function.Models, LoggerLevel: level, ProviderKnown: x.provider != nil,
		SyncConfig: syncConfig{x.function.Name, string(x.function.Type), x.function.Version, x.function.Models, x.function.Frequency, x.function.SyncType},
	}
	if x.sync != nil {
		c.SyncID, c.SyncJobID, c.TrackDeletes, c.EmptyCache = x.sync.ID, x.run.ID, x.function.TrackDeletes, x.emptyCache
		if !x.sync.LastSyncAt.IsZero() {
			c.LastSyncDate = iso(x.sync.LastSyncAt)
		}
	}
	if x.provider != nil {
		if rules, ok := x.provider.Document["proxy"].(map[string]any); ok {
			c.ProviderPaginate = rules["paginate"]
		}
		for _, h := range x.provider.Proxy.Headers {
			if h.Name == "content-type" && h.Value.IsLiteral() {
				c.ProviderContentType = h.Value.String()
			}
		}
	}
	return encode(c)
}

// perform runs the function and gives up what its host holds. The error is that of runner.Pool.Run.
func (s *Service) perform(ctx context.Context, x *execution, limits runner.Limits) (runner.Result, *host, error) {
	h := newHost(s, x)
	level, err := s.loggerLevel(ctx, x)
	if err != nil {
		return runner.Result{}, h, err
	}
	x.hide(x.connection, x.integration)
	result, err := s.opts.Runner.Run(ctx, runner.Request{
		Tenant: strconv.FormatInt(x.env.ID, 10), Bundle: x.function.Bundle(), Kind: x.kind, Input: x.input, Context: x.context(level), Limits: limits,
	}, h)
	h.close(context.WithoutCancel(ctx))
	if result.Error != nil && result.Error.Stack != "" {
		x.op.Append(ctx, oplog.Message{Level: oplog.Error, Context: "script", Text: result.Error.Stack})
	}
	if err != nil {
		return result, h, fmt.Errorf("run %s: %w", x.function.Name, err)
	}
	return result, h, nil
}

// levelVariable sets the threshold of nango.log for an environment; levels are what it may be, and the default is info: nobody
// here pays for lines by the piece.
const levelVariable = "NANGO_LOGGER_LEVEL"

var levels = map[string]bool{"debug": true, "info": true, "warn": true, "error": true, "off": true}

func (s *Service) loggerLevel(ctx context.Context, x *execution) (string, error) {
	variables, err := s.variables.get(ctx, s.opts.Tenants, x.env, s.opts.Now())
	if err != nil {
		return "", fmt.Errorf("variables of environment %d: %w", x.env.ID, err)
	}
	x.hideVariables(variables)
	for _, v := range variables {
		if v.Name == levelVariable && levels[v.Value.Reveal()] {
			return v.Value.Reveal(), nil
		}
	}
	return "info", nil
}

// variablesLife is how long the variables of an environment are remembered: reading and unsealing them would cost each action
// more than finding its connection.
const variablesLife = 10 * time.Second

// variables remembers the variables of environments. A full map is emptied.
type variables struct {
	mu   sync.Mutex
	kept map[int64]keptVariables
}

type keptVariables struct {
	all   []tenant.Variable
	until time.Time
}

func (v *variables) get(ctx context.Context, tenants Tenants, e tenant.Environment, now time.Time) ([]tenant.Variable, error) {
	v.mu.Lock()
	kept, ok := v.kept[e.ID]
	v.mu.Unlock()
	if ok && now.Before(kept.until) {
		return kept.all, nil
	}
	all, err := tenants.Variables(ctx, e)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	const most = 1000
	if v.kept == nil || len(v.kept) >= most {
		v.kept = map[int64]keptVariables{}
	}
	v.kept[e.ID] = keptVariables{all, now.Add(variablesLife)}
	return all, nil
}
