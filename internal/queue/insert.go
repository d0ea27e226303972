package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// DefaultQueue is where jobs go that don't name a queue.
	DefaultQueue = "default"
	// DefaultMaxAttempts with Backoff covers about half a minute.
	DefaultMaxAttempts = 5
	// DefaultGroupCap is how many jobs of one group may wait: 10,000 (wire contract).
	DefaultGroupCap = 10_000

	maxName = 512 // bytes of a key, a group or a unique key: they are in indexes
)

// InsertOpts are the options of a job. The zero value is a job that runs at once in the default queue.
type InsertOpts struct {
	// Queue is where it waits; empty means DefaultQueue.
	Queue string
	// Priority: lower goes first. 0 is normal.
	Priority int
	// RunAt is the earliest start; zero means now.
	RunAt time.Time
	// Key is what it must not overlap with: at most KeyLimit (0 means 1) jobs of one Key run at once. All jobs of a Key should
	// have the same limit. Empty means none.
	Key      string
	KeyLimit int
	// Group is a crowd with a limit: the job starts while fewer than GroupLimit jobs of the Group run (0 means no limit), and is
	// refused with ErrQueueFull when GroupCap jobs of it have not started (0 means DefaultGroupCap, negative means no cap). The
	// cap may be passed by what several nodes insert in the same second. Empty means none.
	Group      string
	GroupLimit int
	GroupCap   int
	// Unique refuses the job with ErrDuplicate while an unfinished one has the same Unique. It is a name for the whole database.
	Unique string
	// MaxAttempts is how often it may fail; 0 means DefaultMaxAttempts, 1 is a job without retries.
	MaxAttempts int
	// Timeout limits each run; 0 leaves it to the worker, negative means none. Work is told, never interrupted.
	Timeout time.Duration
	// Tenant is the environment's id: the tenants of a queue take turns. 0 is the platform itself.
	Tenant int64
}

// InsertParams is one job of InsertMany.
type InsertParams struct {
	Args Args
	Opts InsertOpts
}

// Insert stores a job, in the transaction of ctx if there is one. When it returns nil without an outer transaction the job
// survives a crash. With ErrDuplicate it also returns the id of the job that was there before.
func (c *Client) Insert(ctx context.Context, args Args, opts InsertOpts) (JobID, error) {
	var id JobID
	var fresh bool
	err := c.insert(ctx, args, opts, func(i JobID, f bool) { id, fresh = i, f })
	if err != nil {
		return 0, err
	}
	if !fresh {
		return id, fmt.Errorf("insert %s: %w", args.Kind(), ErrDuplicate)
	}
	return id, nil
}

// InsertMany stores all jobs or none. A duplicate is no error here: its id is that of the job that was there before.
func (c *Client) InsertMany(ctx context.Context, jobs []InsertParams) ([]JobID, error) {
	var ids []JobID
	err := c.store.Write(ctx, func(ctx context.Context) error {
		ids = make([]JobID, 0, len(jobs))
		for _, job := range jobs {
			if err := c.insert(ctx, job.Args, job.Opts, func(id JobID, _ bool) { ids = append(ids, id) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (c *Client) insert(ctx context.Context, args Args, opts InsertOpts, done func(id JobID, fresh bool)) error {
	spec, err := newSpec(args, opts)
	if err != nil {
		return err
	}
	if err := checkName("unique key", opts.Unique); err != nil {
		return err
	}
	return c.insertSpec(ctx, NewJob{Spec: spec, Unique: opts.Unique, RunAt: opts.RunAt}, opts.GroupCap, done)
}

func (c *Client) insertSpec(ctx context.Context, job NewJob, groupCap int, done func(id JobID, fresh bool)) error {
	now := c.now()
	if job.RunAt.IsZero() {
		job.RunAt = now
	}
	err := c.store.Write(ctx, func(ctx context.Context) error {
		if err := c.checkCap(ctx, job.Group, groupCap); err != nil {
			return err
		}
		id, fresh, err := c.store.Insert(ctx, now, job)
		if err != nil {
			return err
		}
		done(id, fresh)
		if !fresh {
			return nil
		}
		c.store.AfterCommit(ctx, func() {
			if job.RunAt.After(now) {
				c.announce(nil, job.RunAt)
			} else {
				c.announce([]string{job.Queue}, time.Time{})
			}
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("insert %s: %w", job.Kind, err)
	}
	return nil
}

// newSpec checks what a caller asks for and fills in what it left out.
func newSpec(args Args, opts InsertOpts) (Spec, error) {
	spec := Spec{
		Queue: opts.Queue, Kind: args.Kind(), Tenant: opts.Tenant, Priority: opts.Priority,
		Key: opts.Key, KeyLimit: max(opts.KeyLimit, 1), Group: opts.Group, GroupLimit: max(opts.GroupLimit, 0),
		MaxAttempts: opts.MaxAttempts, Timeout: opts.Timeout,
	}
	if spec.Queue == "" {
		spec.Queue = DefaultQueue
	}
	if spec.MaxAttempts <= 0 {
		spec.MaxAttempts = DefaultMaxAttempts
	}
	text, err := json.Marshal(args)
	if err != nil {
		return Spec{}, fmt.Errorf("insert %s: %w", spec.Kind, err)
	}
	spec.Args = string(text)
	if spec.Kind == "" {
		return Spec{}, fmt.Errorf("insert %T: it has no kind", args)
	}
	return spec, errors.Join(checkQueueName(spec.Queue), checkName("kind", spec.Kind), checkName("key", spec.Key), checkName("group", spec.Group))
}

func checkName(what, name string) error {
	if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s %.40q: want at most %d bytes of text", what, name, maxName)
	}
	return nil
}

// checkQueueName allows what fits into a hint to other nodes.
func checkQueueName(name string) error {
	ok := name != "" && len(name) <= 64
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if !ok {
		return fmt.Errorf("queue %q: want 1 to 64 of a-z, 0-9, - and _", name)
	}
	return nil
}

// clean makes text storable on both engines: PostgreSQL takes neither invalid UTF-8 nor NUL.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
}

// checkCap refuses a job of a group that is full. Counting 10,000 index entries for every insert into a long line would make
// that line a burden for everybody, so a count allows a quarter of the room it found before the next count.
func (c *Client) checkCap(ctx context.Context, group string, most int) error {
	if group == "" || most < 0 {
		return nil
	}
	if most == 0 {
		most = DefaultGroupCap
	}
	if c.room.take(group, c.now()) {
		return nil
	}
	waiting, err := c.store.NotStarted(ctx, group, most)
	if err != nil {
		return err
	}
	if waiting >= most {
		return fmt.Errorf("group %s has %d jobs waiting: %w", group, waiting, ErrQueueFull)
	}
	c.room.found(group, most-waiting, c.now())
	return nil
}

// roomFor is how long a count is trusted: other nodes insert too.
const roomFor = time.Second

// room remembers how many more jobs fit into a group for certain.
type room struct {
	mu     sync.Mutex
	groups map[string]allowance
}

type allowance struct {
	left  int
	until time.Time
}

func (r *room) take(group string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.groups[group]
	if !ok || a.left <= 0 || now.After(a.until) {
		return false
	}
	a.left--
	r.groups[group] = a
	return true
}

func (r *room) found(group string, free int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == nil || len(r.groups) > 10_000 { // forgetting costs a count each
		r.groups = map[string]allowance{}
	}
	r.groups[group] = allowance{left: free/4 - 1, until: now.Add(roomFor)}
}
