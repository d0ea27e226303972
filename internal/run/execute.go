package run

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// execution is one function at work for one connection.
type execution struct {
	host.Subject

	input json.RawMessage

	// For syncs.
	sync       *Sync
	run        *Run
	emptyCache bool
}

// record is the log operation of the execution.
func (x *execution) record(kind oplog.Kind, id string, at time.Time, meta any) oplog.Record {
	r := oplog.Record{
		ID: id, CreatedAt: at, Kind: kind, AccountID: x.Environment.AccountID, EnvironmentID: x.Environment.ID,
		EnvironmentName: x.Environment.Name, ProviderName: x.Integration.Provider,
		IntegrationID: x.Integration.ID, IntegrationName: x.Integration.Key, ConnectionID: x.Connection.ID, ConnectionName: x.Connection.ConnectionID,
		FunctionName: x.Function.Name,
	}
	if meta != nil {
		r.Meta = host.Encode(meta)
	}
	return r
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

// iso is the usual rendering of times: ISO-8601, UTC, milliseconds.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (x *execution) context(level string) json.RawMessage {
	c := runContext{
		ConnectionID: x.Connection.ConnectionID, ProviderConfigKey: x.Integration.Key, Provider: x.Integration.Provider, EnvironmentID: x.Environment.ID,
		EnvironmentName: x.Environment.Name, AccountID: x.Environment.AccountID, ActivityLogID: x.Operation.ID(),
		NangoConnectionID: x.Connection.ID, FunctionName: x.Function.Name,
		Variant: x.Variant, Models: x.Function.Models, LoggerLevel: level, ProviderKnown: x.Provider != nil,
		SyncConfig: syncConfig{x.Function.Name, string(x.Function.Type), x.Function.Version, x.Function.Models, x.Function.Frequency, x.Function.SyncType},
	}
	if x.sync != nil {
		c.SyncID, c.SyncJobID, c.TrackDeletes, c.EmptyCache = x.sync.ID, x.run.ID, x.Function.TrackDeletes, x.emptyCache
		if !x.sync.LastSyncAt.IsZero() {
			c.LastSyncDate = iso(x.sync.LastSyncAt)
		}
	}
	if x.Provider != nil {
		if rules, ok := x.Provider.Document["proxy"].(map[string]any); ok {
			c.ProviderPaginate = rules["paginate"]
		}
		for _, h := range x.Provider.Proxy.Headers {
			if h.Name == "content-type" && h.Value.IsLiteral() {
				c.ProviderContentType = h.Value.String()
			}
		}
	}
	return host.Encode(c)
}

// perform runs the function and gives up what its host holds. The error is that of runner.Pool.Run.
func (s *Service) perform(ctx context.Context, x *execution, limits runner.Limits) (runner.Result, *host.Host, error) {
	h := host.New(&s.services, &x.Subject)
	level, err := s.loggerLevel(ctx, x)
	if err != nil {
		return runner.Result{}, h, err
	}
	x.Hide(x.Connection, x.Integration)
	result, err := s.opts.Runner.Run(ctx, runner.Request{
		Tenant: strconv.FormatInt(x.Environment.ID, 10), Bundle: x.Function.Bundle(), Kind: x.Kind, Input: x.input,
		Context: x.context(level), Limits: limits,
	}, h)
	h.Close(context.WithoutCancel(ctx))
	if result.Error != nil && result.Error.Stack != "" {
		x.Operation.Append(ctx, oplog.Message{Level: oplog.Error, Context: "script", Text: result.Error.Stack})
	}
	if err != nil {
		return result, h, fmt.Errorf("run %s: %w", x.Function.Name, err)
	}
	return result, h, nil
}

// levelVariable sets the threshold of nango.log for an environment; levels are what it may be, and the default is info: nobody
// here pays for lines by the piece.
const levelVariable = "NANGO_LOGGER_LEVEL"

var levels = map[string]bool{"debug": true, "info": true, "warn": true, "error": true, "off": true}

func (s *Service) loggerLevel(ctx context.Context, x *execution) (string, error) {
	variables, err := s.variables.get(ctx, s.opts.Tenants, x.Environment, s.opts.Now())
	if err != nil {
		return "", fmt.Errorf("variables of environment %d: %w", x.Environment.ID, err)
	}
	x.HideVariables(variables)
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
