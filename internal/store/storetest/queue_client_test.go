package storetest_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// inBubble runs test with a store and a clock that jumps when everybody waits. SQLite runs inside the process, so it can be
// in the bubble; a connection to PostgreSQL can't.
func inBubble(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	opts := storetest.SQLite(t)
	synctest.Test(t, func(t *testing.T) { test(t, storetest.Open(t, opts)) })
}

// diary is what happened when, since the queue started.
type diary struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (d *diary) add(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.start.IsZero() {
		d.start = time.Now()
	}
	d.lines = append(d.lines, time.Since(d.start).Round(time.Millisecond).String()+" "+text)
}

func (d *diary) seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func (d *diary) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, d.seen()); diff != "" {
		t.Errorf("what happened: %s", diff)
	}
}

// startQueue starts a client that runs notes with work, four at a time.
func startQueue(t *testing.T, s *store.Store, config queue.Config, worker queue.Worker[note]) *queue.Client {
	t.Helper()
	return startQueueOn(t, s.Queue(), config, worker)
}

func startQueueOn(t *testing.T, s queue.Store, config queue.Config, worker queue.Worker[note]) *queue.Client {
	t.Helper()
	config.Store = s
	config.Logger = slog.New(slog.DiscardHandler)
	if config.Workers == nil {
		config.Workers = queue.NewWorkers()
	}
	queue.Add(config.Workers, worker, queue.WorkerOpts{})
	if config.Queues == nil {
		config.Queues = map[string]int{queue.DefaultQueue: 4}
	}
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
	return c
}

func mustInsert(t *testing.T, c *queue.Client, text string, opts queue.InsertOpts) queue.JobID {
	t.Helper()
	id, err := c.Insert(t.Context(), note{text}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// claimAndDie is a process that inserts a job, claims it and is not heard of again.
func claimAndDie(t *testing.T, s *store.Store, text string, lease time.Duration) queue.Claimed {
	t.Helper()
	c, err := queue.New(queue.Config{Store: s.Queue()})
	if err != nil {
		t.Fatal(err)
	}
	mustInsert(t, c, text, queue.InsertOpts{})
	claims, err := s.Queue().Claim(t.Context(), queue.ClaimRequest{Queue: queue.DefaultQueue, Max: 1, Token: 1, Until: time.Now().Add(lease)})
	if err != nil || len(claims.Jobs) != 1 {
		t.Fatalf("claims %v, err %v", claims, err)
	}
	return claims.Jobs[0]
}

func wantGone(t *testing.T, c *queue.Client, id queue.JobID) {
	t.Helper()
	if info, err := c.Job(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("job %d is still %s (%v)", id, info.State, err)
	}
}

func TestAnInsertedJobRunsAtOnceAndAScheduledOneInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			return nil
		}))
		time.Sleep(100 * time.Millisecond)
		d.add("start")
		now := mustInsert(t, c, "now", queue.InsertOpts{})
		later := mustInsert(t, c, "later", queue.InsertOpts{RunAt: time.Now().Add(2500 * time.Millisecond)})
		soon := mustInsert(t, c, "soon", queue.InsertOpts{RunAt: time.Now().Add(100 * time.Millisecond)})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.want(t, "0s start", "0s now", "100ms soon", "2.5s later")
		for _, id := range []queue.JobID{now, soon, later} {
			wantGone(t, c, id)
		}
		if err := c.Health(); err != nil {
			t.Errorf("health: %v", err)
		}
	})
}

func TestFailuresAreRetriedByThePolicyAndThenKept(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		broken := errors.New("503 from the third party")
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			return broken
		}))
		id := mustInsert(t, c, "x", queue.InsertOpts{MaxAttempts: 3, Tenant: 5, Unique: "u"})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s x", "1s x", "3s x")
		wantGone(t, c, id)
		dead, err := c.DeadJobs(t.Context(), 5, 0, 10)
		if err != nil || len(dead) != 1 {
			t.Fatalf("dead jobs %v, err %v", dead, err)
		}
		if j := dead[0]; j.ID != id || j.Error != broken.Error() || j.Attempt != 3 || j.Unique != "u" || j.Args != `{"text":"x"}` || time.Since(j.DiedAt) != 57*time.Second {
			t.Errorf("dead job %+v", j)
		}
		if others, err := c.DeadJobs(t.Context(), 6, 0, 10); err != nil || len(others) != 0 {
			t.Errorf("another tenant sees %v, err %v", others, err)
		}
		if _, err := c.Revive(t.Context(), 6, id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("another tenant revives it: %v", err)
		}
		if _, err := c.Revive(t.Context(), 5, id); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s x", "1s x", "3s x", "1m0s x", "1m1s x", "1m3s x")
	})
}

