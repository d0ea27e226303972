package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// SyncName names a sync and its variant.
type SyncName struct {
	Name    string `json:"name"`
	Variant string `json:"variant"`
}

// ParseSyncName reads "name" or "name::variant".
func ParseSyncName(text string) SyncName {
	name, variant, found := strings.Cut(text, "::")
	if !found || variant == "" {
		variant = record.Base
	}
	return SyncName{name, variant}
}

// UnmarshalJSON reads a string or an object.
func (n *SyncName) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		*n = ParseSyncName(text)
		return nil
	}
	type plain SyncName
	*n = SyncName{Variant: record.Base}
	return json.Unmarshal(data, (*plain)(n))
}

// Selection says which instances a command is for.
type Selection struct {
	// Integration is the key. An empty ConnectionID stands for all connections of it.
	Integration  string
	ConnectionID string
	// Syncs are all when empty.
	Syncs []SyncName
}

// TriggerOptions say how a sync is to run.
type TriggerOptions struct {
	// Reset aborts a run that goes on and starts over: without a last sync date and without checkpoints.
	Reset bool
	// EmptyCache removes all records first. It counts with Reset only.
	EmptyCache bool
}

// ModeOptions are the options that a deprecated sync_mode stands for; false if there is no such mode.
func ModeOptions(mode string) (TriggerOptions, bool) {
	switch mode {
	case "", "incremental":
		return TriggerOptions{}, true
	case "full_refresh":
		return TriggerOptions{Reset: true}, true
	case "full_refresh_and_clear_cache":
		return TriggerOptions{Reset: true, EmptyCache: true}, true
	}
	return TriggerOptions{}, false
}

var errNoSyncs = errs.New(http.StatusBadRequest, "no_syncs_found", "No sync matches: deploy it, or look at its name and variant").AsLegacy()

// StartSyncs starts the schedules of the selected instances. One that is due runs at once.
func (s *Service) StartSyncs(ctx context.Context, e tenant.Environment, sel Selection) error {
	return s.command(ctx, e, sel, oplog.SyncUnpause, func(ctx context.Context, y *Sync) error {
		return s.queue.Resume(ctx, y.schedule())
	})
}

// PauseSyncs pauses the schedules of the selected instances and aborts what runs.
func (s *Service) PauseSyncs(ctx context.Context, e tenant.Environment, sel Selection) error {
	return s.command(ctx, e, sel, oplog.SyncPause, func(ctx context.Context, y *Sync) error {
		found, err := s.queue.Schedules(ctx, []string{y.schedule()})
		if err == nil {
			err = s.queue.Pause(ctx, y.schedule())
		}
		if err != nil || len(found) == 0 || found[0].LastState != queue.LastActive {
			return err
		}
		if err = s.queue.Cancel(ctx, found[0].LastJob); errors.Is(err, queue.ErrNotFound) {
			return nil // it had not started, or has just ended
		}
		return err
	})
}

// Trigger runs the selected instances now, paused or not. One that runs already is left alone, unless opts has Reset.
func (s *Service) Trigger(ctx context.Context, e tenant.Environment, sel Selection, opts TriggerOptions) error {
	kind := oplog.SyncRequest
	if opts.Reset {
		kind = oplog.SyncRequestFull
	}
	return s.command(ctx, e, sel, kind, func(ctx context.Context, y *Sync) error {
		args := syncArgs{EnvironmentID: y.EnvironmentID, SyncID: y.ID, Reset: opts.Reset, EmptyCache: opts.Reset && opts.EmptyCache}
		_, err := s.queue.TriggerNow(ctx, y.schedule(), queue.TriggerOpts{Args: args, Replace: opts.Reset})
		if err == nil && opts.Reset {
			err = s.store.SetLastSync(ctx, y.EnvironmentID, y.ID, time.Time{})
		}
		return err
	})
}

// order is what a command does to one instance.
type order func(ctx context.Context, y *Sync) error

