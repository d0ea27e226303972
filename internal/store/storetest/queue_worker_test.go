package storetest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
)

func TestAResultAndItsJobEndTogether(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		undo := errors.New("undo")
		var c *queue.Client
		c = startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			if job.Args.Text != "work" {
				return nil
			}
			// The first attempt's transaction is rolled back: neither its result nor its end may be there.
			err := s.Write(ctx, func(ctx context.Context) error {
				if _, err := c.Insert(ctx, note{"result"}, queue.InsertOpts{}); err != nil {
					return err
				}
				if err := job.CompleteTx(ctx); err != nil {
					return err
				}
				if job.Attempt == 1 {
					return undo
				}
				return nil
			})
			if job.Attempt == 1 && errors.Is(err, undo) {
				return err
			}
			return errors.New("ignored: the job has ended")
		}))
		id := mustInsert(t, c, "work", queue.InsertOpts{})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s work", "1s work", "1s result")
		wantGone(t, c, id)
		if dead, err := c.DeadJobs(t.Context(), 0, 0, 10); err != nil || len(dead) != 0 {
			t.Errorf("dead jobs %v, err %v", dead, err)
		}
	})
}

func TestWhatHappensNextCanBeCommittedWithAResult(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			result := queue.RetryAfter(200*time.Millisecond, errors.New("503"))
			if fails := job.FailsWith(result); fails != (job.Attempt == 3) {
				t.Errorf("attempt %d fails for good: %v", job.Attempt, fails)
			}
			return s.Write(ctx, func(ctx context.Context) error { return job.EndTx(ctx, result) })
		}))
		mustInsert(t, c, "x", queue.InsertOpts{MaxAttempts: 3})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s x", "200ms x", "400ms x")
		if dead, err := c.DeadJobs(t.Context(), 0, 0, 10); err != nil || len(dead) != 1 || dead[0].Error != "503" {
			t.Errorf("dead jobs %v, err %v", dead, err)
		}
	})
}

func TestAWorkerThatLostItsLeaseChangesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			if job.Lost > 0 {
				d.add("second run")
				time.Sleep(20 * time.Second)
				if err := job.Guard(ctx); err != nil {
					t.Errorf("the second run's guard: %v", err)
				}
				d.add("second run ends")
				return nil
			}
			d.add("first run")
			<-ctx.Done()
			d.add("first run: " + context.Cause(ctx).Error())
			ctx = context.WithoutCancel(ctx)
			if err := job.Guard(ctx); !errors.Is(err, queue.ErrLeaseLost) {
				t.Errorf("guard: %v", err)
			}
			if err := job.CompleteTx(ctx); !errors.Is(err, queue.ErrLeaseLost) {
				t.Errorf("complete: %v", err)
			}
			return nil
		}))
		id := mustInsert(t, c, "", queue.InsertOpts{})
		time.Sleep(1500 * time.Millisecond)                                      // between two polls
		if n, err := s.Queue().TakeBack(t.Context(), 10); err != nil || n != 1 { // as if the process had been thought dead
			t.Fatalf("took back %d, err %v", n, err)
		}
		time.Sleep(time.Minute)
		d.want(t, "0s first run", "2s second run", "5s first run: job's lease was lost", "22s second run ends")
		wantGone(t, c, id)
	})
}

func TestACancelledJobCommitsNothingMore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		var cancel func() // without the hint: the worker does not know
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			cancel()
			if err := job.Guard(ctx); !errors.Is(err, queue.ErrCancelled) {
				t.Errorf("guard: %v", err)
			}
			if err := job.CompleteTx(ctx); !errors.Is(err, queue.ErrCancelled) {
				t.Errorf("complete: %v", err)
			}
			if err := job.EndTx(ctx, queue.Snooze(time.Second)); !errors.Is(err, queue.ErrCancelled) {
				t.Errorf("snooze: %v", err)
			}
			d.add("refused")
			return job.EndTx(ctx, queue.ErrCancelled)
		}))
		started := make(chan queue.JobID, 1)
		cancel = func() {
			if _, err := s.Queue().Cancel(t.Context(), time.Now(), <-started); err != nil {
				t.Error(err)
			}
		}
		id := mustInsert(t, c, "", queue.InsertOpts{})
		started <- id
		time.Sleep(time.Minute)
		d.want(t, "0s refused")
		wantGone(t, c, id)
	})
}

