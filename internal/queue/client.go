package queue

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
)

// Config tunes a Client. Store is required, the rest has defaults.
type Config struct {
	Store Store
	// Workers are the kinds this process runs; nil for a process that only inserts.
	Workers *Workers
	// Queues are the queues this process works on, each with how many of its jobs run at once here. Empty: it only inserts.
	Queues map[string]int

	// Lease is how long a job may run without a sign of life from its process; after that another process runs it. Too short
	// runs jobs twice when the database or the process hesitates, too long delays recovery. Default 15 s.
	Lease time.Duration
	// Beat is how often leases are renewed; at most a third of Lease, so that two beats may fail. Default 5 s.
	Beat time.Duration
	// Poll is how often the tables are looked at without being told to: the bound on every lost hint. Default 1 s.
	Poll time.Duration
	// SoftStop is how long Stop lets running jobs finish before it cancels them. Default 10 s, negative means not at all.
	SoftStop time.Duration
	// Alone says that no other process can be working on this database (SQLite). Then the leases that Start finds belong to a
	// process that died, and their jobs run at once instead of when the leases run out.
	Alone bool
	// DeadFor is how long dead jobs are kept. Default 7 days. Of these at most DeadMost, default 100,000, the newest.
	DeadFor  time.Duration
	DeadMost int

	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Topics of the hints between nodes.
const (
	topicReady  = "queue.ready"  // payload: node id, blank, queues separated by commas
	topicCancel = "queue.cancel" // payload: job id
)

var (
	_ lifecycle.Service = (*Client)(nil)
	_ lifecycle.Checker = (*Client)(nil)
)

// Client inserts jobs and schedules, and, once started, runs jobs. It is a lifecycle.Service.
type Client struct {
	config  Config
	store   Store
	workers map[string]*registration
	logger  *slog.Logger
	now     func() time.Time
	node    string
	room    room

	lanes   []*lane
	hints   hints
	running running
	ends    chan endRequest
	health  health

	life   sync.Mutex // guards what follows
	parts  *parts     // nil before Start
	closed bool
}

// New checks the configuration. The client can insert at once; Start makes it work.
func New(config Config) (*Client, error) {
	config.Lease = cmp.Or(config.Lease, 15*time.Second)
	config.Beat = cmp.Or(config.Beat, 5*time.Second)
	config.Poll = cmp.Or(config.Poll, time.Second)
	config.SoftStop = cmp.Or(config.SoftStop, 10*time.Second)
	config.DeadFor = cmp.Or(config.DeadFor, 7*24*time.Hour)
	config.DeadMost = cmp.Or(config.DeadMost, 100_000)
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Workers == nil {
		config.Workers = NewWorkers()
	}
	var node [8]byte
	for i := range node {
		node[i] = byte(rand.Uint32())
	}
	c := &Client{
		config: config, store: config.Store, workers: config.Workers.kinds, logger: config.Logger, now: config.Now,
		node: hex.EncodeToString(node[:]), ends: make(chan endRequest),
	}
	c.running.init()
	errs := append([]error(nil), config.Workers.errs...)
	if config.Store == nil {
		errs = append(errs, errors.New("no store"))
	}
	if config.Lease < 3*config.Beat {
		errs = append(errs, fmt.Errorf("lease %s must be at least three times the beat %s", config.Lease, config.Beat))
	}
	for name, workers := range config.Queues {
		if workers < 1 {
			errs = append(errs, fmt.Errorf("queue %s: %d workers", name, workers))
		}
		errs = append(errs, checkQueueName(name))
		c.lanes = append(c.lanes, &lane{name: name, workers: workers})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure the queue: %w", err)
	}
	c.hints.init(c.lanes)
	return c, nil
}

// Name implements lifecycle.Service.
func (c *Client) Name() string { return "queue" }

// Health implements lifecycle.Checker: the last failure to reach the tables, until one succeeds.
func (c *Client) Health() error { return c.health.get() }

// Cancel ends an unfinished job. One that does not run is gone when the transaction of ctx commits. One that runs is told
// through its context, with the cause ErrCancelled, on whatever node it runs: at once, or if the hint is lost at that node's
// next beat. From the commit on it can only end as cancelled. ErrNotFound means that there is no such unfinished job.
func (c *Client) Cancel(ctx context.Context, id JobID) error {
	err := c.store.Write(ctx, func(ctx context.Context) error {
		done, err := c.store.Cancel(ctx, c.now(), id)
		if err != nil {
			return err
		}
		return c.cancelled(ctx, done)
	})
	if err != nil {
		return fmt.Errorf("cancel job %d: %w", id, err)
	}
	return nil
}

// cancelled passes on, with the transaction of ctx, what a cancellation did.
func (c *Client) cancelled(ctx context.Context, done Cancellation) error {
	if len(done.Wake) > 0 {
		c.store.AfterCommit(ctx, func() { c.announce(done.Wake, time.Time{}) })
	}
	if done.Running == 0 {
		return nil
	}
	return c.store.Notify(ctx, topicCancel, strconv.FormatInt(int64(done.Running), 10))
}

// Job describes an unfinished job; ErrNotFound for any other.
func (c *Client) Job(ctx context.Context, id JobID) (Info, error) {
	info, err := c.store.Job(ctx, id)
	if err != nil {
		return Info{}, fmt.Errorf("job %d: %w", id, err)
	}
	return info, nil
}

// DeadJobs lists jobs of a tenant that failed for good, newest id first, below before (0: from the newest), at most limit.
func (c *Client) DeadJobs(ctx context.Context, tenant int64, before JobID, limit int) ([]DeadJob, error) {
	return c.store.DeadJobs(ctx, tenant, before, limit)
}

// Revive inserts a dead job of a tenant again, under a new id and with all its attempts. It fails like Insert.
func (c *Client) Revive(ctx context.Context, tenant int64, id JobID) (JobID, error) {
	var revived JobID
	err := c.store.Write(ctx, func(ctx context.Context) error {
		dead, err := c.store.Exhume(ctx, tenant, id)
		if err != nil {
			return err
		}
		var fresh bool
		err = c.insertSpec(ctx, NewJob{Spec: dead.Spec, Unique: dead.Unique}, 0, func(i JobID, f bool) { revived, fresh = i, f })
		if err == nil && !fresh {
			err = ErrDuplicate // and the dead job stays
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("revive job %d: %w", id, err)
	}
	return revived, nil
}

// announce wakes this process's dispatcher for queues that have new ready jobs, or for a later time, and tells other nodes of
// the queues. It does not block.
func (c *Client) announce(queues []string, next time.Time) {
	c.hints.add(queues, next)
}

// sendHints tells other nodes what announce collected, at most every hintEvery: a commit with a NOTIFY of its own would queue
// behind a lock of the whole PostgreSQL server.
func (c *Client) sendHints(ctx context.Context) {
	const hintEvery = 10 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hints.remote:
		}
		if queues := c.hints.takeRemote(); len(queues) > 0 {
			if err := c.store.Notify(ctx, topicReady, c.node+" "+strings.Join(queues, ",")); err != nil && ctx.Err() == nil {
				c.logger.WarnContext(ctx, "hint to other nodes", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(hintEvery):
		}
	}
}

// hear receives the hints of other nodes; what it can't read means that hints were lost.
func (c *Client) hear(payload string) {
	node, queues, ok := strings.Cut(payload, " ")
	switch {
	case !ok:
		c.hints.all()
	case node != c.node:
		c.hints.local(strings.Split(queues, ","))
	}
}

func (c *Client) hearCancel(payload string) {
	id, err := strconv.ParseInt(payload, 10, 64)
	if err != nil {
		c.running.beatNow()
		return
	}
	c.running.cancelHeard(JobID(id))
}

// health is the last failure of each loop.
type health struct {
	mu   sync.Mutex
	errs map[string]error
}

func (h *health) set(loop string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.errs == nil {
		h.errs = map[string]error{}
	}
	h.errs[loop] = err
}

func (h *health) get() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(slices.Collect(maps.Values(h.errs))...)
}
