package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// newScheduleBench makes a bench whose jobs run for days.
func newScheduleBench(t *testing.T, s *store.Store) *queueBench {
	t.Helper()
	b := newQueueBench(t, s)
	b.lease = 48 * time.Hour
	return b
}

// upsert stores a schedule every period.
func (b *queueBench) upsert(key string, period time.Duration, paused bool) {
	b.Helper()
	if err := b.client.UpsertSchedule(b.Context(), queue.ScheduleSpec{
		Key: key, Args: note{key}, Period: period, Paused: paused, Opts: queue.InsertOpts{Tenant: 3, MaxAttempts: 1},
	}); err != nil {
		b.Fatal(err)
	}
}

func (b *queueBench) schedule(key string) queue.Schedule {
	b.Helper()
	s, err := b.client.Schedule(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// wantNext checks when a schedule is next, as the time since the day began.
func (b *queueBench) wantNext(key string, after time.Duration) {
	b.Helper()
	if next := b.schedule(key).NextAt.Sub(queueDay); next != after {
		b.Errorf("schedule %s is next at %s, want %s", key, next, after)
	}
}

// at moves the clock to after the day began and ticks.
func (b *queueBench) at(after time.Duration) queue.Ticked {
	b.Helper()
	b.now = queueDay.Add(after)
	return b.tick()
}

func TestAScheduleRunsAtOnceAndThenOnItsGrid(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		b.upsert("hourly", time.Hour, false)
		if due, err := b.store.Due(t.Context()); err != nil || !due.Next.Equal(b.now) {
			t.Errorf("due %+v, err %v", due, err)
		}
		if ticked := b.at(0); ticked.Fired != 1 || ticked.Queues[0] != queue.DefaultQueue {
			t.Fatalf("ticked %+v", ticked)
		}
		got := b.schedule("hourly")
		want := queue.Schedule{
			ID: got.ID, Key: "hourly", State: queue.ScheduleStarted, Period: time.Hour, Anchor: queueDay, NextAt: queueDay.Add(time.Hour),
			LastJob: got.LastJob, LastState: queue.LastActive, CreatedAt: queueDay, UpdatedAt: queueDay,
			Spec: queue.Spec{
				Queue: "default", Kind: "test.note", Args: `{"text":"hourly"}`, Tenant: 3, Key: "schedule:hourly", KeyLimit: 1, MaxAttempts: 1,
			},
		}
		if diff := cmp.Diff(want, got); diff != "" || got.LastJob == 0 {
			t.Errorf("schedule: %s", diff)
		}
		// The run takes two and a half hours: no other starts meanwhile, and the ticks it missed are not made up for.
		job := b.claimOne()
		if job.ID != got.LastJob || job.Schedule != got.ID || job.Args != `{"text":"hourly"}` || job.Tenant != 3 {
			t.Errorf("claimed %+v", job)
		}
		if ticked := b.at(150 * time.Minute); ticked.Fired != 0 {
			t.Errorf("it fired while its job ran: %+v", ticked)
		}
		b.succeed(job)
		b.wantNext("hourly", 3*time.Hour)
		if ticked := b.at(3*time.Hour - time.Microsecond); ticked.Fired != 0 {
			t.Errorf("early: %+v", ticked)
		}
		if ticked := b.at(3 * time.Hour); ticked.Fired != 1 {
			t.Errorf("late: %+v", ticked)
		}
		b.succeed(b.claimOne())
		b.wantNext("hourly", 4*time.Hour) // it took no time: the same point must not run twice
		if s := b.schedule("hourly"); s.LastState != queue.LastSucceeded {
			t.Errorf("last state %d", s.LastState)
		}
	})
}

