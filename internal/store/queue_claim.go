package store

import (
	"context"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// claimLook bounds how many jobs one claim looks at, and so how long it holds SQLite's only writer when most of them must be
// set aside: about 3 ms.
const claimLook = 256

var (
	readyJobs = engine.SQL(`SELECT ` + jobSpec + `, id, COALESCE(schedule_id, 0), attempt, lost, cancelled, created_at FROM jobs
		WHERE state = 1 AND queue = $1 ORDER BY priority, turn, id LIMIT $2 {skip locked}`)
	// The lease of a job is the token of the claim plus the job's id, so that it belongs to one claim of one job: statements on
	// many jobs compare ids and leases as two lists.
	takeJobs = engine.SQL(`UPDATE jobs SET state = 2, attempt = attempt + 1, lock_slot = 0, lease = $2 + id, lease_until = $3 WHERE id {in $1}`)
	takeJob  = engine.SQL(`UPDATE jobs SET state = 2, attempt = attempt + 1, lock_slot = $4, lease = $2 + id, lease_until = $3 WHERE id = $1`)
	// Of the given names, those nobody else decides on; on SQLite, with its one writer, that is all of them.
	tryNames = engine.SQLPair(`SELECT value FROM json_each($1)`,
		`SELECT name FROM unnest($1::text[]) AS name WHERE pg_try_advisory_xact_lock(`+nameLock+`, `+nameHash+`)`)
	slotsTaken   = engine.SQL(`SELECT lock_key, lock_slot FROM jobs WHERE state = 2 AND lock_key {in $1}`)
	groupsTaken  = engine.SQL(`SELECT group_key, COUNT(*) FROM jobs WHERE state = 2 AND group_key {in $1} GROUP BY group_key`)
	holdOnKeys   = engine.SQL(`UPDATE jobs SET state = 3, held_on = 'k:' || lock_key, held_limit = lock_limit WHERE id {in $1}`)
	holdOnGroups = engine.SQL(`UPDATE jobs SET state = 3, held_on = 'g:' || group_key, held_limit = group_limit WHERE id {in $1}`)
)

// nameLock is the class of the advisory locks on names, "qu" in ASCII, and nameHash the lock of a name. The locks belong to the
// PostgreSQL database, the names to a schema of it.
const (
	nameLock = "29045"
	nameHash = "hashtext(current_schema() || ' ' || name)"
)

// Names of keys and groups share one space of locks and of jobs.held_on.
func keyName(key string) string     { return "k:" + key }
func groupName(group string) string { return "g:" + group }

// Claim implements queue.Store.
func (q Queue) Claim(ctx context.Context, req queue.ClaimRequest) (queue.Claims, error) {
	var c *claim
	err := q.db.Write(ctx, func(ctx context.Context) error {
		c = &claim{
			Queue: q, req: req, passed: map[queue.JobID]bool{}, mine: map[string]bool{}, refused: map[string]bool{},
			slots: map[string]map[int]bool{}, groups: map[string]int{},
		}
		return c.run(ctx)
	})
	if err != nil {
		return queue.Claims{}, err
	}
	return c.got, nil
}

// claim is one claim in progress.
type claim struct {
	Queue

	req    queue.ClaimRequest
	got    queue.Claims
	looked int
	// passed are jobs left as they are because another node decides on one of their names.
	passed map[queue.JobID]bool
	// mine are the names this transaction decides on, with what runs of them; refused are those of others.
	mine, refused map[string]bool
	slots         map[string]map[int]bool
	groups        map[string]int
}

func (c *claim) run(ctx context.Context) error {
	for len(c.got.Jobs) < c.req.Max {
		want := min(c.req.Max-len(c.got.Jobs), claimLook-c.looked) + len(c.passed)
		rows, err := engine.Collect(scanClaimed)(c.db.Query(ctx, readyJobs, c.req.Queue, want))
		if err != nil {
			return err
		}
		let, err := c.decide(ctx, rows)
		if err != nil {
			return err
		}
		c.got.Busy = len(c.passed) > 0
		c.got.More = len(rows) == want || let
		if !c.got.More || c.looked >= claimLook || len(rows) == len(c.passed) {
			return nil
		}
	}
	return nil
}

// decide takes, sets aside or passes over ready jobs. It reports whether that made held jobs ready.
func (c *claim) decide(ctx context.Context, rows []queue.Claimed) (let bool, err error) {
	if err := c.learn(ctx, rows); err != nil {
		return false, err
	}
	var plain, onKeys, onGroups engine.List[int64]
	free := map[string]int{}
	for _, job := range rows {
		id := int64(job.ID)
		switch {
		case c.passed[job.ID]:
			continue
		case c.othersDecide(job):
			c.passed[job.ID] = true
			continue
		case job.Key != "" && len(c.slots[job.Key]) >= job.KeyLimit:
			onKeys = append(onKeys, id)
			if job.Group != "" {
				free[groupName(job.Group)]++
			}
		case job.Group != "" && job.GroupLimit > 0 && c.groups[job.Group] >= job.GroupLimit:
			onGroups = append(onGroups, id)
			if job.Key != "" {
				free[keyName(job.Key)]++
			}
		default:
			slot := c.occupy(job)
			if slot == 0 {
				plain = append(plain, id)
			} else if _, err := c.db.Exec(ctx, takeJob, id, c.req.Token, engine.Micros(c.req.Until), slot); err != nil {
				return false, err
			}
			job.Lease = c.req.Token + id
			job.Attempt++
			c.got.Jobs = append(c.got.Jobs, job)
		}
		c.looked++
	}
	if len(plain) > 0 {
		if _, err := c.db.Exec(ctx, takeJobs, plain, c.req.Token, engine.Micros(c.req.Until)); err != nil {
			return false, err
		}
	}
	return c.setAside(ctx, onKeys, onGroups, free)
}

// learn gets hold of the names of jobs and finds out what runs of them.
func (c *claim) learn(ctx context.Context, rows []queue.Claimed) error {
	var names, keys, groups engine.List[string]
	asked := map[string]bool{}
	ask := func(name string) bool {
		if asked[name] || c.mine[name] || c.refused[name] {
			return false
		}
		asked[name] = true
		names = append(names, name)
		return true
	}
	for _, job := range rows {
		if job.Key != "" && ask(keyName(job.Key)) {
			keys = append(keys, job.Key)
		}
		if job.Group != "" && ask(groupName(job.Group)) {
			groups = append(groups, job.Group)
		}
	}
	if len(names) == 0 {
		return nil
	}
	got, err := engine.Collect(scanText)(c.db.Query(ctx, tryNames, names))
	if err != nil {
		return err
	}
	for _, name := range got {
		c.mine[name] = true
	}
	for _, name := range names {
		c.refused[name] = !c.mine[name]
	}
	if len(keys) > 0 {
		if _, err := engine.Collect(c.scanSlot)(c.db.Query(ctx, slotsTaken, keys)); err != nil {
			return err
		}
	}
	if len(groups) > 0 {
		if _, err := engine.Collect(c.scanGroup)(c.db.Query(ctx, groupsTaken, groups)); err != nil {
			return err
		}
	}
	return nil
}

func (c *claim) othersDecide(job queue.Claimed) bool {
	return job.Key != "" && c.refused[keyName(job.Key)] || job.Group != "" && c.refused[groupName(job.Group)]
}

// occupy counts a job as running and returns its place among those of its key.
func (c *claim) occupy(job queue.Claimed) (slot int) {
	if job.Group != "" {
		c.groups[job.Group]++
	}
	if job.Key == "" {
		return 0
	}
	taken := c.slots[job.Key]
	if taken == nil {
		taken = map[int]bool{}
		c.slots[job.Key] = taken
	}
	for taken[slot] {
		slot++
	}
	taken[slot] = true
	return slot
}

// setAside holds jobs on a full name, and lets others of their second name, for which they don't compete any more, go.
func (c *claim) setAside(ctx context.Context, onKeys, onGroups engine.List[int64], free map[string]int) (let bool, err error) {
	if len(onKeys) > 0 {
		if _, err := c.db.Exec(ctx, holdOnKeys, onKeys); err != nil {
			return false, err
		}
	}
	if len(onGroups) > 0 {
		if _, err := c.db.Exec(ctx, holdOnGroups, onGroups); err != nil {
			return false, err
		}
	}
	wake, err := c.letGo(ctx, free)
	for _, name := range wake {
		let = let || name == c.req.Queue
	}
	c.got.Wake = append(c.got.Wake, wake...)
	return let, err
}

func scanClaimed(row engine.Scanner) (queue.Claimed, error) {
	var job queue.Claimed
	var timeout, createdAt int64
	err := row.Scan(append(specScan(&job.Spec, &timeout), &job.ID, &job.Schedule, &job.Attempt, &job.Lost, &job.Cancelled, &createdAt)...)
	job.Timeout, job.CreatedAt = micros(timeout), engine.Time(createdAt)
	return job, err
}

func scanText(row engine.Scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

func (c *claim) scanSlot(row engine.Scanner) (struct{}, error) {
	var key string
	var slot int
	err := row.Scan(&key, &slot)
	if c.slots[key] == nil {
		c.slots[key] = map[int]bool{}
	}
	c.slots[key][slot] = true
	return struct{}{}, err
}

func (c *claim) scanGroup(row engine.Scanner) (struct{}, error) {
	var group string
	var n int
	err := row.Scan(&group, &n)
	c.groups[group] = n
	return struct{}{}, err
}

var (
	renewJobs = engine.SQL(`UPDATE jobs SET lease_until = $3 WHERE id IN
			(SELECT id FROM jobs WHERE id {in $1} AND lease {in $2} {skip locked})
		RETURNING id, lease, cancelled`)
	// Rows that renewJobs skipped are being ended or guarded by their own workers, which is as good as a renewal.
	heldJobs = engine.SQL(`SELECT id, lease, cancelled FROM jobs WHERE id {in $1} AND lease {in $2}`)
	guardJob = engine.SQL(`UPDATE jobs SET lease_until = $3 WHERE id = $1 AND lease = $2 RETURNING cancelled`)
)

// Renew implements queue.Store.
func (q Queue) Renew(ctx context.Context, holds []queue.Hold, until time.Time) (map[queue.Hold]bool, error) {
	ids, leases := splitHolds(holds)
	renewed := make(map[queue.Hold]bool, len(holds))
	err := q.db.Write(ctx, func(ctx context.Context) error {
		all, err := engine.Collect(scanLease)(q.db.Query(ctx, renewJobs, ids, leases, engine.Micros(until)))
		if err == nil && len(all) < len(holds) {
			all, err = engine.Collect(scanLease)(q.db.Query(ctx, heldJobs, ids, leases))
		}
		clear(renewed)
		for _, l := range all {
			renewed[l.Hold] = l.cancelled
		}
		return err
	})
	return renewed, err
}

type lease struct {
	queue.Hold

	cancelled bool
}

func scanLease(row engine.Scanner) (l lease, err error) {
	err = row.Scan(&l.ID, &l.Lease, &l.cancelled)
	return l, err
}

// Guard implements queue.Store.
func (q Queue) Guard(ctx context.Context, hold queue.Hold, until time.Time) (cancelled bool, err error) {
	err = q.db.Write(ctx, func(ctx context.Context) error {
		return orLeaseLost(q.db.QueryRow(ctx, guardJob, hold.ID, hold.Lease, engine.Micros(until)).Scan(&cancelled))
	})
	return cancelled, err
}

func splitHolds(holds []queue.Hold) (ids, leases engine.List[int64]) {
	for _, hold := range holds {
		ids = append(ids, int64(hold.ID))
		leases = append(leases, hold.Lease)
	}
	return ids, leases
}