// command gives a command to each selected instance, each in a transaction and with an operation of its own.
func (s *Service) command(ctx context.Context, e tenant.Environment, sel Selection, kind oplog.Kind, do order) error {
	i, err := s.opts.Integrations.Get(ctx, e.ID, sel.Integration)
	if errors.Is(err, integration.ErrNotFound) {
		return errs.Newf(http.StatusBadRequest, "unknown_provider_config", "There is no integration %q in this environment", sel.Integration).AsLegacy().
			WithPayload(map[string]string{"providerConfigKey": sel.Integration}).Because(err)
	}
	if err != nil {
		return err
	}
	filter := SyncFilter{IntegrationID: i.ID}
	if sel.ConnectionID != "" {
		c, err := s.opts.Connections.Get(ctx, i, sel.ConnectionID)
		if errors.Is(err, connection.ErrNotFound) {
			return errs.Newf(http.StatusNotFound, "unknown_connection",
				"There is no connection %q of the integration %q", sel.ConnectionID, sel.Integration).
				AsLegacy().WithPayload(map[string]string{"connectionId": sel.ConnectionID, "providerConfigKey": sel.Integration}).Because(err)
		}
		if err != nil {
			return err
		}
		filter.ConnectionID = c.ID
	}
	all, err := s.store.Syncs(ctx, e.ID, filter)
	if err != nil {
		return fmt.Errorf("list syncs: %w", err)
	}
	if len(sel.Syncs) == 0 {
		if len(all) == 0 && sel.ConnectionID == "" {
			return errNoSyncs
		}
		return s.commandAll(ctx, e, i, all, kind, do)
	}
	done := 0
	for _, name := range sel.Syncs {
		var named []Sync
		for n := range all {
			if all[n].Name == name.Name && all[n].Variant == name.Variant {
				named = append(named, all[n])
			}
		}
		if len(named) == 0 && sel.ConnectionID != "" {
			return errNoSyncs
		}
		if err := s.commandAll(ctx, e, i, named, kind, do); err != nil {
			return err
		}
		done += len(named)
	}
	if done == 0 {
		return errNoSyncs
	}
	return nil
}

func (s *Service) commandAll(
	ctx context.Context, e tenant.Environment, i *integration.Integration, all []Sync, kind oplog.Kind, do order,
) error {
	for n := range all {
		y := &all[n]
		err := s.store.Write(ctx, func(ctx context.Context) error { return do(ctx, y) })
		if err != nil && !errors.Is(err, queue.ErrAlreadyRunning) {
			return fmt.Errorf("%s of %s: %w", kind.Action, y.Name, err)
		}
		op := s.opts.Log.Begin(ctx, oplog.Record{
			Kind: kind, AccountID: e.AccountID, EnvironmentID: e.ID, EnvironmentName: e.Name, ProviderName: i.Provider, IntegrationID: i.ID,
			IntegrationName: i.Key, ConnectionID: y.ConnectionID, ConnectionName: y.ConnectionName, FunctionName: y.Name,
			Meta: host.Encode(map[string]string{"syncId": y.ID, "variant": y.Variant}),
		})
		if err != nil {
			op.Log(ctx, oplog.Warn, "The sync is running or about to run already")
		}
		op.Success(ctx)
	}
	return nil
}

// find gives an instance by its names; unknown ones are 400 unknown_connection and unknown_sync.
func (s *Service) find(ctx context.Context, environmentID int64, key, connectionID string, name SyncName) (*integration.Integration, Sync, error) {
	i, c, err := s.findConnection(ctx, environmentID, key, connectionID)
	if err != nil {
		return nil, Sync{}, err
	}
	all, err := s.store.Syncs(ctx, environmentID, SyncFilter{IntegrationID: i.ID, ConnectionID: c.ID, Name: name.Name, Variant: name.Variant})
	if err != nil {
		return nil, Sync{}, fmt.Errorf("find sync %s: %w", name.Name, err)
	}
	if len(all) == 0 {
		return i, Sync{}, errUnknownSync(name)
	}
	return i, all[0], nil
}

func errUnknownSync(name SyncName) error {
	return errs.Newf(http.StatusBadRequest, "unknown_sync", "The connection has no sync %q with the variant %q", name.Name, name.Variant)
}

func (s *Service) findConnection(
	ctx context.Context, environmentID int64, key, connectionID string,
) (*integration.Integration, *connection.Connection, error) {
	i, err := s.opts.Integrations.Get(ctx, environmentID, key)
	if err != nil {
		return nil, nil, unknownConnection(err, key, connectionID)
	}
	c, err := s.opts.Connections.Get(ctx, i, connectionID)
	if err != nil {
		return nil, nil, unknownConnection(err, key, connectionID)
	}
	return i, c, nil
}

