package record

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long records are kept. Both are the wire contract's.
const (
	// PruneAfter is how long a payload stays after the last change of its record.
	PruneAfter = 30 * 24 * time.Hour
	// DeleteAfter is how long a stream stays that no run uses.
	DeleteAfter = 60 * 24 * time.Hour
)

// PruneResult is what Prune did.
type PruneResult struct {
	Count int
	// More: something was pruned, and the last of it is not the record that the cursor names. The next call may find nothing.
	More bool
}

// Prune drops the payloads of up to limit records, oldest change first, up to the record that until names. The records stay
// in the stream, with their times and as their ids alone.
func (s *Service) Prune(ctx context.Context, stream Stream, until Cursor, limit int) (PruneResult, error) {
	var result PruneResult
	var last Row
	err := s.withStream(ctx, stream, func(state StreamState) error {
		for result.Count < limit {
			part := min(limit-result.Count, MaxBatch)
			pruned, err := s.prune(ctx, state.ID, until.micros(), part)
			if err != nil {
				return err
			}
			result.Count += pruned.Count
			if pruned.Count > 0 {
				last = pruned.Last
			}
			if pruned.Count < part {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return PruneResult{}, fmt.Errorf("prune %s of connection %d: %w", stream.Model, stream.ConnectionID, err)
	}
	result.More = result.Count > 0 && stream.cursor(&last) != until
	return result, nil
}

func (s *Service) prune(ctx context.Context, streamID, until int64, limit int) (pruned Pruned, err error) {
	err = s.opts.Store.Write(ctx, func(ctx context.Context) error {
		state, err := s.opts.Store.LockStream(ctx, streamID)
		if err != nil {
			return err
		}
		// What is written later gets a time after the clock, and has a payload.
		until := min(until, state.Clock)
		if pruned, err = s.opts.Store.Prune(ctx, streamID, state.PrunedTo, until, s.now(), limit); err != nil {
			return err
		}
		to := until
		if pruned.Count == limit {
			to = pruned.Last.Updated
		}
		if to <= state.PrunedTo {
			return nil
		}
		state.PrunedTo = to
		state.Size -= pruned.Size
		state.Version++
		return s.opts.Store.SaveStream(ctx, state)
	})
	return pruned, err
}

// DeleteModel removes everything that was in a stream when it was called, in transactions of MaxBatch records. The stream's
// clock goes on, so that what is saved later comes after every cursor that was handed out.
func (s *Service) DeleteModel(ctx context.Context, stream Stream) (deleted int, err error) {
	err = s.withStream(ctx, stream, func(state StreamState) error {
		n, err := s.empty(ctx, state)
		deleted += n
		return err
	})
	if err != nil {
		return deleted, fmt.Errorf("empty %s of connection %d: %w", stream.Model, stream.ConnectionID, err)
	}
	return deleted, nil
}

func (s *Service) empty(ctx context.Context, state StreamState) (deleted int, err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return deleted, err
		}
		var removed Removed
		err := s.opts.Store.Write(ctx, func(ctx context.Context) error {
			locked, err := s.opts.Store.LockStream(ctx, state.ID)
			if err != nil {
				return err
			}
			if removed, err = s.opts.Store.Remove(ctx, state.ID, state.Clock, MaxBatch); err != nil || removed.Count == 0 {
				return err
			}
			locked.Live -= removed.Live
			locked.Size -= removed.Size
			locked.Version++
			return s.opts.Store.SaveStream(ctx, locked)
		})
		deleted += removed.Count
		if err != nil || removed.Count < MaxBatch {
			return deleted, err
		}
	}
}

// DeleteConnection removes all records and checkpoints of a connection. It is called after the connection is gone, outside of
// the transaction that removed it, and can be called again.
func (s *Service) DeleteConnection(ctx context.Context, environmentID, connectionID int64) (deleted int, err error) {
	streams, err := s.opts.Store.Streams(ctx, environmentID, connectionID)
	if err != nil {
		return 0, fmt.Errorf("delete the records of connection %d: %w", connectionID, err)
	}
	for _, state := range streams {
		n, err := s.drop(ctx, state)
		deleted += n
		if err != nil {
			return deleted, fmt.Errorf("delete %s of connection %d: %w", state.Model, connectionID, err)
		}
	}
	return deleted, s.opts.Checkpoints.DeleteConnection(ctx, environmentID, connectionID)
}

// drop empties a stream and removes it, unless something was saved meanwhile.
func (s *Service) drop(ctx context.Context, state StreamState) (int, error) {
	n, err := s.empty(ctx, state)
	if err == nil {
		err = s.opts.Store.Write(ctx, func(ctx context.Context) error {
			if _, err := s.opts.Store.LockStream(ctx, state.ID); err != nil {
				return err
			}
			_, err := s.opts.Store.DeleteStream(ctx, state.ID)
			return err
		})
	}
	if errors.Is(err, ErrNoStream) {
		return n, nil // somebody else was faster
	}
	return n, err
}

// Touch notes that a run used a stream, even if it wrote nothing, so that DeleteIdle leaves it alone.
func (s *Service) Touch(ctx context.Context, stream Stream) error {
	return s.withStream(ctx, stream, func(state StreamState) error {
		now := s.now()
		if now-state.Touched < touchEvery {
			return nil
		}
		return s.opts.Store.Write(ctx, func(ctx context.Context) error {
			locked, err := s.opts.Store.LockStream(ctx, state.ID)
			if err != nil {
				return err
			}
			locked.Touched = max(locked.Touched, now)
			return s.opts.Store.SaveStream(ctx, locked)
		})
	})
}

// sweepStreams is how many streams a sweep looks up at once.
const sweepStreams = 100

// PruneOld drops the payloads of up to limit records that were not changed for PruneAfter, and reports how many there were;
// fewer than limit means that there are no more.
func (s *Service) PruneOld(ctx context.Context, now time.Time, limit int) (pruned int, err error) {
	cutoff := micros(now.Add(-PruneAfter))
	after := int64(0)
	for pruned < limit {
		streams, err := s.opts.Store.Prunable(ctx, after, cutoff, sweepStreams)
		if err != nil {
			return pruned, fmt.Errorf("find records to prune: %w", err)
		}
		if len(streams) == 0 {
			break
		}
		for _, state := range streams {
			after = state.ID
			for pruned < limit {
				part := min(limit-pruned, MaxBatch)
				one, err := s.prune(ctx, state.ID, cutoff-1, part)
				if err != nil && !errors.Is(err, ErrNoStream) {
					return pruned, fmt.Errorf("prune %s of connection %d: %w", state.Model, state.ConnectionID, err)
				}
				pruned += one.Count
				if one.Count < part {
					break
				}
			}
		}
	}
	return pruned, nil
}

// DeleteIdle removes up to limit streams that no run used for DeleteAfter, and reports how many there were.
func (s *Service) DeleteIdle(ctx context.Context, now time.Time, limit int) (streams, records int, err error) {
	idle, err := s.opts.Store.Idle(ctx, micros(now.Add(-DeleteAfter)), limit)
	if err != nil {
		return 0, 0, fmt.Errorf("find idle streams: %w", err)
	}
	for _, state := range idle {
		n, err := s.drop(ctx, state)
		records += n
		if err != nil {
			return streams, records, fmt.Errorf("delete %s of connection %d: %w", state.Model, state.ConnectionID, err)
		}
		streams++
	}
	return streams, records, nil
}

// withStream calls fn with a stream if it exists, and takes its disappearance for an end.
func (s *Service) withStream(ctx context.Context, stream Stream, fn func(state StreamState) error) error {
	state, err := s.opts.Store.FindStream(ctx, stream)
	if err == nil {
		err = fn(state)
	}
	if errors.Is(err, ErrNoStream) {
		return nil
	}
	return err
}
