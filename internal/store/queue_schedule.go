package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// gridFrom is the first point of a schedule's grid that is not before a time. Integers divide towards zero, and no time is
// before the anchor.
func gridFrom(period, time string) string {
	return `anchor + ((` + time + ` - anchor + ` + period + ` - 1) / ` + period + `) * ` + period
}

var (
	insertSchedule = engine.SQL(`INSERT INTO schedules (queue, kind, environment_id, priority, args, lock_key, lock_limit, group_key, group_limit,
			max_attempts, timeout, key, period, anchor, next_at, state, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15, $14, $14)
		ON CONFLICT (key) DO NOTHING`)
	updateSchedule = engine.SQL(`UPDATE schedules SET queue = $1, kind = $2, environment_id = $3, priority = $4, args = $5, lock_key = $6,
			lock_limit = $7, group_key = $8, group_limit = $9, max_attempts = $10, timeout = $11, updated_at = $14,
			next_at = CASE WHEN period = $13 THEN next_at ELSE ` + gridFrom("$13", "$14") + ` END, period = $13
		WHERE key = $12`)
	restartSchedule = engine.SQL(`UPDATE schedules SET anchor = $2, next_at = $2, created_at = $2, updated_at = $2, state = $3,
			last_job_id = 0, last_job_state = 0
		WHERE id = $1`)
	schedulesByKey = engine.SQL(`SELECT ` + jobSpec + `, id, key, state, period, anchor, next_at, last_job_id, last_job_state, created_at, updated_at
		FROM schedules WHERE key {in $1}`)
	setScheduleState  = engine.SQL(`UPDATE schedules SET state = $2, updated_at = $3 WHERE id = $1`)
	letGoOfJob        = engine.SQL(`UPDATE schedules SET last_job_state = $2 WHERE id = $1 AND last_job_state = 1`)
	setScheduleJob    = engine.SQL(`UPDATE schedules SET last_job_id = $2, last_job_state = 1, updated_at = $3 WHERE id = $1`)
	setSchedulePeriod = engine.SQL(`UPDATE schedules SET updated_at = $3, next_at = ` + gridFrom("$2", "$3") + `, period = $2
		WHERE id = $1 AND period <> $2`)
)

// PutSchedule implements queue.Store.
func (q Queue) PutSchedule(ctx context.Context, now time.Time, s queue.NewSchedule) error {
	state := queue.ScheduleStarted
	if s.Paused {
		state = queue.SchedulePaused
	}
	args := append(specArgs(s.Spec), s.Key, s.Period.Microseconds(), engine.Micros(now))
	return q.db.Write(ctx, func(ctx context.Context) error {
		if n, err := q.db.Exec(ctx, insertSchedule, append(args, state)...); err != nil || n > 0 {
			return err
		}
		if _, err := q.db.Exec(ctx, updateSchedule, args...); err != nil { // and this locks it
			return err
		}
		found, err := q.schedule(ctx, s.Key)
		if err != nil || found.State != queue.ScheduleDeleted {
			return err
		}
		_, err = q.db.Exec(ctx, restartSchedule, found.ID, engine.Micros(now), state)
		return err
	})
}

// SchedulesByKey implements queue.Store.
func (q Queue) SchedulesByKey(ctx context.Context, keys []string) ([]queue.Schedule, error) {
	all, err := engine.Collect(scanSchedule)(q.db.Query(ctx, schedulesByKey, engine.List[string](keys)))
	kept := all[:0]
	for _, s := range all {
		if s.State != queue.ScheduleDeleted {
			kept = append(kept, s)
		}
	}
	return kept, err
}

// SetState implements queue.Store.
func (q Queue) SetState(ctx context.Context, now time.Time, key string, state queue.ScheduleState) (done queue.Cancellation, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		done = queue.Cancellation{}
		s, err := q.lockSchedule(ctx, key, state == queue.ScheduleDeleted)
		if err != nil || s.State == state {
			return err
		}
		if _, err := q.db.Exec(ctx, setScheduleState, s.ID, state, engine.Micros(now)); err != nil {
			return err
		}
		if s.LastState != queue.LastActive || state == queue.ScheduleStarted {
			return nil
		}
		if state == queue.ScheduleDeleted {
			done, err = q.detach(ctx, now, s)
			return err
		}
		done, _, err = q.remove(ctx, now, s.LastJob)
		return err
	})
	return done, err
}