func TestWorkersSayWhatHappensNext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			switch {
			case job.Args.Text == "snooze" && len(d.seen()) < 4:
				return queue.Snooze(10 * time.Second)
			case job.Args.Text == "retry":
				return queue.RetryAfter(100*time.Millisecond, errors.New("again"))
			case job.Args.Text == "discard":
				return queue.Discard(errors.New("never"))
			case job.Args.Text == "panic":
				panic("oh")
			}
			return nil
		}))
		snoozed := mustInsert(t, c, "snooze", queue.InsertOpts{MaxAttempts: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s snooze", "10s snooze", "20s snooze", "30s snooze")
		wantGone(t, c, snoozed)
		mustInsert(t, c, "retry", queue.InsertOpts{MaxAttempts: 2})
		mustInsert(t, c, "discard", queue.InsertOpts{MaxAttempts: 9})
		mustInsert(t, c, "panic", queue.InsertOpts{MaxAttempts: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		if lines := d.seen(); len(lines) != 8 {
			t.Errorf("what happened: %v", lines)
		}
		dead, err := c.DeadJobs(t.Context(), 0, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		var errs []string
		for _, j := range dead {
			errs = append(errs, j.Error)
		}
		if diff := cmp.Diff([]string{"panic: oh", "never", "again"}, errs); diff != "" {
			t.Errorf("dead jobs: %s", diff)
		}
	})
}

func TestCancellingStopsARunningJob(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			d.add("start " + job.Args.Text)
			<-ctx.Done()
			d.add(job.Args.Text + ": " + context.Cause(ctx).Error())
			if job.Args.Text == "stubborn" {
				return nil
			}
			return ctx.Err()
		}))
		polite := mustInsert(t, c, "polite", queue.InsertOpts{})
		synctest.Wait()
		time.Sleep(50 * time.Millisecond)
		stubborn := mustInsert(t, c, "stubborn", queue.InsertOpts{})
		synctest.Wait()
		waiting := mustInsert(t, c, "never runs", queue.InsertOpts{RunAt: time.Now().Add(time.Second)})
		time.Sleep(50 * time.Millisecond)
		for _, id := range []queue.JobID{polite, stubborn, waiting} {
			if err := c.Cancel(t.Context(), id); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			wantGone(t, c, id)
			if err := c.Cancel(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("cancel again: %v", err)
			}
		}
		time.Sleep(time.Minute)
		d.want(t, "0s start polite", "50ms start stubborn", "100ms polite: job was cancelled", "100ms stubborn: job was cancelled")
		if dead, err := c.DeadJobs(t.Context(), 0, 0, 10); err != nil || len(dead) != 0 {
			t.Errorf("a cancelled job is kept as dead: %v %v", dead, err)
		}
	})
}

func TestALostHintOfACancellationIsFoundAtTheNextBeat(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, _ *queue.Job[note]) error {
			d.add("start")
			<-ctx.Done()
			d.add(context.Cause(ctx).Error())
			return ctx.Err()
		}))
		id := mustInsert(t, c, "", queue.InsertOpts{})
		time.Sleep(time.Second)
		if _, err := s.Queue().Cancel(t.Context(), time.Now(), id); err != nil { // without the hint
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		d.want(t, "0s start", "5s job was cancelled")
		wantGone(t, c, id)
	})
}

func TestAJobRunsOutOfTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, _ *queue.Job[note]) error {
			d.add("start")
			<-ctx.Done()
			d.add(context.Cause(ctx).Error())
			return ctx.Err()
		}))
		mustInsert(t, c, "", queue.InsertOpts{Timeout: 90 * time.Second, MaxAttempts: 1})
		time.Sleep(5 * time.Minute)
		d.want(t, "0s start", "1m30s job ran out of time")
		dead, err := c.DeadJobs(t.Context(), 0, 0, 10)
		if err != nil || len(dead) != 1 || dead[0].Error != "job ran out of time (1m30s): context deadline exceeded" {
			t.Errorf("dead jobs %v, err %v", dead, err)
		}
	})
}

func TestALongJobKeepsItsLease(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var runs atomic.Int64
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error {
			runs.Add(1)
			time.Sleep(20 * time.Minute) // longer than the usual limit, too
			return nil
		}))
		id := mustInsert(t, c, "", queue.InsertOpts{Timeout: -1})
		time.Sleep(21 * time.Minute)
		synctest.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
		wantGone(t, c, id)
	})
}

func TestTheJobOfADeadProcessRunsAgainWhenItsLeaseRunsOut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		died := claimAndDie(t, s, "orphan", 15*time.Second)
		var d diary
		d.add("start")
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			if job.Attempt != 1 || job.Lost != 1 {
				t.Errorf("attempt %d, lost %d", job.Attempt, job.Lost)
			}
			return nil
		}))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		d.want(t, "0s start", "15s orphan")
		wantGone(t, c, died.ID)
	})
}

