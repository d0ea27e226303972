package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Queue implements queue.Store.
//
// The states of a job are 0 waiting, 1 ready, 2 running, 3 held; they are literals in the texts because the partial indexes
// are found by them. Schedules have the numbers of queue.ScheduleState and queue.LastState.
//
// On PostgreSQL, locks are taken in one order: the row of a running job, the row of its schedule, the names (key and group) of
// jobs, any other job. What holds a name decides alone who of it runs, is held or is let go. Claims, ticks and renewals skip
// what is locked and wait for nothing.
type Queue struct{ db *engine.DB }

var _ queue.Store = Queue{}

// Queue gives the SQL of jobs and schedules.
func (s *Store) Queue() Queue { return Queue{s.core} }

// jobSpec is the columns of a queue.Spec, in jobs, jobs_dead and schedules; specScan reads them.
const jobSpec = `queue, kind, environment_id, priority, args, COALESCE(lock_key, ''), lock_limit, COALESCE(group_key, ''), group_limit,
	max_attempts, timeout`

// jobHead is the turn at the head of a line, jobTail the one after a tenant's last.
func jobHead(queue, priority string) string {
	return `COALESCE((SELECT h.turn FROM jobs h WHERE h.state = 1 AND h.queue = ` + queue + ` AND h.priority = ` + priority +
		` ORDER BY h.turn LIMIT 1), 0)`
}

func jobTail(queue, priority, tenant string) string {
	return `COALESCE((SELECT m.turn + 1 FROM jobs m WHERE m.state = 1 AND m.queue = ` + queue + ` AND m.priority = ` + priority +
		` AND m.environment_id = ` + tenant + ` ORDER BY m.turn DESC LIMIT 1), ` + jobHead(queue, priority) + `)`
}

const insertJob = `INSERT INTO jobs (queue, kind, environment_id, priority, args, lock_key, lock_limit, group_key, group_limit, max_attempts, timeout,
		unique_key, schedule_id, run_at, created_at, state, turn)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, `

var (
	// The cast hides the parameter from SQLite, which plans a statement anew at each run when a bare one is compared with a
	// column that some index does not have: that would double the cost of an insert.
	insertReadyJob = engine.SQL(insertJob + `1, ` + jobTail("$1", "$4", "CAST($3 AS BIGINT)") + `)
		ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING RETURNING id`)
	insertWaitingJob = engine.SQL(insertJob + `0, 0)
		ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL DO NOTHING RETURNING id`)
	uniqueJob   = engine.SQL(`SELECT id FROM jobs WHERE unique_key = $1`)
	jobsOfGroup = engine.SQL(`SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE group_key = $1 AND state IN (0, 1, 3) LIMIT $2) waiting`)
	getJob      = engine.SQL(`SELECT ` + jobSpec + `, COALESCE(unique_key, ''), state, attempt, lost, cancelled, run_at, created_at, last_error
		FROM jobs WHERE id = $1`)
	insertDeadJob = engine.SQL(`INSERT INTO jobs_dead (queue, kind, environment_id, priority, args, lock_key, lock_limit, group_key, group_limit,
			max_attempts, timeout, id, unique_key, attempt, lost, error, created_at, died_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`)
	listDeadJobs = engine.SQL(`SELECT ` + jobSpec + `, id, COALESCE(unique_key, ''), attempt, lost, error, created_at, died_at FROM jobs_dead
		WHERE environment_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`)
	exhumeJob = engine.SQL(`DELETE FROM jobs_dead WHERE environment_id = $1 AND id = $2
		RETURNING ` + jobSpec + `, id, COALESCE(unique_key, ''), attempt, lost, error, created_at, died_at`)
	pruneDeadByAge    = engine.SQL(`DELETE FROM jobs_dead WHERE died_at < $1`)
	pruneDeadByNumber = engine.SQL(`DELETE FROM jobs_dead WHERE died_at < (SELECT died_at FROM jobs_dead ORDER BY died_at DESC LIMIT 1 OFFSET $1)`)
	pruneSchedules    = engine.SQL(`DELETE FROM schedules WHERE state = 3 AND updated_at < $1`)
)

// Write, AfterCommit, Notify and Listen are those of the database.
func (q Queue) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	return q.db.Write(ctx, fn)
}

// AfterCommit implements queue.Store.
func (q Queue) AfterCommit(ctx context.Context, fn func()) { q.db.AfterCommit(ctx, fn) }

// Notify implements queue.Store.
func (q Queue) Notify(ctx context.Context, topic, payload string) error {
	return q.db.Notify(ctx, topic, payload)
}

