package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

var (
	whatIsDue = engine.SQL(`SELECT (SELECT run_at FROM jobs WHERE state = 0 ORDER BY run_at LIMIT 1),
		(SELECT lease_until FROM jobs WHERE state = 2 ORDER BY lease_until LIMIT 1),
		(SELECT next_at FROM schedules WHERE state = 1 AND last_job_state <> 1 ORDER BY next_at LIMIT 1),
		EXISTS (SELECT 1 FROM jobs WHERE state = 1)`)

	// MATERIALIZED keeps PostgreSQL from running the part with the limit and the locks more than once.
	promoteJobs = engine.SQL(`WITH due AS MATERIALIZED (
			SELECT id, queue, priority, environment_id, run_at FROM jobs WHERE state = 0 AND run_at <= $1 ORDER BY run_at LIMIT $2 {skip locked}
		), placed AS MATERIALIZED (
			SELECT due.id, ` + jobTail("due.queue", "due.priority", "due.environment_id") + `
				+ row_number() OVER (PARTITION BY due.queue, due.priority, due.environment_id ORDER BY due.run_at, due.id) - 1 AS turn FROM due
		)
		UPDATE jobs SET state = 1, turn = placed.turn FROM placed WHERE jobs.id = placed.id RETURNING queue`)

	takeBackJobs = engine.SQL(`WITH expired AS MATERIALIZED (
			SELECT id FROM jobs WHERE state = 2 AND lease_until <= $1 ORDER BY lease_until LIMIT $2 {skip locked}
		)
		UPDATE jobs SET state = 1, attempt = attempt - 1, lost = lost + 1, lease = 0, lease_until = 0,
			turn = ` + jobHead("jobs.queue", "jobs.priority") + `
		WHERE id IN (SELECT id FROM expired) RETURNING ` + jobNames)

	dueSchedules = engine.SQL(`SELECT id FROM schedules WHERE state = 1 AND last_job_state <> 1 AND next_at <= $1
		ORDER BY next_at LIMIT $2 {skip locked}`)
	fireSchedules = engine.SQL(`INSERT INTO jobs (queue, kind, environment_id, priority, args, lock_key, lock_limit, group_key, group_limit,
			max_attempts, timeout, schedule_id, run_at, created_at, state, turn)
		SELECT s.queue, s.kind, s.environment_id, s.priority, s.args, s.lock_key, s.lock_limit, s.group_key, s.group_limit,
			s.max_attempts, s.timeout, s.id, $2, $2, 1, ` + jobTail("s.queue", "s.priority", "s.environment_id") + `
				+ row_number() OVER (PARTITION BY s.queue, s.priority, s.environment_id ORDER BY s.next_at, s.id) - 1
		FROM schedules s WHERE s.id {in $1} RETURNING queue`)
	// next_at moves past now at once, so that a job that ends in the microsecond it was due does not run twice.
	markSchedules = engine.SQL(`UPDATE schedules SET last_job_id = (SELECT j.id FROM jobs j WHERE j.schedule_id = schedules.id),
			last_job_state = 1, updated_at = $2, next_at = anchor + (($2 - anchor) / period + 1) * period
		WHERE id {in $1}`)
)

// Due implements queue.Store.
func (q Queue) Due(ctx context.Context) (due queue.Due, err error) {
	var times [3]sql.NullInt64
	if err := q.db.QueryRow(ctx, whatIsDue).Scan(&times[0], &times[1], &times[2], &due.Ready); err != nil {
		return queue.Due{}, err
	}
	for _, t := range times {
		if t.Valid {
			due.Next = earlier(due.Next, engine.Time(t.Int64))
		}
	}
	return due, nil
}

// Tick implements queue.Store.
func (q Queue) Tick(ctx context.Context, now time.Time, limit int) (ticked queue.Ticked, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		ticked = queue.Ticked{}
		taken, back, err := q.takeBack(ctx, now, limit)
		if err != nil {
			return err
		}
		promoted, err := engine.Collect(scanText)(q.db.Query(ctx, promoteJobs, engine.Micros(now), limit))
		if err != nil {
			return err
		}
		fired, err := q.fire(ctx, now, limit)
		if err != nil {
			return err
		}
		ticked.TakenBack, ticked.Promoted, ticked.Fired = taken, len(promoted), len(fired)
		ticked.More = max(ticked.TakenBack, ticked.Promoted, ticked.Fired) == limit
		ticked.Queues = slices.Concat(back, promoted, fired)
		slices.Sort(ticked.Queues)
		ticked.Queues = slices.Compact(ticked.Queues)
		return nil
	})
	return ticked, err
}

// takeBack makes running jobs ready whose leases end by before. Their places are open to those held, too: of the two, the one
// that the order puts first runs.
func (q Queue) takeBack(ctx context.Context, before time.Time, limit int) (taken int, queues []string, err error) {
	all, err := engine.Collect(scanGone)(q.db.Query(ctx, takeBackJobs, engine.Micros(before), limit))
	if err != nil || len(all) == 0 {
		return 0, nil, err
	}
	for i := range all {
		all[i].place = true
		queues = append(queues, all[i].queue)
	}
	_, wake, err := q.settle(ctx, before, all)
	return len(all), append(queues, wake...), err
}

// TakeBack implements queue.Store.
func (q Queue) TakeBack(ctx context.Context, limit int) (n int, err error) {
	endOfTime := time.UnixMicro(1<<63 - 1)
	err = q.db.Write(ctx, func(ctx context.Context) error {
		n, _, err = q.takeBack(ctx, endOfTime, limit)
		return err
	})
	return n, err
}

// fire inserts the jobs of due schedules.
func (q Queue) fire(ctx context.Context, now time.Time, limit int) ([]string, error) {
	ids, err := engine.Collect(func(row engine.Scanner) (id int64, err error) {
		err = row.Scan(&id)
		return id, err
	})(q.db.Query(ctx, dueSchedules, engine.Micros(now), limit))
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	queues, err := engine.Collect(scanText)(q.db.Query(ctx, fireSchedules, engine.List[int64](ids), engine.Micros(now)))
	if err != nil {
		return nil, err
	}
	_, err = q.db.Exec(ctx, markSchedules, engine.List[int64](ids), engine.Micros(now))
	return queues, err
}
