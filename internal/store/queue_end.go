package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// jobNames is what has to be known of a job when it leaves the line or the running ones; scanGone reads it.
const jobNames = `id, lease, queue, COALESCE(lock_key, ''), COALESCE(group_key, ''), COALESCE(schedule_id, 0), state`

// A lease is 0 unless the job runs, so that a hold needs no look at the state; with one, SQLite would rather read all running
// jobs than find some by their ids.
var (
	endSucceeded = engine.SQL(`DELETE FROM jobs WHERE id {in $1} AND lease {in $2} AND NOT cancelled RETURNING ` + jobNames)
	endCancelled = engine.SQL(`DELETE FROM jobs WHERE id = $1 AND lease = $2 RETURNING ` + jobNames)
	endFailed    = engine.SQL(`DELETE FROM jobs WHERE id = $1 AND lease = $2 AND NOT cancelled
		RETURNING ` + jobNames + `, ` + jobSpec + `, COALESCE(unique_key, ''), attempt, lost, created_at`)
	endLater = engine.SQL(`UPDATE jobs SET state = 0, run_at = $3, attempt = attempt - $4, last_error = $5, lease = 0, lease_until = 0
		WHERE id = $1 AND lease = $2 AND NOT cancelled RETURNING ` + jobNames)
	whyRefused = engine.SQL(`SELECT cancelled FROM jobs WHERE id = $1 AND lease = $2`)

	// The next point of the grid that is not before now, nor the one that this job ran for; see markSchedules.
	endScheduled = engine.SQL(`UPDATE schedules SET last_job_state = $3, updated_at = $4,
			next_at = CASE WHEN $5 THEN $4 WHEN next_at >= $4 THEN next_at ELSE ` + gridFrom("period", "$4") + ` END
		WHERE id = $1 AND last_job_id = $2 AND last_job_state = 1 RETURNING next_at, state`)

	lockSchedules = engine.SQLPair(`SELECT id FROM schedules WHERE id IN (SELECT value FROM json_each($1))`,
		`SELECT id FROM schedules WHERE id = ANY($1) ORDER BY id FOR UPDATE`)
	lockNames = engine.SQLPair(`SELECT 1`,
		`SELECT pg_advisory_xact_lock(`+nameLock+`, hash) FROM (SELECT DISTINCT `+nameHash+` AS hash FROM unnest($1::text[]) AS name ORDER BY 1) names`)
	heldNames = engine.SQLPair(
		`SELECT n.value FROM json_each($1) n WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.state = 3 AND j.held_on = n.value)`,
		`SELECT n FROM unnest($1::text[]) AS n WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.state = 3 AND j.held_on = n)`)
	runningOfKey   = engine.SQL(`SELECT COUNT(*) FROM jobs WHERE state = 2 AND lock_key = $1`)
	runningOfGroup = engine.SQL(`SELECT COUNT(*) FROM jobs WHERE state = 2 AND group_key = $1`)
	letHeldGo      = engine.SQL(`UPDATE jobs SET state = 1, held_on = NULL, held_limit = 0, turn = ` + jobHead("jobs.queue", "jobs.priority") + `
		WHERE id IN (SELECT j.id FROM jobs j WHERE j.state = 3 AND j.held_on = $1 AND j.held_limit > $2
			ORDER BY j.held_limit DESC, j.priority, j.id LIMIT $3)
		RETURNING queue`)

	flagJob       = engine.SQL(`UPDATE jobs SET cancelled = TRUE WHERE id = $1 AND state = 2`)
	flagAndDetach = engine.SQL(`UPDATE jobs SET cancelled = TRUE, schedule_id = NULL WHERE id = $1 AND state = 2`)
	namesOfJob    = engine.SQL(`SELECT ` + jobNames + ` FROM jobs WHERE id = $1`)
	removeJob     = engine.SQL(`DELETE FROM jobs WHERE id = $1 AND state <> 2 RETURNING ` + jobNames)
)

// gone is a job that left the running ones, or the line.
type gone struct {
	hold       queue.Hold
	queue      string
	key, group string
	schedule   int64
	state      int
	// place: it ran, or was next to run, so that its key and group have a place for another.
	place bool
	last  queue.LastState // LastNone: it is not finished
	again bool
}

func scanGone(row engine.Scanner) (g gone, err error) {
	err = row.Scan(&g.hold.ID, &g.hold.Lease, &g.queue, &g.key, &g.group, &g.schedule, &g.state)
	return g, err
}