func TestEachEndOfAScheduledJobMovesTheScheduleOn(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		b.upsert("s", time.Hour, false)
		for i, c := range []struct {
			ending queue.Ending
			last   queue.LastState
			next   time.Duration
		}{
			{queue.Ending{Verdict: queue.Succeeded}, queue.LastSucceeded, time.Hour},
			{queue.Ending{Verdict: queue.Succeeded, Again: true}, queue.LastSucceeded, 0},
			{queue.Ending{Verdict: queue.Failed, Error: "x"}, queue.LastFailed, time.Hour},
			{queue.Ending{Verdict: queue.Cancelled}, queue.LastCancelled, time.Hour},
		} {
			start := time.Duration(i) * time.Hour
			if ticked := b.at(start); ticked.Fired != 1 {
				t.Fatalf("run %d: %+v", i, ticked)
			}
			job := b.claimOne()
			b.now = b.now.Add(time.Minute)
			if err := b.end(job, c.ending); err != nil {
				t.Fatal(err)
			}
			if s := b.schedule("s"); s.LastState != c.last {
				t.Errorf("run %d: last state %d, want %d", i, s.LastState, c.last)
			}
			if c.next == 0 {
				b.wantNext("s", start+time.Minute)
			} else {
				b.wantNext("s", start+c.next)
			}
		}
		// A retry is not an end.
		b.at(4 * time.Hour)
		if err := b.end(b.claimOne(), queue.Ending{Verdict: queue.Later, RunAt: b.now.Add(3 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if s := b.schedule("s"); s.LastState != queue.LastActive {
			t.Errorf("last state %d", s.LastState)
		}
		if ticked := b.at(6 * time.Hour); ticked.Fired != 0 {
			t.Errorf("it fired while its job waits for its retry: %+v", ticked)
		}
	})
}

func TestAPausedScheduleDoesNotRunAndItsWaitingJobIsGone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		ctx := t.Context()
		b.upsert("s", time.Hour, false)
		b.at(0)
		waiting := b.schedule("s").LastJob
		for range 2 {
			if err := b.client.Pause(ctx, "s"); err != nil {
				t.Fatal(err)
			}
		}
		b.wantStates(map[queue.JobID]queue.State{waiting: ""})
		if s := b.schedule("s"); s.State != queue.SchedulePaused || s.LastState != queue.LastCancelled {
			t.Errorf("schedule %+v", s)
		}
		if ticked := b.at(5*time.Hour + time.Minute); ticked.Fired != 0 {
			t.Errorf("it fired while paused: %+v", ticked)
		}
		if err := b.client.Resume(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if ticked := b.tick(); ticked.Fired != 1 {
			t.Errorf("it was due meanwhile: %+v", ticked)
		}
		// One that runs is left alone, and its end counts.
		job := b.claimOne()
		if err := b.client.Pause(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.succeed(job)
		if s := b.schedule("s"); s.State != queue.SchedulePaused || s.LastState != queue.LastSucceeded {
			t.Errorf("schedule %+v", s)
		}
		b.wantNext("s", 6*time.Hour)
	})
}

func TestAScheduleCreatedPausedWaitsForItsStart(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		b.upsert("s", time.Hour, true)
		if ticked := b.at(time.Minute); ticked.Fired != 0 {
			t.Errorf("it fired: %+v", ticked)
		}
		b.upsert("s", time.Hour, false) // a schedule that exists keeps its state
		if ticked := b.tick(); ticked.Fired != 0 {
			t.Errorf("it fired: %+v", ticked)
		}
		if err := b.client.Resume(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		if ticked := b.tick(); ticked.Fired != 1 {
			t.Errorf("it never ran, so it is due: %+v", ticked)
		}
	})
}

func TestATriggerRunsAScheduleNow(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		ctx := t.Context()
		b.upsert("s", time.Hour, true)
		b.now = b.now.Add(time.Minute)
		id, err := b.client.TriggerNow(ctx, "s", queue.TriggerOpts{Args: note{"full"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.TriggerNow(ctx, "s", queue.TriggerOpts{}); !errors.Is(err, queue.ErrAlreadyRunning) {
			t.Errorf("twice: %v", err)
		}
		job := b.claimOne()
		if job.ID != id || job.Args != `{"text":"full"}` || job.Schedule == 0 {
			t.Errorf("claimed %+v", job)
		}
		if s := b.schedule("s"); s.State != queue.SchedulePaused || s.LastJob != id || s.Args != `{"text":"s"}` {
			t.Errorf("schedule %+v", s)
		}
		if _, err := b.client.TriggerNow(ctx, "s", queue.TriggerOpts{Args: payload{}}); err == nil {
			t.Error("arguments of another kind are accepted")
		}
		if _, err := b.client.TriggerNow(ctx, "none", queue.TriggerOpts{}); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("no such schedule: %v", err)
		}
		b.succeed(job)
		b.wantNext("s", time.Hour)
	})
}

func TestATriggerThatReplacesWaitsForTheEndOfTheOldRun(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		ctx := t.Context()
		b.upsert("s", time.Hour, false)
		b.at(0)
		old := b.claimOne()
		second, err := b.client.TriggerNow(ctx, "s", queue.TriggerOpts{Replace: true})
		if err != nil {
			t.Fatal(err)
		}
		third, err := b.client.TriggerNow(ctx, "s", queue.TriggerOpts{Replace: true}) // the second has not started
		if err != nil {
			t.Fatal(err)
		}
		if got := b.claim(9); len(got) != 0 {
			t.Fatalf("%v runs beside the old run", jobIDs(got))
		}
		b.wantStates(map[queue.JobID]queue.State{old.ID: queue.StateRunning, second: "", third: queue.StateHeld})
		if err := b.end(old, queue.Ending{Verdict: queue.Succeeded}); !errors.Is(err, queue.ErrCancelled) {
			t.Errorf("the old run ends as if nothing had happened: %v", err)
		}
		if err := b.end(old, queue.Ending{Verdict: queue.Cancelled}); err != nil {
			t.Error(err)
		}
		if s := b.schedule("s"); s.LastJob != third || s.LastState != queue.LastActive {
			t.Errorf("the old run's end moved the schedule: %+v", s)
		}
		if job := b.claimOne(); job.ID != third {
			t.Errorf("claimed %d", job.ID)
		}
	})
}