// mourner is a worker that wants to know of jobs that failed for good.
type mourner struct {
	work   func() error
	failed func(ctx context.Context, job *queue.Job[note], cause error) error
}

func (m mourner) Work(context.Context, *queue.Job[note]) error { return m.work() }

func (m mourner) Failed(ctx context.Context, job *queue.Job[note], cause error) error {
	return m.failed(ctx, job, cause)
}

func TestTheFailureHandlerRunsInTheTransactionThatEndsTheJob(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		var c *queue.Client
		var tries atomic.Int64
		c = startQueue(t, s, queue.Config{}, mourner{
			work: func() error { d.add("work"); return errors.New("broken") },
			failed: func(ctx context.Context, job *queue.Job[note], cause error) error {
				d.add(job.Args.Text + " failed: " + cause.Error())
				if _, err := c.Insert(ctx, note{"consequence"}, queue.InsertOpts{Queue: "elsewhere", Unique: "one"}); err != nil {
					return err
				}
				if tries.Add(1) == 1 {
					return errors.New("the handler is broken, too")
				}
				return nil
			},
		})
		id := mustInsert(t, c, "x", queue.InsertOpts{MaxAttempts: 2})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s work", "1s work", "1s x failed: broken", "31s work", "31s x failed: broken")
		wantGone(t, c, id)
		if dead, err := c.DeadJobs(t.Context(), 0, 0, 10); err != nil || len(dead) != 1 || dead[0].Error != "broken" {
			t.Errorf("dead jobs %v, err %v", dead, err)
		}
	})
}

func TestAJobLostTooOftenIsHandedToTheFailureHandler(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		died := claimAndDie(t, s, "poison", 0)
		for range queue.MaxLost {
			if _, err := s.Queue().TakeBack(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Queue().Claim(t.Context(), queue.ClaimRequest{Queue: queue.DefaultQueue, Max: 1, Token: 1}); err != nil {
				t.Fatal(err)
			}
		}
		var d diary
		c := startQueue(t, s, queue.Config{Alone: true}, mourner{
			work:   func() error { d.add("work"); return nil },
			failed: func(_ context.Context, _ *queue.Job[note], cause error) error { d.add(cause.Error()); return nil },
		})
		time.Sleep(time.Second)
		d.want(t, "0s the process that ran the job died 5 times")
		wantGone(t, c, died.ID)
	})
}

// brittle is a store that fails while it is told to.
type brittle struct {
	queue.Store
	endFails, renewFails, claimFails atomic.Bool
}

var errDisk = errors.New("disk full")

func (b *brittle) End(ctx context.Context, now time.Time, endings []queue.Ending) (queue.Ended, error) {
	if b.endFails.Load() {
		return queue.Ended{}, errDisk
	}
	return b.Store.End(ctx, now, endings)
}

func (b *brittle) Renew(ctx context.Context, holds []queue.Hold, until time.Time) (map[queue.Hold]bool, error) {
	if b.renewFails.Load() {
		return nil, errDisk
	}
	return b.Store.Renew(ctx, holds, until)
}

func (b *brittle) Claim(ctx context.Context, req queue.ClaimRequest) (queue.Claims, error) {
	if b.claimFails.Load() {
		return queue.Claims{}, errDisk
	}
	return b.Store.Claim(ctx, req)
}

