package api

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Syncs commands instances of syncs and tells how they are doing.
type Syncs interface {
	Trigger(ctx context.Context, e tenant.Environment, s run.Selection, opts run.TriggerOptions) error
	StartSyncs(ctx context.Context, e tenant.Environment, s run.Selection) error
	PauseSyncs(ctx context.Context, e tenant.Environment, s run.Selection) error
	Statuses(ctx context.Context, e tenant.Environment, s run.Selection) ([]run.SyncStatus, error)
	SetFrequency(ctx context.Context, e tenant.Environment, key, connectionID string, name run.SyncName, frequency *string) (string, error)
	CreateVariant(ctx context.Context, e tenant.Environment, key, connectionID string, name run.SyncName) (run.Sync, error)
	DeleteVariant(ctx context.Context, e tenant.Environment, key, connectionID string, name run.SyncName) error
}

func (s *Server) syncRoutes() {
	s.json(http.MethodPost, "/sync/trigger", access{tenant.ScopeSyncsExecute}, s.triggerSyncs)
	s.json(http.MethodPost, "/sync/start", access{tenant.ScopeSyncsExecute}, s.startSyncs)
	s.json(http.MethodPost, "/sync/pause", access{tenant.ScopeSyncsExecute}, s.pauseSyncs)
	s.json(http.MethodGet, "/sync/status", access{tenant.ScopeSyncsRead}, s.syncStatus)
	s.json(http.MethodPut, "/sync/update-connection-frequency", access{tenant.ScopeSyncsUpdate}, s.setSyncFrequency)
	s.json(http.MethodPost, "/sync/:name/variant/:variant", access{tenant.ScopeSyncsVariantCreate}, s.createVariant)
	s.json(http.MethodDelete, "/sync/:name/variant/:variant", access{tenant.ScopeSyncsVariantDelete}, s.deleteVariant)
}

// maxSyncs is how many syncs one start or pause takes.
const maxSyncs = 256

// readSyncs reads a list of "name", "name::variant" and {name, variant}.
func readSyncs(b *input.Reader, limit int) []run.SyncName {
	var names []run.SyncName
	b.Each("syncs", true, limit, func(_ int, item *input.Reader, text string) {
		if item == nil {
			names = append(names, run.ParseSyncName(text))
			return
		}
		required := input.Text{Required: true}
		names = append(names, run.SyncName{Name: item.String("name", required), Variant: item.String("variant", required)})
		item.Strict()
	})
	return names
}

func (s *Server) triggerSyncs(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	sel := run.Selection{
		Syncs: readSyncs(b, 0), Integration: b.String("provider_config_key", input.Text{}), ConnectionID: b.String("connection_id", input.Text{}),
	}
	var opts run.TriggerOptions
	withOpts := b.Has("opts")
	if o := b.Object("opts", false); o != nil {
		opts = run.TriggerOptions{Reset: o.Bool("reset", false), EmptyCache: o.Bool("emptyCache", false)}
		o.Strict()
	}
	older := b.Has("sync_mode") || b.Has("full_resync")
	mode := b.OneOf("sync_mode", "incremental", "full_refresh", "full_refresh_and_clear_cache")
	resync := b.Bool("full_resync", false)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	if sel.Integration == "" {
		sel.Integration = r.Header.Get("Provider-Config-Key")
	}
	if sel.ConnectionID == "" {
		sel.ConnectionID = r.Header.Get("Connection-Id")
	}
	switch {
	case sel.Integration == "":
		return errs.New(http.StatusBadRequest, "missing_provider_config_key",
			"Give the integration as provider_config_key, in the body or as the header Provider-Config-Key").AsLegacy()
	case withOpts && older:
		return errs.New(http.StatusBadRequest, "invalid_body", "Give either opts or the deprecated sync_mode and full_resync")
	case older && mode != "":
		opts, _ = run.ModeOptions(mode) // one of the three
	case older:
		opts.Reset = resync
	}
	if err := s.opts.Syncs.Trigger(r.Context(), r.principal.Environment, sel, opts); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, success)
}

func (s *Server) startSyncs(w http.ResponseWriter, r *request) error {
	return s.commandSyncs(w, r, s.opts.Syncs.StartSyncs)
}

func (s *Server) pauseSyncs(w http.ResponseWriter, r *request) error {
	return s.commandSyncs(w, r, s.opts.Syncs.PauseSyncs)
}

func (s *Server) commandSyncs(w http.ResponseWriter, r *request, do func(context.Context, tenant.Environment, run.Selection) error) error {
	body, err := s.body(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	sel := run.Selection{
		Syncs: readSyncs(b, maxSyncs), Integration: b.String("provider_config_key", input.IntegrationKey),
		ConnectionID: b.String("connection_id", input.Optional(input.ConnectionID)),
	}
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	if err := do(r.Context(), r.principal.Environment, sel); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, success)
}

