package record

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/errs"
)

// ErrNoWindow is returned by TrackDeletesEnd without a TrackDeletesStart before it.
var ErrNoWindow = errs.New(http.StatusBadRequest, "no_track_deletes_window",
	"No track deletes starting point found: call trackDeletesStart before trackDeletesEnd")

// window is what the checkpoint of an open window holds.
type window struct {
	Generation int64 `json:"generation"`
}

// windowKey names the window of a model below the checkpoint of its sync, so that a reset of the sync closes it too.
func windowKey(stream Stream, run Run) checkpoint.Key {
	return checkpoint.Key{
		EnvironmentID: stream.EnvironmentID, ConnectionID: stream.ConnectionID, Name: run.Checkpoint + ":trackDeletes:" + stream.Model,
	}
}

// TrackDeletesStart opens a window: what no run has from now until TrackDeletesEnd is deleted then. A window that is open
// stays as it is, so that it outlives runs that fail or are interrupted.
func (s *Service) TrackDeletesStart(ctx context.Context, stream Stream, run Run) error {
	key := windowKey(stream, run)
	err := s.opts.Store.Write(ctx, func(ctx context.Context) error {
		current, err := s.opts.Checkpoints.Get(ctx, key)
		if err != nil || current.Fields != nil {
			return err
		}
		fields, err := json.Marshal(window{run.Generation})
		if err != nil {
			return err
		}
		_, err = s.opts.Checkpoints.Save(ctx, key, fields, current.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("open the window %s: %w", key.Name, err)
	}
	return nil
}

// TrackDeletesEnd marks every live record as deleted that no run has had since the window was opened, closes the window, and
// gives the external ids of what it deleted. They count for the run that calls it. Nothing is deleted without a window, see
// ErrNoWindow. It works in transactions of MaxBatch records; stopped in between it can be called again.
func (s *Service) TrackDeletesEnd(ctx context.Context, stream Stream, run Run) (deleted []string, err error) {
	key := windowKey(stream, run)
	current, err := s.opts.Checkpoints.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the window %s: %w", key.Name, err)
	}
	if current.Fields == nil {
		return nil, ErrNoWindow
	}
	var open window
	if err := json.Unmarshal(current.Fields, &open); err != nil {
		return nil, fmt.Errorf("read the window %s: %w", key.Name, err)
	}
	if deleted, err = s.deleteUnseen(ctx, stream, open.Generation); err != nil {
		return deleted, err
	}
	if _, err := s.opts.Checkpoints.Clear(ctx, key, current.Version); err != nil {
		return deleted, fmt.Errorf("close the window %s: %w", key.Name, err)
	}
	return deleted, nil
}

// DeletePrevious marks every live record as deleted that neither this run nor a later one has had, and gives their ids.
func (s *Service) DeletePrevious(ctx context.Context, stream Stream, run Run) ([]string, error) {
	return s.deleteUnseen(ctx, stream, run.Generation)
}

func (s *Service) deleteUnseen(ctx context.Context, stream Stream, generation int64) ([]string, error) {
	deleted := []string{}
	err := s.withStream(ctx, stream, func(state StreamState) error {
		after := ""
		for {
			rows, err := s.opts.Store.Unseen(ctx, state.ID, after, generation, MaxBatch)
			if err != nil || len(rows) == 0 {
				return err
			}
			after = rows[len(rows)-1].ExternalID
			gone, err := s.bury(ctx, state.ID, rows, generation)
			if err != nil {
				return err
			}
			deleted = append(deleted, gone...)
		}
	})
	if err != nil {
		return deleted, fmt.Errorf("delete what is gone from %s of connection %d: %w", stream.Model, stream.ConnectionID, err)
	}
	return deleted, nil
}

// bury deletes the rows that still are as they were found, in one transaction.
func (s *Service) bury(ctx context.Context, streamID int64, rows []Row, generation int64) (deleted []string, err error) {
	err = s.opts.Store.Write(ctx, func(ctx context.Context) error {
		deleted = nil
		state, err := s.opts.Store.LockStream(ctx, streamID)
		if err != nil {
			return err
		}
		now := s.now()
		for i := range rows {
			now = max(now, state.Clock+1)
			state.Clock = now
			rows[i].Updated, rows[i].Deleted = now, now
		}
		gone, err := s.opts.Store.DeleteUnseen(ctx, rows, generation)
		if err != nil || len(gone) == 0 {
			return err
		}
		for i := range gone {
			deleted = append(deleted, gone[i].ExternalID)
		}
		state.Live -= int64(len(gone))
		state.Version++
		state.Touched = max(state.Touched, now)
		return s.opts.Store.SaveStream(ctx, state)
	})
	return deleted, err
}
