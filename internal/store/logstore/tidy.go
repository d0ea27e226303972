package logstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

const (
	// sweepEvery is how often lost operations are closed and old days dropped.
	sweepEvery = 10 * time.Minute
	// restEvery is how often files that are not used are closed.
	restEvery = time.Minute
)

func (s *Store) runTidying(ctx context.Context) {
	sweep, rest := time.NewTicker(sweepEvery), time.NewTicker(restEvery)
	defer sweep.Stop()
	defer rest.Stop()
	s.sweep(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			s.sweep(ctx)
		case <-rest.C:
			if err := s.days.rest(s.opts.Now()); err != nil {
				s.opts.Logger.WarnContext(ctx, "close files of the logs", "err", err)
			}
		}
	}
}

func (s *Store) sweep(ctx context.Context) {
	if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
		s.opts.Logger.ErrorContext(ctx, "tidy up the logs", "err", err)
	}
}

// oldest is the oldest day that is kept.
func (s *Store) oldest() day { return dayOf(s.opts.Now().Add(-s.opts.Retention)) }

// Sweep closes operations that nobody closed in their time, drops days that are too old or too large, and makes tomorrow's.
func (s *Store) Sweep(ctx context.Context) error {
	now := s.opts.Now()
	err := errors.Join(s.retain(ctx), s.days.prepare(ctx, dayOf(now)), s.days.prepare(ctx, dayOf(now.Add(dayLength))))
	return errors.Join(err, s.expire(ctx, now))
}

func (s *Store) retain(ctx context.Context) error {
	kept, err := s.days.list(ctx)
	if err != nil {
		return err
	}
	var all []error
	drop := func(d day, why string) {
		if err := s.days.drop(ctx, d); err != nil {
			all = append(all, fmt.Errorf("drop the logs of %s: %w", d, err))
			return
		}
		s.opts.Logger.InfoContext(ctx, "dropped a day of logs", "day", d, "why", why)
	}
	oldest, today := s.oldest(), dayOf(s.opts.Now())
	for len(kept) > 0 && kept[0] < oldest {
		drop(kept[0], "older than the retention")
		kept = kept[1:]
	}
	if s.opts.MaxBytes == 0 {
		return errors.Join(all...)
	}
	sizes, total, err := s.sizes(ctx, kept)
	if err != nil {
		return errors.Join(append(all, err)...)
	}
	for i, d := range kept {
		if total <= s.opts.MaxBytes || d >= today {
			break
		}
		drop(d, "more than the size limit")
		total -= sizes[i]
	}
	return errors.Join(all...)
}

func (s *Store) sizes(ctx context.Context, kept []day) (sizes []int64, total int64, err error) {
	sizes = make([]int64, len(kept))
	for i, d := range kept {
		if sizes[i], err = s.days.size(ctx, d); err != nil {
			return nil, 0, fmt.Errorf("size of the logs of %s: %w", d, err)
		}
		total += sizes[i]
	}
	return sizes, total, nil
}

// Size is how many bytes the logs take on disk.
func (s *Store) Size(ctx context.Context) (int64, error) {
	kept, err := s.days.list(ctx)
	if err != nil {
		return 0, err
	}
	_, total, err := s.sizes(ctx, kept)
	return total, err
}

var (
	openOperations = engine.SQL(`SELECT num, record FROM logs_operations
		WHERE day = $1 AND state IN ('waiting', 'running') AND expires_at < $2 AND num > $3 ORDER BY num LIMIT 500`)
	expireOperation = engine.SQL(`UPDATE logs_operations SET state = $3, record = $4, written_at = $5
		WHERE day = $1 AND num = $2 AND state IN ('waiting', 'running') AND written_at <= $6`)
)

type openOperation struct {
	num    int64
	record []byte
}

func (s *Store) expire(ctx context.Context, now time.Time) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	kept, err := s.days.list(ctx)
	if err != nil {
		return err
	}
	for _, d := range kept {
		for after := int64(0); after >= 0; {
			if after, err = s.expireSome(ctx, d, now, after); err != nil {
				return fmt.Errorf("close lost operations of %s: %w", d, err)
			}
		}
	}
	return nil
}

// expireSome closes up to 500 operations of a day whose number is above after, and gives the last one's, -1 when there are no
// more. One that was written since it was read is left as it is.
func (s *Store) expireSome(ctx context.Context, d day, now time.Time, after int64) (int64, error) {
	var open []openOperation
	started := engine.Micros(s.opts.Now())
	err := s.days.read(ctx, d, func(ctx context.Context, db *engine.DB) error {
		var err error
		open, err = engine.Collect(func(row engine.Scanner) (openOperation, error) {
			var o openOperation
			err := row.Scan(&o.num, &o.record)
			return o, err
		})(db.Query(ctx, openOperations, int64(d), engine.Micros(now), after))
		return err
	})
	if errors.Is(err, errNoDay) || err == nil && len(open) == 0 {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	err = s.days.write(ctx, d, func(ctx context.Context, db *engine.DB) error {
		for _, o := range open {
			r, err := s.codec.record(o.record)
			if err != nil {
				return err
			}
			r = expired(r, now)
			row, err := s.codec.encode(r)
			if err != nil {
				return err
			}
			written := engine.Micros(s.opts.Now())
			if _, err := db.Exec(ctx, expireOperation, int64(d), o.num, string(r.State), row, written, started); err != nil {
				return err
			}
		}
		return nil
	})
	return open[len(open)-1].num, err
}

// expired is how an operation is closed that nobody has closed in its time.
func expired(r oplog.Record, now time.Time) oplog.Record {
	end := r.ExpiresAt
	r.State, r.UpdatedAt, r.EndedAt = oplog.Timeout, now, &end
	r.Error = &oplog.Failure{
		Name: "operation_expired", Message: "The operation did not end in time. The process that ran it may have been stopped.",
	}
	if r.Kind == oplog.CreateConnection { // somebody closed the window: nothing went wrong
		r.State, r.Error = oplog.Cancelled, nil
	}
	if r.StartedAt != nil {
		r.DurationMs = end.Sub(*r.StartedAt).Milliseconds()
	}
	return r
}