// Listen implements queue.Store.
func (q Queue) Listen(topic string, deliver func(payload string)) (cancel func()) {
	return q.db.Listen(topic, deliver)
}

// Insert implements queue.Store.
func (q Queue) Insert(ctx context.Context, now time.Time, job queue.NewJob) (queue.JobID, bool, error) {
	return q.insert(ctx, now, job, 0)
}

func (q Queue) insert(ctx context.Context, now time.Time, job queue.NewJob, schedule int64) (id queue.JobID, fresh bool, err error) {
	statement := insertReadyJob
	if job.RunAt.After(now) {
		statement = insertWaitingJob
	}
	err = q.db.Write(ctx, func(ctx context.Context) error {
		args := append(specArgs(job.Spec), orNull(job.Unique), sql.NullInt64{Int64: schedule, Valid: schedule != 0},
			engine.Micros(job.RunAt), engine.Micros(now))
		err := q.db.QueryRow(ctx, statement, args...).Scan(&id)
		if fresh = err == nil; fresh || !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return q.db.QueryRow(ctx, uniqueJob, job.Unique).Scan(&id)
	})
	return id, fresh, err
}

// NotStarted implements queue.Store.
func (q Queue) NotStarted(ctx context.Context, group string, most int) (n int, err error) {
	err = q.db.QueryRow(ctx, jobsOfGroup, group, most).Scan(&n)
	return n, err
}

// Job implements queue.Store.
func (q Queue) Job(ctx context.Context, id queue.JobID) (queue.Info, error) {
	info := queue.Info{ID: id}
	var state int
	var timeout, runAt, createdAt int64
	err := q.db.QueryRow(ctx, getJob, id).Scan(append(specScan(&info.Spec, &timeout),
		&info.Unique, &state, &info.Attempt, &info.Lost, &info.Cancelled, &runAt, &createdAt, &info.LastError)...)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Info{}, queue.ErrNotFound
	}
	if err != nil {
		return queue.Info{}, err
	}
	info.State = [...]queue.State{queue.StateWaiting, queue.StateReady, queue.StateRunning, queue.StateHeld}[state]
	info.Timeout, info.RunAt, info.CreatedAt = micros(timeout), engine.Time(runAt), engine.Time(createdAt)
	return info, nil
}

// DeadJobs implements queue.Store.
func (q Queue) DeadJobs(ctx context.Context, tenant int64, before queue.JobID, limit int) ([]queue.DeadJob, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	return engine.Collect(scanDeadJob)(q.db.Query(ctx, listDeadJobs, tenant, before, limit))
}

// Exhume implements queue.Store.
func (q Queue) Exhume(ctx context.Context, tenant int64, id queue.JobID) (dead queue.DeadJob, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		dead, err = scanDeadJob(q.db.QueryRow(ctx, exhumeJob, tenant, id))
		if errors.Is(err, sql.ErrNoRows) {
			return queue.ErrNotFound
		}
		return err
	})
	return dead, err
}

// Prune implements queue.Store.
func (q Queue) Prune(ctx context.Context, deadBefore time.Time, deadMost int, schedulesBefore time.Time) error {
	_, err := q.db.Exec(ctx, pruneDeadByAge, engine.Micros(deadBefore))
	if err == nil {
		_, err = q.db.Exec(ctx, pruneDeadByNumber, max(deadMost, 1)-1)
	}
	if err == nil {
		_, err = q.db.Exec(ctx, pruneSchedules, engine.Micros(schedulesBefore))
	}
	return err
}

func scanDeadJob(row engine.Scanner) (queue.DeadJob, error) {
	var dead queue.DeadJob
	var timeout, createdAt, diedAt int64
	err := row.Scan(append(specScan(&dead.Spec, &timeout), &dead.ID, &dead.Unique, &dead.Attempt, &dead.Lost, &dead.Error, &createdAt, &diedAt)...)
	dead.Timeout, dead.CreatedAt, dead.DiedAt = micros(timeout), engine.Time(createdAt), engine.Time(diedAt)
	return dead, err
}

// specArgs are the values of jobSpec's columns.
func specArgs(s queue.Spec) []any {
	return []any{
		s.Queue, s.Kind, s.Tenant, s.Priority, s.Args, orNull(s.Key), s.KeyLimit, orNull(s.Group), s.GroupLimit,
		s.MaxAttempts, s.Timeout.Microseconds(),
	}
}

func specScan(s *queue.Spec, timeout *int64) []any {
	return []any{&s.Queue, &s.Kind, &s.Tenant, &s.Priority, &s.Args, &s.Key, &s.KeyLimit, &s.Group, &s.GroupLimit, &s.MaxAttempts, timeout}
}

func orNull(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
