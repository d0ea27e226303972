package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// SyncStatus is how an instance is doing.
type SyncStatus struct {
	Sync

	// Type is INCREMENTAL or INITIAL.
	Type string
	// Status is RUNNING, SUCCESS, ERROR, PAUSED or STOPPED.
	Status string
	// Frequency is the override or the function's own.
	Frequency string
	// Last is the last run; nil when there was none.
	Last *Run
	// NextAt is when the next run is due; zero when none is.
	NextAt time.Time
	// Records counts the live records by model, without the variant.
	Records map[string]int64
	// Checkpoint is an object; nil for none.
	Checkpoint json.RawMessage
}

// Statuses tells about the selected instances. Names that match none are left out; an unknown integration has none.
func (s *Service) Statuses(ctx context.Context, e tenant.Environment, sel Selection) ([]SyncStatus, error) {
	i, err := s.opts.Integrations.Get(ctx, e.ID, sel.Integration)
	unknown := errors.Is(err, integration.ErrNotFound)
	if err != nil && !unknown {
		return nil, err
	}
	filter := SyncFilter{}
	switch {
	case unknown && sel.ConnectionID == "":
		return nil, nil
	case unknown:
		return nil, errConnectionNotFound
	case sel.ConnectionID != "":
		c, err := s.opts.Connections.Get(ctx, i, sel.ConnectionID)
		if errors.Is(err, connection.ErrNotFound) {
			return nil, errConnectionNotFound.Because(err)
		}
		if err != nil {
			return nil, err
		}
		filter.ConnectionID = c.ID
	}
	filter.IntegrationID = i.ID
	all, err := s.store.Syncs(ctx, e.ID, filter)
	if err != nil {
		return nil, fmt.Errorf("list syncs: %w", err)
	}
	if len(sel.Syncs) > 0 {
		all = slices.DeleteFunc(all, func(y Sync) bool { return !slices.Contains(sel.Syncs, SyncName{y.Name, y.Variant}) })
	}
	return s.statuses(ctx, i, all)
}

var errConnectionNotFound = errs.New(http.StatusBadRequest, "invalid_body", "Connection not found")

func (s *Service) statuses(ctx context.Context, i *integration.Integration, all []Sync) ([]SyncStatus, error) {
	ids, keys := make([]string, len(all)), make([]string, len(all))
	for n := range all {
		ids[n], keys[n] = all[n].ID, all[n].schedule()
	}
	last, err := s.store.LastRuns(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read the last runs: %w", err)
	}
	found, err := s.queue.Schedules(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	schedules := make(map[string]queue.Schedule, len(found))
	for n := range found {
		schedules[found[n].Key] = found[n]
	}
	counts := map[int64][]record.Count{} // by connection
	out := make([]SyncStatus, 0, len(all))
	for n := range all {
		y := &all[n]
		schedule, ok := schedules[y.schedule()]
		if !ok {
			return nil, fmt.Errorf("sync %s has no schedule", y.ID)
		}
		if _, read := counts[y.ConnectionID]; !read {
			if counts[y.ConnectionID], err = s.opts.Records.Counts(ctx, y.EnvironmentID, y.ConnectionID); err != nil {
				return nil, err
			}
		}
		status := SyncStatus{Sync: *y, Type: "INITIAL"}
		if r, ran := last[y.ID]; ran {
			status.Last = &r
			if r.Type == Incremental {
				status.Type = string(Incremental)
			}
		}
		status.Status = statusOf(status.Last, schedule.State)
		if schedule.State == queue.ScheduleStarted {
			status.NextAt = schedule.NextAt
		}
		if err := s.describe(ctx, i, &status, counts[y.ConnectionID]); err != nil {
			return nil, err
		}
		out = append(out, status)
	}
	return out, nil
}

// statusOf is the one word for an instance (wire contract): a run that goes on wins over a pause.
func statusOf(last *Run, state queue.ScheduleState) string {
	switch {
	case last != nil && last.Status == Running:
		return "RUNNING"
	case state == queue.SchedulePaused:
		return "PAUSED"
	case state != queue.ScheduleStarted:
		return "STOPPED"
	case last != nil && last.Status == Stopped:
		return "ERROR"
	}
	return "SUCCESS"
}

// describe adds what the function and the records tell.
func (s *Service) describe(ctx context.Context, i *integration.Integration, status *SyncStatus, counts []record.Count) error {
	status.Frequency, status.Records = status.Sync.Frequency, map[string]int64{}
	f, err := s.opts.Functions.Get(ctx, i, function.Sync, status.Name)
	switch {
	case errors.Is(err, function.ErrNotFound):
	case err != nil:
		return err
	default:
		if status.Frequency == "" {
			status.Frequency = f.Frequency
		}
		for _, count := range counts {
			for _, model := range f.Models {
				if count.Model == record.FullModel(model, status.Variant) {
					status.Records[model] = count.Live
				}
			}
		}
	}
	key := checkpoint.Key{EnvironmentID: status.EnvironmentID, ConnectionID: status.ConnectionID, Name: status.checkpoint()}
	kept, err := s.opts.Checkpoints.Get(ctx, key)
	status.Checkpoint = kept.Fields
	return err
}