type syncStatusView struct {
	ID           string                `json:"id"`
	ConnectionID string                `json:"connection_id"`
	Name         string                `json:"name"`
	Variant      string                `json:"variant"`
	Type         string                `json:"type"`
	Status       string                `json:"status"`
	Frequency    *string               `json:"frequency"`
	FinishedAt   string                `json:"finishedAt,omitempty"`
	NextAt       *string               `json:"nextScheduledSyncAt"`
	LatestResult map[string]run.Counts `json:"latestResult,omitempty"`
	LatestStatus run.Status            `json:"latestExecutionStatus,omitempty"`
	RecordCount  map[string]int64      `json:"recordCount"`
	Checkpoint   json.RawMessage       `json:"checkpoint"`
}

func viewSyncStatus(y *run.SyncStatus) syncStatusView {
	v := syncStatusView{
		ID: y.ID, ConnectionID: y.ConnectionName, Name: y.Name, Variant: y.Variant, Type: y.Type, Status: y.Status, Frequency: orNull(y.Frequency),
		RecordCount: y.Records, Checkpoint: y.Checkpoint,
	}
	if v.Checkpoint == nil {
		v.Checkpoint = json.RawMessage("null")
	}
	if !y.NextAt.IsZero() {
		at := isoZ(y.NextAt)
		v.NextAt = &at
	}
	if y.Last != nil {
		v.LatestResult, v.LatestStatus = y.Last.Result, y.Last.Status
		if !y.Last.FinishedAt.IsZero() {
			v.FinishedAt = isoZ(y.Last.FinishedAt)
		}
	}
	return v
}

// syncList is * or a comma list of name and name::variant.
var syncList = input.Text{Required: true, Min: 1}

func (s *Server) syncStatus(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	list := q.String("syncs", syncList)
	sel := run.Selection{
		Integration: q.String("provider_config_key", input.IntegrationKey), ConnectionID: q.String("connection_id", input.Optional(input.ConnectionID)),
	}
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	if list != "*" {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return errs.New(http.StatusBadRequest, "invalid_body", `"syncs" must be * or a comma-separated list of names`)
			}
			sel.Syncs = append(sel.Syncs, run.ParseSyncName(name))
		}
	}
	all, err := s.opts.Syncs.Statuses(r.Context(), r.principal.Environment, sel)
	if err != nil {
		return err
	}
	views := make([]syncStatusView, len(all))
	for i := range all {
		views[i] = viewSyncStatus(&all[i])
	}
	return writeJSON(w, http.StatusOK, map[string]any{"syncs": views})
}

// frequencyText is the syntax of a frequency; what passes may still be refused by its meaning.
var frequencyText = input.Text{Required: true, Max: 255, Pattern: regexp.MustCompile(
	`^(every )?((\d+)? ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)|month|week|half day|half hour|quarter hour)$`)}

func (s *Server) setSyncFrequency(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	name := run.SyncName{Name: b.String("sync_name", input.Name), Variant: b.String("sync_variant", input.Optional(input.Name))}
	if name.Variant == "" {
		name.Variant = record.Base
	}
	key, connectionID := b.String("provider_config_key", input.IntegrationKey), b.String("connection_id", input.ConnectionID)
	rule := frequencyText
	rule.Nullable = b.Has("frequency") // null is a value here, but it must be given
	rule.Required = !rule.Nullable
	var frequency *string
	if text := b.String("frequency", rule); text != "" {
		frequency = &text
	}
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	shown, err := s.opts.Syncs.SetFrequency(r.Context(), r.principal.Environment, key, connectionID, name, frequency)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"frequency": shown})
}

// variantRequest is what both routes of variants read, in the order of the wire contract: body, path, query.
type variantRequest struct {
	key, connectionID string
	name              run.SyncName
}

func (s *Server) readVariant(r *request) (variantRequest, error) {
	body, err := s.body(r)
	if err != nil {
		return variantRequest{}, err
	}
	b := input.Body(body)
	in := variantRequest{key: b.String("provider_config_key", input.IntegrationKey), connectionID: b.String("connection_id", input.ConnectionID)}
	if err := b.Strict().Err("invalid_body"); err != nil {
		return in, err
	}
	p := input.Params(r.params)
	in.name = run.SyncName{Name: p.String("name", input.Name), Variant: p.String("variant", input.Name)}
	if err := p.Err("invalid_uri_params"); err != nil {
		return in, err
	}
	if err := noQuery(r); err != nil {
		return in, err
	}
	if strings.EqualFold(in.name.Variant, record.Base) {
		return in, errs.New(http.StatusBadRequest, "invalid_variant", "The variant base always exists and can't be created or deleted")
	}
	return in, nil
}

func (s *Server) createVariant(w http.ResponseWriter, r *request) error {
	in, err := s.readVariant(r)
	if err != nil {
		return err
	}
	created, err := s.opts.Syncs.CreateVariant(r.Context(), r.principal.Environment, in.key, in.connectionID, in.name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"id": created.ID, "name": created.Name, "variant": created.Variant})
}

func (s *Server) deleteVariant(w http.ResponseWriter, r *request) error {
	in, err := s.readVariant(r)
	if err != nil {
		return err
	}
	if err := s.opts.Syncs.DeleteVariant(r.Context(), r.principal.Environment, in.key, in.connectionID, in.name); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, success)
}
