package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// patience is how long these tests wait for what needs milliseconds, on a machine that is busy with something else.
const patience = 60 * time.Second

// eventually waits for what other goroutines and processes do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// crowd counts what runs at once, by name.
type crowd struct {
	mu      sync.Mutex
	running map[string]int
	most    map[string]int
	runs    map[string]int
}

func newCrowd() *crowd {
	return &crowd{running: map[string]int{}, most: map[string]int{}, runs: map[string]int{}}
}

func (c *crowd) enter(names ...string) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.running[name]++
		c.runs[name]++
		c.most[name] = max(c.most[name], c.running[name])
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, name := range names {
			c.running[name]--
		}
	}
}

// storm is a job that says what it is limited by.
type storm struct {
	N          int    `json:"n"`
	Key, Group string `json:",omitempty"`
	Fails      int    `json:"fails"`
}

func (storm) Kind() string { return "test.storm" }

// TestNodesTogetherKeepTheLimitsAndLoseNothing lets two nodes insert, run, retry and cancel hundreds of jobs that share keys and
// groups, all at once: a limit that two nodes could pass, or a held job that nobody lets go, shows here.
func TestNodesTogetherKeepTheLimitsAndLoseNothing(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		const jobs = 240
		limits := map[string]int{"key:a": 1, "key:b": 1, "key:c": 3, "group:x": 2, "group:y": 5}
		people := newCrowd()
		var ended, cancelled atomic.Int64
		work := queue.WorkerFunc[storm](func(ctx context.Context, job *queue.Job[storm]) error {
			leave := people.enter(fmt.Sprint("job ", job.Args.N), "key:"+job.Args.Key, "group:"+job.Args.Group)
			defer leave()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(rand.IntN(3)) * time.Millisecond):
			}
			if job.Attempt <= job.Args.Fails {
				return queue.RetryAfter(time.Millisecond, errors.New("again"))
			}
			ended.Add(1)
			return nil
		})
		nodes := startNodes(t, opts, work)
		var inserting sync.WaitGroup
		for i, node := range nodes {
			inserting.Go(func() {
				for n := i * jobs / 2; n < (i+1)*jobs/2; n++ {
					args := storm{N: n, Key: []string{"a", "b", "c", "", ""}[n%5], Group: []string{"x", "y", ""}[n%3], Fails: n % 2}
					opts := queue.InsertOpts{Tenant: int64(n % 4), KeyLimit: limits["key:"+args.Key], GroupLimit: limits["group:"+args.Group]}
					if args.Key != "" {
						opts.Key = "key:" + args.Key
					}
					if args.Group != "" {
						opts.Group = "group:" + args.Group
					}
					id, err := node.Insert(t.Context(), args, opts)
					if err != nil {
						t.Error(err)
						return
					}
					if n%10 == 9 && node.Cancel(t.Context(), id) == nil {
						cancelled.Add(1)
					}
				}
			})
		}
		inserting.Wait()
		eventually(t, "all jobs end", func() bool {
			due, err := nodes[0].store.Due(t.Context())
			return err == nil && due.Next.IsZero() && !due.Ready && ended.Load() >= jobs-cancelled.Load()
		})
		for name, limit := range limits {
			if most := people.most[name]; most > limit || most == 0 {
				t.Errorf("%d of %s ran at once, want 1 to %d", most, name, limit)
			}
		}
		for n := range jobs {
			name := fmt.Sprint("job ", n)
			if people.most[name] > 1 || people.runs[name] > 1+n%2 {
				t.Errorf("%s ran %d times, %d at once", name, people.runs[name], people.most[name])
			}
			if people.runs[name] < 1+n%2 && n%10 != 9 {
				t.Errorf("%s ran %d times, want %d", name, people.runs[name], 1+n%2)
			}
		}
		if total := ended.Load() + cancelled.Load(); total < jobs {
			t.Errorf("%d ended, %d cancelled, of %d", ended.Load(), cancelled.Load(), jobs)
		}
	})
}

type runningNode struct {
	*queue.Client
	store store.Queue
}

// startNodes starts two clients, on PostgreSQL each with connections of its own.
func startNodes(t *testing.T, opts store.Options, worker queue.Worker[storm]) []runningNode {
	t.Helper()
	var nodes []runningNode
	s := storetest.Open(t, opts)
	for range 2 {
		if len(nodes) > 0 && opts.PostgresURL != "" {
			s = storetest.Open(t, opts)
		}
		workers := queue.NewWorkers()
		queue.Add(workers, worker, queue.WorkerOpts{})
		c, err := queue.New(queue.Config{
			Store: s.Queue(), Workers: workers, Queues: map[string]int{queue.DefaultQueue: 8}, Logger: slog.New(slog.DiscardHandler),
			Lease: 2 * patience, // nothing dies here: a lease that ran out on a slow machine would be a second run
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, runningNode{c, s.Queue()})
	}
	return nodes
}

// TestAnotherNodeHearsOfJobsAndCancellations has a node that only inserts and one that only works and polls once an hour: what
// reaches it in time came by notification.
func TestAnotherNodeHearsOfJobsAndCancellations(t *testing.T) {
	t.Parallel()
	opts := storetest.Postgres(t)
	front, back := storetest.Open(t, opts), storetest.Open(t, opts)
	var started, stopped atomic.Int64
	var cause atomic.Value
	workers := queue.NewWorkers()
	queue.Add(workers, queue.WorkerFunc[note](func(ctx context.Context, _ *queue.Job[note]) error {
		started.Add(1)
		<-ctx.Done()
		cause.Store(context.Cause(ctx))
		stopped.Add(1)
		return ctx.Err()
	}), queue.WorkerOpts{})
	clients := make([]*queue.Client, 2)
	for i, config := range []queue.Config{
		{Store: front.Queue()},
		{Store: back.Queue(), Workers: workers, Queues: map[string]int{queue.DefaultQueue: 2}, Poll: time.Hour, Lease: 4 * time.Hour, Beat: time.Hour},
	} {
		config.Logger = slog.New(slog.DiscardHandler)
		c, err := queue.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		clients[i] = c
	}
	waitUntilHeard(t, front, back)
	id, err := clients[0].Insert(t.Context(), note{}, queue.InsertOpts{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job starts", func() bool { return started.Load() == 1 })
	if err := clients[0].Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job stops", func() bool { return stopped.Load() == 1 })
	if err, _ := cause.Load().(error); !errors.Is(err, queue.ErrCancelled) {
		t.Errorf("cause %v", err)
	}
	eventually(t, "the job is gone", func() bool {
		_, err := clients[0].Job(t.Context(), id)
		return errors.Is(err, queue.ErrNotFound)
	})
	// A schedule made by one node starts at the other, too.
	if err := clients[0].UpsertSchedule(t.Context(), queue.ScheduleSpec{Key: "s", Args: note{}, Period: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the schedule runs", func() bool { return started.Load() == 2 })
	if err := clients[0].DeleteSchedule(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its job stops", func() bool { return stopped.Load() == 2 })
}

// waitUntilHeard returns when the connection is up on which a store listens.
func waitUntilHeard(t *testing.T, from, to *store.Store) {
	t.Helper()
	var heard atomic.Bool
	defer to.Listen("test.hello", func(string) { heard.Store(true) })()
	eventually(t, "a note is heard", func() bool {
		if err := from.Notify(t.Context(), "test.hello", ""); err != nil {
			t.Fatal(err)
		}
		return heard.Load()
	})
}