func TestAChangedPeriodKeepsTheAnchor(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		ctx := t.Context()
		b.upsert("s", time.Hour, false)
		b.at(0)
		b.now = queueDay.Add(10 * time.Minute)
		b.succeed(b.claimOne())
		b.wantNext("s", time.Hour)
		b.now = queueDay.Add(25 * time.Minute)
		for range 2 {
			if err := b.client.SetPeriod(ctx, "s", 20*time.Minute); err != nil {
				t.Fatal(err)
			}
			b.wantNext("s", 40*time.Minute)
			b.now = b.now.Add(20 * time.Minute) // the same period again must change nothing, late as it is
		}
		b.now = queueDay.Add(50 * time.Minute)
		b.upsert("s", 7*time.Minute, false)
		b.wantNext("s", 56*time.Minute)
		if err := b.client.SetPeriod(ctx, "s", time.Millisecond); err == nil {
			t.Error("a period of a millisecond is accepted")
		}
		if err := b.client.SetPeriod(ctx, "none", time.Hour); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("no such schedule: %v", err)
		}
	})
}

func TestADeletedScheduleIsGoneAndItsNameFree(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		ctx := t.Context()
		b.upsert("s", time.Hour, false)
		b.at(0)
		running := b.claimOne()
		if err := b.client.DeleteSchedule(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if info, err := b.client.Job(ctx, running.ID); err != nil || !info.Cancelled {
			t.Errorf("its job was not told: %+v, err %v", info, err)
		}
		for name, fn := range map[string]func(context.Context, string) error{
			"pause": b.client.Pause, "resume": b.client.Resume, "delete": b.client.DeleteSchedule,
			"read": func(ctx context.Context, key string) error { _, err := b.client.Schedule(ctx, key); return err },
		} {
			if err := fn(ctx, "s"); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if ticked := b.at(2 * time.Hour); ticked.Fired != 0 {
			t.Errorf("it fired: %+v", ticked)
		}
		b.upsert("s", 5*time.Hour, false)
		b.wantNext("s", 2*time.Hour)
		if s := b.schedule("s"); s.LastJob != 0 || s.LastState != queue.LastNone || !s.Anchor.Equal(b.now) {
			t.Errorf("it remembers its former life: %+v", s)
		}
		// Deleted for good after a while, and only then.
		if err := b.client.DeleteSchedule(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if err := b.store.Prune(ctx, b.now, 10, b.now.Add(time.Hour)); err != nil {
			t.Error(err)
		}
		if list, err := b.client.Schedules(ctx, []string{"s", "none"}); err != nil || len(list) != 0 {
			t.Errorf("schedules %v, err %v", list, err)
		}
	})
}

func TestManySchedulesFireInPortions(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newScheduleBench(t, s)
		for i := range 25 {
			b.upsert(fmt.Sprint(i), time.Hour, false)
		}
		fired := 0
		for more := true; more; {
			ticked, err := b.store.Tick(t.Context(), b.now, 10)
			if err != nil || fired > 25 {
				t.Fatalf("ticked %+v after %d, err %v", ticked, fired, err)
			}
			fired += ticked.Fired
			more = ticked.More
		}
		if jobs := b.claim(99); fired != 25 || len(jobs) != 25 {
			t.Errorf("%d fired, %d jobs", fired, len(jobs))
		}
	})
}

func TestAScheduleKeepsItsBeatWhateverItsJobsDo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *store.Store) {
		var d diary
		took := map[string]time.Duration{"1": 3 * time.Second, "2": 25 * time.Second, "3": 0}
		run := 0
		c := startQueue(t, s, queue.Config{}, queue.WorkerFunc[note](func(_ context.Context, job *queue.Job[note]) error {
			run++ // one at a time: that is what is tested
			text := fmt.Sprint(run)
			d.add("start " + text)
			if !job.Scheduled {
				t.Error("the job does not know that it was scheduled")
			}
			time.Sleep(took[text])
			if text == "3" {
				job.RunAgainNow()
			}
			if text == "4" {
				return errors.New("broken")
			}
			return nil
		}))
		time.Sleep(500 * time.Millisecond) // between two polls, so that what happens does not depend on which goroutine is first
		d.add("created")
		if err := c.UpsertSchedule(t.Context(), queue.ScheduleSpec{Key: "s", Args: note{}, Period: 10 * time.Second, Opts: queue.InsertOpts{MaxAttempts: 1}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(55 * time.Second)
		if err := c.Pause(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + 250*time.Millisecond)
		if err := c.Resume(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if err := c.DeleteSchedule(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		d.want(t, "0s created", "0s start 1", "10s start 2", "40s start 3", "40.01s start 4", "50s start 5", "1m55.25s start 6", "2m0s start 7")
	})
}