func TestAJobThatKillsItsProcessIsGivenUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		inserter, err := queue.New(queue.Config{Store: s.Queue()})
		if err != nil {
			t.Fatal(err)
		}
		id := mustInsert(t, inserter, "poison", queue.InsertOpts{})
		for i := range queue.MaxLost {
			claims, err := s.Queue().Claim(t.Context(), queue.ClaimRequest{Queue: "default", Max: 1, Token: int64(i + 1), Until: time.Now()})
			if err != nil || len(claims.Jobs) != 1 {
				t.Fatalf("claims %v, err %v", claims, err)
			}
			if _, err := s.Queue().Tick(t.Context(), time.Now(), 10); err != nil {
				t.Fatal(err)
			}
		}
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error {
			t.Error("it runs once more")
			return nil
		}))
		time.Sleep(time.Second)
		wantGone(t, c, id)
		dead, err := c.DeadJobs(t.Context(), 0, 0, 10)
		if err != nil || len(dead) != 1 || dead[0].Error != queue.ErrLostTooOften.Error() {
			t.Errorf("dead jobs %v, err %v", dead, err)
		}
	})
}

func TestAProcessThatIsAloneTakesOverAtItsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		died := claimAndDie(t, s, "orphan", time.Hour)
		var d diary
		d.add("start")
		c := startQueue(t, s, queue.Config{Alone: true}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			return nil
		}))
		time.Sleep(time.Second)
		d.want(t, "0s start", "0s orphan")
		wantGone(t, c, died.ID)
	})
}

func TestStopLetsJobsFinishAndThenSendsThemBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		work := queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			d.add("start " + job.Args.Text)
			limit := time.Hour
			if job.Args.Text == "short" {
				limit = 3 * time.Second
			}
			select {
			case <-ctx.Done():
				d.add(job.Args.Text + ": " + context.Cause(ctx).Error())
				return ctx.Err()
			case <-time.After(limit):
				d.add("end " + job.Args.Text)
				return nil
			}
		})
		c := startQueue(t, s, queue.Config{}, work)
		short := mustInsert(t, c, "short", queue.InsertOpts{MaxAttempts: 1})
		synctest.Wait()
		long := mustInsert(t, c, "long", queue.InsertOpts{MaxAttempts: 1})
		synctest.Wait()
		for range 2 {
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		never := mustInsert(t, c, "after the stop", queue.InsertOpts{})
		d.want(t, "0s start short", "0s start long", "3s end short", "10s long: stopping")
		wantGone(t, c, short)
		for _, id := range []queue.JobID{long, never} {
			if info, err := c.Job(t.Context(), id); err != nil || info.Attempt != 0 || info.Lost != 0 {
				t.Errorf("job %d: %+v, err %v", id, info, err)
			}
		}
		if err := c.Start(t.Context()); !errors.Is(err, lifecycle.ErrStopped) {
			t.Errorf("start after stop: %v", err)
		}
		// Another process runs it at once: it was handed back, not abandoned.
		before := time.Now()
		startQueue(t, s, queue.Config{SoftStop: -1}, work)
		synctest.Wait()
		if lines := d.seen(); len(lines) != 6 || time.Since(before) != 0 {
			t.Errorf("after %s in the next process: %v", time.Since(before), lines)
		}
	})
}

func TestAtMostTheWorkersOfAQueueRun(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var mu sync.Mutex
		var running, most, ran int
		c := startQueue(t, s, queue.Config{Queues: map[string]int{"default": 3, "other": 1}}, queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			ran++
			mu.Unlock()
			return nil
		}))
		for range 30 {
			mustInsert(t, c, "", queue.InsertOpts{})
		}
		mustInsert(t, c, "", queue.InsertOpts{Queue: "nobody"})
		time.Sleep(10*time.Second + 500*time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if ran != 30 || most != 3 {
			t.Errorf("%d ran in 10 s, %d at once; want 30, 3", ran, most)
		}
	})
}

func TestAnUnknownKindIsLeftForAnotherProcess(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		empty, err := queue.New(queue.Config{Store: s.Queue(), Queues: map[string]int{"default": 1}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := empty.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := mustInsert(t, empty, "", queue.InsertOpts{MaxAttempts: 1})
		time.Sleep(time.Second)
		info, err := empty.Job(t.Context(), id)
		if err != nil || info.State != queue.StateWaiting || info.Attempt != 0 {
			t.Errorf("%+v, err %v", info, err)
		}
		if err := empty.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error { return nil }))
		time.Sleep(time.Minute)
		wantGone(t, c, id)
	})
}

func TestTheConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	workers := queue.NewWorkers()
	work := queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error { return nil })
	queue.Add(workers, work, queue.WorkerOpts{})
	queue.Add(workers, work, queue.WorkerOpts{})
	for name, config := range map[string]queue.Config{
		"no store":    {},
		"two workers": {Store: store.Queue{}, Workers: workers},
		"bad queue":   {Store: store.Queue{}, Queues: map[string]int{"a b": 1}},
		"no workers":  {Store: store.Queue{}, Queues: map[string]int{"a": 0}},
		"short lease": {Store: store.Queue{}, Lease: 10 * time.Second},
	} {
		if _, err := queue.New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := queue.New(queue.Config{Store: store.Queue{}}); err != nil {
		t.Error(err)
	}
}