// End implements queue.Store.
func (q Queue) End(ctx context.Context, now time.Time, endings []queue.Ending) (ended queue.Ended, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		ended = queue.Ended{Refused: map[queue.Hold]error{}}
		all, err := q.endSucceeded(ctx, endings)
		if err != nil {
			return err
		}
		done := make(map[queue.Hold]bool, len(all))
		for _, g := range all {
			done[g.hold] = true
		}
		for _, e := range endings {
			switch e.Verdict {
			case queue.Succeeded:
				err = sql.ErrNoRows
				if done[e.Hold] {
					continue
				}
			case queue.Later:
				err = q.endOne(ctx, &all, queue.LastNone, endLater, e.ID, e.Lease, engine.Micros(e.RunAt), uncounted(e), e.Error)
				ended.Next = earlier(ended.Next, e.RunAt)
			case queue.Failed:
				err = q.endFailed(ctx, now, &all, e)
			case queue.Cancelled:
				err = q.endOne(ctx, &all, queue.LastCancelled, endCancelled, e.ID, e.Lease)
			}
			if errors.Is(err, sql.ErrNoRows) {
				if ended.Refused[e.Hold], err = q.whyRefused(ctx, e.Hold); err == nil {
					continue
				}
			}
			if err != nil {
				return err
			}
		}
		next, wake, err := q.settle(ctx, now, all)
		ended.Next, ended.Wake = earlier(ended.Next, next), wake
		return err
	})
	return ended, err
}

// endSucceeded ends those that succeeded with one statement.
func (q Queue) endSucceeded(ctx context.Context, endings []queue.Ending) ([]gone, error) {
	var holds []queue.Hold
	again := map[queue.Hold]bool{}
	for _, e := range endings {
		if e.Verdict == queue.Succeeded {
			holds = append(holds, e.Hold)
			again[e.Hold] = e.Again
		}
	}
	if len(holds) == 0 {
		return nil, nil
	}
	ids, leases := splitHolds(holds)
	all, err := engine.Collect(scanGone)(q.db.Query(ctx, endSucceeded, ids, leases))
	for i := range all {
		all[i].place, all[i].last, all[i].again = true, queue.LastSucceeded, again[all[i].hold]
	}
	return all, err
}

// endOne ends one job with a statement that returns jobNames; sql.ErrNoRows means that it did not.
func (q Queue) endOne(ctx context.Context, all *[]gone, last queue.LastState, statement *engine.Query, args ...any) error {
	g, err := scanGone(q.db.QueryRow(ctx, statement, args...))
	if err != nil {
		return err
	}
	if lease, ok := args[1].(int64); ok { // endLater clears it
		g.hold.Lease = lease
	}
	g.place, g.last = true, last
	*all = append(*all, g)
	return nil
}

func (q Queue) endFailed(ctx context.Context, now time.Time, all *[]gone, e queue.Ending) error {
	g := gone{place: true, last: queue.LastFailed}
	var dead queue.DeadJob
	var timeout, createdAt int64
	dest := append([]any{&g.hold.ID, &g.hold.Lease, &g.queue, &g.key, &g.group, &g.schedule, &g.state}, specScan(&dead.Spec, &timeout)...)
	err := q.db.QueryRow(ctx, endFailed, e.ID, e.Lease).Scan(append(dest, &dead.Unique, &dead.Attempt, &dead.Lost, &createdAt)...)
	if err != nil {
		return err
	}
	*all = append(*all, g)
	dead.Timeout = micros(timeout)
	_, err = q.db.Exec(ctx, insertDeadJob, append(specArgs(dead.Spec),
		e.ID, orNull(dead.Unique), dead.Attempt, dead.Lost, e.Error, createdAt, engine.Micros(now))...)
	return err
}

func (q Queue) whyRefused(ctx context.Context, hold queue.Hold) (refused, err error) {
	var cancelled bool
	err = q.db.QueryRow(ctx, whyRefused, hold.ID, hold.Lease).Scan(&cancelled)
	if err == nil && cancelled {
		return queue.ErrCancelled, nil
	}
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return queue.ErrLeaseLost, nil
	}
	return nil, err
}

// settle does what follows when jobs left the running ones, or were removed from the line: their schedules move on, and held
// jobs take their places.
func (q Queue) settle(ctx context.Context, now time.Time, all []gone) (next time.Time, wake []string, err error) {
	var schedules engine.List[int64]
	free := map[string]int{}
	for _, g := range all {
		if g.schedule != 0 && g.last != queue.LastNone {
			schedules = append(schedules, g.schedule)
		}
		if g.place && g.key != "" {
			free[keyName(g.key)]++
		}
		if g.place && g.group != "" {
			free[groupName(g.group)]++
		}
	}
	if err := q.lockSchedules(ctx, schedules); err != nil {
		return time.Time{}, nil, err
	}
	names := make(engine.List[string], 0, len(free))
	for name := range free {
		names = append(names, name)
	}
	if err := q.lockNames(ctx, names); err != nil {
		return time.Time{}, nil, err
	}
	for _, g := range all {
		due, err := q.endScheduled(ctx, now, g)
		if err != nil {
			return time.Time{}, nil, err
		}
		next = earlier(next, due)
	}
	wake, err = q.letGo(ctx, free)
	return next, wake, err
}