// SetFrequency overrides how often an instance runs, or, for nil, goes back to what the function says. It gives the frequency that
// counts: an override in short form ("1h"), the function's own as it was deployed.
func (s *Service) SetFrequency(
	ctx context.Context, e tenant.Environment, key, connectionID string, name SyncName, frequency *string,
) (string, error) {
	var override function.Frequency
	if frequency != nil {
		var err error
		if override, err = function.ParseFrequency(*frequency); err != nil {
			if known, ok := errors.AsType[*errs.Error](err); ok {
				return "", errs.New(http.StatusBadRequest, "invalid_body", known.Message).Because(err)
			}
			return "", err
		}
	}
	i, y, err := s.find(ctx, e.ID, key, connectionID, name)
	if err != nil {
		return "", err
	}
	stored, shown, period := "", override.Text, override.Period
	if frequency == nil {
		f, err := s.opts.Functions.Get(ctx, i, function.Sync, y.Name)
		if err != nil {
			return "", fmt.Errorf("function of sync %s: %w", y.ID, err)
		}
		own, err := function.ParseFrequency(f.Frequency)
		if err != nil {
			return "", fmt.Errorf("frequency of %s: %w", f.Name, err)
		}
		shown, period = f.Frequency, own.Period
	} else {
		stored = *frequency
	}
	err = s.store.Write(ctx, func(ctx context.Context) error {
		if err := s.store.SetFrequency(ctx, e.ID, y.ID, stored); err != nil {
			return err
		}
		return s.queue.SetPeriod(ctx, y.schedule(), period)
	})
	if err != nil {
		return "", fmt.Errorf("set the frequency of %s: %w", y.Name, err)
	}
	return shown, nil
}

// maxVariants is how many instances a sync may have per connection, the base included (wire contract).
const maxVariants = 100

// CreateVariant makes another instance of a sync.
func (s *Service) CreateVariant(ctx context.Context, e tenant.Environment, key, connectionID string, name SyncName) (Sync, error) {
	i, err := s.opts.Integrations.Get(ctx, e.ID, key)
	if errors.Is(err, integration.ErrNotFound) {
		return Sync{}, errs.Newf(http.StatusBadRequest, "unknown_provider_config", "There is no integration %q in this environment", key).Because(err)
	}
	if err != nil {
		return Sync{}, err
	}
	c, err := s.opts.Connections.Get(ctx, i, connectionID)
	if err != nil {
		return Sync{}, unknownConnection(err, key, connectionID)
	}
	f, err := s.opts.Functions.Get(ctx, i, function.Sync, name.Name)
	if errors.Is(err, function.ErrNotFound) {
		return Sync{}, errUnknownSync(SyncName{name.Name, record.Base})
	}
	if err != nil {
		return Sync{}, err
	}
	var y Sync
	err = s.store.Write(ctx, func(ctx context.Context) error {
		all, err := s.store.Syncs(ctx, e.ID, SyncFilter{IntegrationID: i.ID, ConnectionID: c.ID, Name: name.Name})
		if err != nil {
			return err
		}
		for n := range all {
			if all[n].Variant == name.Variant {
				return errs.Newf(http.StatusBadRequest, "sync_variant_already_exists", "The sync %q has a variant %q already", name.Name, name.Variant)
			}
		}
		if len(all) >= maxVariants {
			return errs.Newf(http.StatusBadRequest, "resource_capped", "A sync can have %d variants per connection", maxVariants)
		}
		y, err = s.opts.Instances.create(ctx, f, c.ID, name.Variant)
		return err
	})
	return y, err
}

// DeleteVariant removes an instance with its records.
func (s *Service) DeleteVariant(ctx context.Context, e tenant.Environment, key, connectionID string, name SyncName) error {
	i, y, err := s.find(ctx, e.ID, key, connectionID, name)
	if errs.Code(err) == "unknown_sync" {
		return errs.NotFound("The variant does not exist")
	}
	if err != nil {
		return err
	}
	args := purgeSyncArgs{EnvironmentID: e.ID, ConnectionID: y.ConnectionID, Checkpoint: y.checkpoint()}
	f, err := s.opts.Functions.Get(ctx, i, function.Sync, y.Name)
	if err != nil && !errors.Is(err, function.ErrNotFound) {
		return err
	}
	if err == nil {
		for _, model := range f.Models {
			args.Models = append(args.Models, record.FullModel(model, y.Variant))
		}
	}
	return s.store.Write(ctx, func(ctx context.Context) error {
		if err := s.opts.Instances.remove(ctx, &y); err != nil {
			return err
		}
		_, err := s.queue.Insert(ctx, args, purgeOpts(e.ID))
		return err
	})
}