func TestATroubledDatabaseIsSurvived(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		b := &brittle{Store: s.Queue()}
		c := startQueueOn(t, b, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, job *queue.Job[note]) error {
			d.add(job.Args.Text)
			if job.Args.Text == "long" && job.Lost == 0 {
				<-ctx.Done()
				d.add(context.Cause(ctx).Error())
			}
			return nil
		}))
		// The end of a job can't be stored for a while: it is stored later, and the job does not run twice.
		b.endFails.Store(true)
		mustInsert(t, c, "short", queue.InsertOpts{})
		time.Sleep(3500 * time.Millisecond)
		if err := c.Health(); !errors.Is(err, errDisk) {
			t.Errorf("health: %v", err)
		}
		b.endFails.Store(false)
		time.Sleep(time.Second)
		if err := c.Health(); err != nil {
			t.Errorf("health: %v", err)
		}
		d.want(t, "0s short")
		// Nothing can be claimed for a while.
		b.claimFails.Store(true)
		mustInsert(t, c, "later", queue.InsertOpts{})
		time.Sleep(2 * time.Second)
		if err := c.Health(); !errors.Is(err, errDisk) {
			t.Errorf("health: %v", err)
		}
		b.claimFails.Store(false)
		time.Sleep(time.Second + 100*time.Millisecond)
		if lines := d.seen(); len(lines) != 2 {
			t.Errorf("what happened: %v", lines)
		}
		// Leases can't be renewed: the worker is stopped before another process could take the job.
		mustInsert(t, c, "long", queue.InsertOpts{})
		synctest.Wait()
		start := time.Now()
		b.renewFails.Store(true)
		for len(d.seen()) < 4 {
			time.Sleep(100 * time.Millisecond)
		}
		if after := time.Since(start); after > 15*time.Second || after < 8*time.Second {
			t.Errorf("the worker was stopped after %s", after)
		}
		b.renewFails.Store(false)
		time.Sleep(20 * time.Second)
		if lines := d.seen(); len(lines) != 5 || lines[3][len(lines[3])-len(queue.ErrLeaseLost.Error()):] != queue.ErrLeaseLost.Error() {
			t.Errorf("what happened: %v", lines)
		}
	})
}

// mangled has the kind of note and arguments that a note can't be read from.
type mangled struct {
	Text []int `json:"text"`
}

func (mangled) Kind() string { return note{}.Kind() }

func TestArgumentsThatCannotBeReadAreKeptForALook(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		c := startQueue(t, s, queue.Config{}, mourner{
			work:   func() error { t.Error("it ran"); return nil },
			failed: func(context.Context, *queue.Job[note], error) error { t.Error("the handler got it"); return nil },
		})
		id, err := c.Insert(t.Context(), mangled{[]int{1}}, queue.InsertOpts{MaxAttempts: 5})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantGone(t, c, id)
		if dead, err := c.DeadJobs(t.Context(), 0, 0, 10); err != nil || len(dead) != 1 || dead[0].Args != `{"text":[1]}` || dead[0].Attempt != 1 {
			t.Errorf("dead jobs %+v, err %v", dead, err)
		}
	})
}

// errand is a kind with options of its own.
type errand struct{}

func (errand) Kind() string { return "test.errand" }

func TestAKindHasItsOwnBackoffAndTimeLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		workers := queue.NewWorkers()
		queue.Add(workers, queue.WorkerFunc[errand](func(ctx context.Context, _ *queue.Job[errand]) error {
			d.add("start")
			<-ctx.Done()
			d.add("end")
			return ctx.Err()
		}), queue.WorkerOpts{Timeout: 3 * time.Second, Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Minute }})
		c := startQueue(t, s, queue.Config{Workers: workers}, queue.WorkerFunc[note](func(context.Context, *queue.Job[note]) error { return nil }))
		if _, err := c.Insert(t.Context(), errand{}, queue.InsertOpts{MaxAttempts: 3}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		d.want(t, "0s start", "3s end", "1m3s start", "1m6s end", "3m6s start", "3m9s end")
	})
}

func TestStopDoesNotWaitLongerThanItMay(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(ctx context.Context, _ *queue.Job[note]) error {
			d.add("start")
			<-ctx.Done()
			d.add(context.Cause(ctx).Error())
			time.Sleep(time.Minute) // deaf
			d.add("end")
			return nil
		}))
		mustInsert(t, c, "", queue.InsertOpts{})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := c.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
		synctest.Wait()
		d.want(t, "0s start", "2s stopping")
		if err := c.Stop(t.Context()); err != nil { // this one has the time
			t.Errorf("stop: %v", err)
		}
		d.want(t, "0s start", "2s stopping", "1m2s end")
	})
}