func (q Queue) endScheduled(ctx context.Context, now time.Time, g gone) (next time.Time, err error) {
	if g.schedule == 0 || g.last == queue.LastNone {
		return time.Time{}, nil
	}
	var nextAt int64
	var state queue.ScheduleState
	err = q.db.QueryRow(ctx, endScheduled, g.schedule, g.hold.ID, g.last, engine.Micros(now), g.again).Scan(&nextAt, &state)
	if errors.Is(err, sql.ErrNoRows) || err == nil && state != queue.ScheduleStarted {
		return time.Time{}, nil
	}
	return engine.Time(nextAt), err
}

func (q Queue) lockSchedules(ctx context.Context, ids engine.List[int64]) error {
	if len(ids) == 0 || !q.db.Postgres() {
		return nil
	}
	_, err := q.db.Exec(ctx, lockSchedules, ids)
	return err
}

func (q Queue) lockNames(ctx context.Context, names engine.List[string]) error {
	if len(names) == 0 || !q.db.Postgres() {
		return nil
	}
	_, err := q.db.Exec(ctx, lockNames, names)
	return err
}

// letGo makes up to free[name] jobs that are held on each name ready, and returns their queues. The names must be locked.
func (q Queue) letGo(ctx context.Context, free map[string]int) (wake []string, err error) {
	names := make(engine.List[string], 0, len(free))
	for name := range free {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, nil
	}
	held, err := engine.Collect(scanText)(q.db.Query(ctx, heldNames, names))
	if err != nil {
		return nil, err
	}
	for _, name := range held {
		count := runningOfKey
		if name[0] == 'g' {
			count = runningOfGroup
		}
		var running int
		if err := q.db.QueryRow(ctx, count, name[2:]).Scan(&running); err != nil {
			return nil, err
		}
		queues, err := engine.Collect(scanText)(q.db.Query(ctx, letHeldGo, name, running, free[name]))
		if err != nil {
			return nil, err
		}
		wake = append(wake, queues...)
	}
	return wake, nil
}

// Cancel implements queue.Store.
func (q Queue) Cancel(ctx context.Context, now time.Time, id queue.JobID) (done queue.Cancellation, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		done, err = q.drop(ctx, now, id, flagJob)
		return err
	})
	return done, err
}

// dropTries bounds how often a job may start or stop running while it is being cancelled.
const dropTries = 5

// drop marks a running job with flag, or removes one that does not run and ends its schedule's run.
func (q Queue) drop(ctx context.Context, now time.Time, id queue.JobID, flag *engine.Query) (queue.Cancellation, error) {
	for range dropTries {
		n, err := q.db.Exec(ctx, flag, id)
		if err != nil {
			return queue.Cancellation{}, err
		}
		if n > 0 {
			return queue.Cancellation{Running: id}, nil
		}
		done, removed, err := q.remove(ctx, now, id)
		if errors.Is(err, sql.ErrNoRows) {
			err = queue.ErrNotFound
		}
		if err != nil || removed {
			return done, err
		}
	}
	return queue.Cancellation{}, errors.New("the job keeps starting and stopping")
}

// remove deletes a job that does not run; removed is false if it does, and the error sql.ErrNoRows if it is gone.
func (q Queue) remove(ctx context.Context, now time.Time, id queue.JobID) (done queue.Cancellation, removed bool, err error) {
	g, err := scanGone(q.db.QueryRow(ctx, namesOfJob, id))
	if err != nil {
		return done, false, err
	}
	var schedules engine.List[int64]
	var names engine.List[string]
	if g.schedule != 0 {
		schedules = append(schedules, g.schedule)
	}
	if g.key != "" {
		names = append(names, keyName(g.key))
	}
	if g.group != "" {
		names = append(names, groupName(g.group))
	}
	if err := q.lockSchedules(ctx, schedules); err != nil {
		return done, false, err
	}
	if err := q.lockNames(ctx, names); err != nil {
		return done, false, err
	}
	g, err = scanGone(q.db.QueryRow(ctx, removeJob, id))
	if errors.Is(err, sql.ErrNoRows) {
		return done, false, nil
	}
	if err != nil {
		return done, false, err
	}
	g.place, g.last = g.state == 1, queue.LastCancelled // 1: ready
	_, done.Wake, err = q.settle(ctx, now, []gone{g})
	return done, true, err
}

func orLeaseLost(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return queue.ErrLeaseLost
	}
	return err
}

func uncounted(e queue.Ending) int {
	if e.Counted {
		return 0
	}
	return 1
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