// SetPeriod implements queue.Store.
func (q Queue) SetPeriod(ctx context.Context, now time.Time, key string, period time.Duration) error {
	return q.db.Write(ctx, func(ctx context.Context) error {
		s, err := q.lockSchedule(ctx, key, false)
		if err == nil {
			_, err = q.db.Exec(ctx, setSchedulePeriod, s.ID, period.Microseconds(), engine.Micros(now))
		}
		return err
	})
}

// Trigger implements queue.Store.
func (q Queue) Trigger(
	ctx context.Context, now time.Time, key string, args *string, replace bool,
) (id queue.JobID, done queue.Cancellation, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		done = queue.Cancellation{}
		s, err := q.lockSchedule(ctx, key, replace)
		if err != nil {
			return err
		}
		if s.LastState == queue.LastActive {
			if !replace {
				return queue.ErrAlreadyRunning
			}
			if done, err = q.detach(ctx, now, s); err != nil {
				return err
			}
		}
		job := queue.NewJob{Spec: s.Spec, RunAt: now}
		if args != nil {
			job.Args = *args
		}
		if id, _, err = q.insert(ctx, now, job, s.ID); err != nil {
			return err
		}
		done.Wake = append(done.Wake, s.Queue)
		_, err = q.db.Exec(ctx, setScheduleJob, s.ID, id, engine.Micros(now))
		return err
	})
	return id, done, err
}

// detach cancels a schedule's unfinished job; if that runs, the schedule lets go of it.
func (q Queue) detach(ctx context.Context, now time.Time, s queue.Schedule) (queue.Cancellation, error) {
	done, err := q.drop(ctx, now, s.LastJob, flagAndDetach)
	if err != nil {
		return done, err
	}
	_, err = q.db.Exec(ctx, letGoOfJob, s.ID, queue.LastCancelled) // unless removing the job has done so
	return done, err
}

// lockSchedule reads a schedule for a change. Whoever means to cancel its running job must have that job's row first.
func (q Queue) lockSchedule(ctx context.Context, key string, withJob bool) (queue.Schedule, error) {
	s, err := q.schedule(ctx, key)
	if err == nil && q.db.Postgres() {
		if withJob && s.LastState == queue.LastActive {
			if _, err := q.db.Exec(ctx, lockRunningJob, s.LastJob); err != nil {
				return s, err
			}
		}
		if err := q.lockSchedules(ctx, engine.List[int64]{s.ID}); err != nil {
			return s, err
		}
		s, err = q.schedule(ctx, key) // what it is now that it can't change
	}
	if err == nil && s.State == queue.ScheduleDeleted {
		err = queue.ErrNotFound
	}
	return s, err
}

var lockRunningJob = engine.SQLPair(`SELECT 1`, `SELECT id FROM jobs WHERE id = $1 AND state = 2 FOR UPDATE`)

// schedule reads a schedule, deleted or not.
func (q Queue) schedule(ctx context.Context, key string) (queue.Schedule, error) {
	s, err := scanSchedule(q.db.QueryRow(ctx, schedulesByKey, engine.List[string]{key}))
	if errors.Is(err, sql.ErrNoRows) {
		return s, queue.ErrNotFound
	}
	return s, err
}

func scanSchedule(row engine.Scanner) (queue.Schedule, error) {
	var s queue.Schedule
	var timeout, period, anchor, nextAt, createdAt, updatedAt int64
	err := row.Scan(append(specScan(&s.Spec, &timeout),
		&s.ID, &s.Key, &s.State, &period, &anchor, &nextAt, &s.LastJob, &s.LastState, &createdAt, &updatedAt)...)
	s.Timeout, s.Period = micros(timeout), micros(period)
	s.Anchor, s.NextAt = engine.Time(anchor), engine.Time(nextAt)
	s.CreatedAt, s.UpdatedAt = engine.Time(createdAt), engine.Time(updatedAt)
	return s, err
}
