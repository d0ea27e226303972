package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// note is the simplest job.
type note struct {
	Text string `json:"text"`
}

func (note) Kind() string { return "test.note" }

// bench of a queue test: a store, a client over it, and a clock that only the test moves.
type queueBench struct {
	*testing.T
	client *queue.Client
	store  store.Queue
	now    time.Time
	lease  time.Duration
	token  int64
}

// queueDay is when the queue tests begin.
var queueDay = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func newQueueBench(t *testing.T, s *store.Store) *queueBench {
	t.Helper()
	b := &queueBench{T: t, store: s.Queue(), now: queueDay, lease: 15 * time.Second}
	client, err := queue.New(queue.Config{Store: b.store, Now: func() time.Time { return b.now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.client = client
	return b
}

func (b *queueBench) insert(text string, opts queue.InsertOpts) queue.JobID {
	b.Helper()
	id, err := b.client.Insert(b.Context(), note{text}, opts)
	if err != nil {
		b.Fatal(err)
	}
	return id
}

// claim leases up to n jobs of the default queue.
func (b *queueBench) claim(n int) []queue.Claimed {
	b.Helper()
	b.token += 1 << 32
	claims, err := b.store.Claim(b.Context(), queue.ClaimRequest{
		Queue: queue.DefaultQueue, Max: n, Token: b.token, Until: b.now.Add(b.lease),
	})
	if err != nil {
		b.Fatal(err)
	}
	return claims.Jobs
}

func (b *queueBench) claimOne() queue.Claimed {
	b.Helper()
	jobs := b.claim(1)
	if len(jobs) != 1 {
		b.Fatalf("claimed %d jobs, want one", len(jobs))
	}
	return jobs[0]
}

// end records an end and returns why it was refused.
func (b *queueBench) end(job queue.Claimed, ending queue.Ending) error {
	b.Helper()
	ending.Hold = job.Hold
	ended, err := b.store.End(b.Context(), b.now, []queue.Ending{ending})
	if err != nil {
		b.Fatal(err)
	}
	return ended.Refused[job.Hold]
}

func (b *queueBench) succeed(job queue.Claimed) {
	b.Helper()
	if err := b.end(job, queue.Ending{Verdict: queue.Succeeded}); err != nil {
		b.Fatal(err)
	}
}

func (b *queueBench) tick() queue.Ticked {
	b.Helper()
	ticked, err := b.store.Tick(b.Context(), b.now, 500)
	if err != nil {
		b.Fatal(err)
	}
	return ticked
}

// state is the state of a job, or "" if there is none.
func (b *queueBench) state(id queue.JobID) queue.State {
	b.Helper()
	info, err := b.client.Job(b.Context(), id)
	if errors.Is(err, queue.ErrNotFound) {
		return ""
	}
	if err != nil {
		b.Fatal(err)
	}
	return info.State
}

func (b *queueBench) wantStates(want map[queue.JobID]queue.State) {
	b.Helper()
	got := map[queue.JobID]queue.State{}
	for id := range want {
		got[id] = b.state(id)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("states: %s", diff)
	}
}

func jobIDs(jobs []queue.Claimed) []queue.JobID {
	ids := make([]queue.JobID, 0, len(jobs))
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	return ids
}

func TestAJobIsClaimedOnceAndForgottenWhenItSucceeded(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		id := b.insert("hello", queue.InsertOpts{Tenant: 7, MaxAttempts: 3, Timeout: time.Minute, Priority: 2, Key: "k", Group: "g", GroupLimit: 9})
		if jobs := b.claim(0); len(jobs) != 0 {
			t.Errorf("claimed %d jobs, asked for none", len(jobs))
		}
		job := b.claimOne()
		want := queue.Claimed{
			Hold: queue.Hold{ID: id, Lease: b.token + int64(id)}, Attempt: 1, CreatedAt: b.now,
			Spec: queue.Spec{
				Queue: "default", Kind: "test.note", Args: `{"text":"hello"}`, Tenant: 7, Priority: 2,
				Key: "k", KeyLimit: 1, Group: "g", GroupLimit: 9, MaxAttempts: 3, Timeout: time.Minute,
			},
		}
		if diff := cmp.Diff(want, job); diff != "" {
			t.Errorf("claimed: %s", diff)
		}
		if again := b.claim(9); len(again) != 0 {
			t.Errorf("claimed twice: %v", again)
		}
		b.wantStates(map[queue.JobID]queue.State{id: queue.StateRunning})
		b.succeed(job)
		b.wantStates(map[queue.JobID]queue.State{id: ""})
		if err := b.end(job, queue.Ending{Verdict: queue.Succeeded}); !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("the second end: %v", err)
		}
	})
}

func TestAnIDIsNeverGivenTwice(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		first := b.insert("a", queue.InsertOpts{})
		b.succeed(b.claimOne())
		if second := b.insert("b", queue.InsertOpts{}); second <= first {
			t.Errorf("job %d after job %d", second, first)
		}
	})
}

func TestInsertJoinsTheTransaction(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		undo := errors.New("undo")
		var id queue.JobID
		err := s.Write(t.Context(), func(ctx context.Context) error {
			var err error
			if id, err = b.client.Insert(ctx, note{"x"}, queue.InsertOpts{}); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		b.wantStates(map[queue.JobID]queue.State{id: ""})
		if jobs := b.claim(1); len(jobs) != 0 {
			t.Error("a job that was rolled back is claimed")
		}
	})
}

func TestManyAreInsertedOrNone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		ids, err := b.client.InsertMany(t.Context(), []queue.InsertParams{
			{Args: note{"a"}, Opts: queue.InsertOpts{Unique: "u"}}, {Args: note{"b"}, Opts: queue.InsertOpts{}}, {Args: note{"c"}, Opts: queue.InsertOpts{Unique: "u"}},
		})
		if err != nil || len(ids) != 3 || ids[0] != ids[2] || ids[1] == ids[0] {
			t.Errorf("ids %v, err %v", ids, err)
		}
		_, err = b.client.InsertMany(t.Context(), []queue.InsertParams{{Args: note{"d"}, Opts: queue.InsertOpts{}}, {Args: note{"e"}, Opts: queue.InsertOpts{Queue: "No Such"}}})
		if err == nil {
			t.Error("a queue name with a blank is accepted")
		}
		if jobs := b.claim(9); len(jobs) != 2 {
			t.Errorf("%d jobs, want the two of the first call", len(jobs))
		}
	})
}

func TestAUniqueKeyRefusesWhileTheJobIsUnfinished(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		first := b.insert("a", queue.InsertOpts{Unique: "once"})
		refused := func() {
			t.Helper()
			if id, err := b.client.Insert(t.Context(), note{"b"}, queue.InsertOpts{Unique: "once"}); !errors.Is(err, queue.ErrDuplicate) || id != first {
				t.Errorf("id %d, err %v", id, err)
			}
		}
		refused()
		job := b.claimOne()
		refused()
		b.succeed(job)
		if second := b.insert("b", queue.InsertOpts{Unique: "once"}); second == first {
			t.Error("the finished job still counts")
		}
	})
}

func TestAFullGroupRefusesMore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		opts := queue.InsertOpts{Group: "sync:environment:1", GroupCap: 20}
		for i := range 20 {
			b.insert(fmt.Sprint(i), opts)
		}
		if _, err := b.client.Insert(t.Context(), note{}, opts); !errors.Is(err, queue.ErrQueueFull) {
			t.Errorf("the 21st: %v", err)
		}
		b.insert("other group", queue.InsertOpts{Group: "sync:environment:2", GroupCap: 20})
		b.insert("no cap", queue.InsertOpts{Group: "sync:environment:1", GroupCap: -1})
		b.claim(2) // running jobs don't count
		b.insert("a place got free", opts)
		if _, err := b.client.Insert(t.Context(), note{}, opts); !errors.Is(err, queue.ErrQueueFull) {
			t.Errorf("the next: %v", err)
		}
	})
}

func TestOrderIsPriorityThenTenantsInTurnThenAge(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		name := map[queue.JobID]string{}
		insert := func(text string, tenant int64, priority int) {
			name[b.insert(text, queue.InsertOpts{Tenant: tenant, Priority: priority})] = text
		}
		for i := range 4 {
			insert(fmt.Sprintf("a%d", i), 1, 0)
		}
		insert("urgent", 1, -1)
		insert("b0", 2, 0)
		insert("b1", 2, 0)
		insert("c0", 3, 0)
		insert("late", 4, 5)
		var got []string
		for _, job := range b.claim(3) {
			got = append(got, name[job.ID])
		}
		insert("b2", 2, 0) // after the tenant's own, before the other's backlog
		for _, job := range b.claim(99) {
			got = append(got, name[job.ID])
		}
		want := []string{"urgent", "a0", "b0", "c0", "a1", "b1", "a2", "b2", "a3", "late"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order: %s", diff)
		}
	})
}

func TestANewcomerDoesNotWaitBehindABacklog(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		for range 50 {
			b.insert("noise", queue.InsertOpts{Tenant: 1})
		}
		b.claim(20)
		quiet := b.insert("quiet", queue.InsertOpts{Tenant: 2})
		if ids := jobIDs(b.claim(2)); !slices.Contains(ids, quiet) {
			t.Errorf("job %d waits while %v run", quiet, ids)
		}
	})
}

func TestAJobWaitsForItsTime(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		id := b.insert("later", queue.InsertOpts{RunAt: b.now.Add(time.Minute)})
		b.wantStates(map[queue.JobID]queue.State{id: queue.StateWaiting})
		if due, err := b.store.Due(t.Context()); err != nil || due.Ready || !due.Next.Equal(b.now.Add(time.Minute)) {
			t.Errorf("due %+v, err %v", due, err)
		}
		b.now = b.now.Add(time.Minute - time.Microsecond)
		if ticked := b.tick(); ticked.Promoted != 0 || len(b.claim(1)) != 0 {
			t.Error("it runs too early")
		}
		b.now = b.now.Add(time.Microsecond)
		if ticked := b.tick(); ticked.Promoted != 1 || !slices.Equal(ticked.Queues, []string{"default"}) {
			t.Errorf("ticked %+v", ticked)
		}
		if due, err := b.store.Due(t.Context()); err != nil || !due.Ready || !due.Next.IsZero() {
			t.Errorf("due %+v, err %v", due, err)
		}
		if job := b.claimOne(); job.ID != id {
			t.Errorf("claimed %d", job.ID)
		}
	})
}

func TestJobsThatBecomeDueTogetherTakeTurns(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		at := b.now.Add(time.Second)
		for range 30 {
			b.insert("retry", queue.InsertOpts{Tenant: 1, RunAt: at})
		}
		quiet := b.insert("retry", queue.InsertOpts{Tenant: 2, RunAt: at})
		b.now = at
		b.tick()
		if ids := jobIDs(b.claim(2)); !slices.Contains(ids, quiet) {
			t.Errorf("job %d waits while %v run", quiet, ids)
		}
	})
}

func TestAtMostTheLimitOfAKeyRuns(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		for _, limit := range []int{1, 3} {
			b := newQueueBench(t, s)
			opts := queue.InsertOpts{Key: fmt.Sprintf("endpoint:%d", limit), KeyLimit: limit}
			var ids []queue.JobID
			for range 8 {
				ids = append(ids, b.insert("x", opts))
			}
			other := b.insert("other", queue.InsertOpts{Key: "elsewhere"})
			running := b.claim(99)
			if got := jobIDs(running); !slices.Equal(got, append(slices.Clone(ids[:limit]), other)) {
				t.Errorf("limit %d: %v of %v run", limit, got, ids)
			}
			b.wantStates(map[queue.JobID]queue.State{ids[limit]: queue.StateHeld, ids[7]: queue.StateHeld})
			for done := 0; len(running) > 0; done++ {
				b.succeed(running[0])
				running = append(running[1:], b.claim(99)...)
				ofKey := slices.DeleteFunc(slices.Clone(running), func(j queue.Claimed) bool { return j.Key != opts.Key })
				if done < 8-limit && len(ofKey) != limit || len(ofKey) > limit {
					t.Errorf("limit %d: %d run after %d ends", limit, len(ofKey), done+1)
				}
				if done > 20 {
					t.Fatal("it never ends")
				}
			}
			for _, id := range ids {
				if s := b.state(id); s != "" {
					t.Errorf("limit %d: job %d was left %s", limit, id, s)
				}
			}
		}
	})
}

func TestALongLineBehindAKeyCostsOthersNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		for range 600 { // more than one claim looks at
			b.insert("slow endpoint", queue.InsertOpts{Key: "endpoint:1"})
		}
		free := b.insert("another endpoint", queue.InsertOpts{Key: "endpoint:2"})
		var ran []queue.JobID
		for range 5 {
			ran = append(ran, jobIDs(b.claim(10))...)
		}
		if len(ran) != 2 || !slices.Contains(ran, free) {
			t.Errorf("%v run, want two with job %d", ran, free)
		}
	})
}

func TestAGroupCountsAllItsJobsAndEachHasItsOwnLimit(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		group := "action:environment:5"
		alone := queue.InsertOpts{Group: group, GroupLimit: 1}
		crowd := queue.InsertOpts{Group: group, GroupLimit: 2}
		b.insert("s1", crowd)
		first := b.claimOne()
		async := b.insert("async", alone)
		s2, s3 := b.insert("s2", crowd), b.insert("s3", crowd)
		free := b.insert("no limit", queue.InsertOpts{Group: group})
		running := b.claim(9)
		if got := jobIDs(running); !slices.Equal(got, []queue.JobID{s2, free}) {
			t.Fatalf("claimed %v, want %d and %d", got, s2, free)
		}
		b.succeed(running[1])
		if got := b.claim(9); len(got) != 0 {
			t.Fatalf("claimed %v with two of the group running", jobIDs(got))
		}
		b.succeed(first)
		third := b.claimOne()
		if third.ID != s3 {
			t.Fatalf("claimed %d, want %d: one that must be alone does not block those that need not be", third.ID, s3)
		}
		b.succeed(running[0])
		if got := b.claim(9); len(got) != 0 {
			t.Fatalf("%v runs beside another", jobIDs(got))
		}
		b.succeed(third)
		if last := b.claimOne(); last.ID != async {
			t.Errorf("claimed %d, want %d", last.ID, async)
		}
	})
}

func TestAJobHeldOnItsKeyGivesUpItsPlaceInTheGroup(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		group := queue.InsertOpts{Group: "g", GroupLimit: 1}
		b.insert("has the group", group)
		holder := b.claimOne()
		both := b.insert("needs both", queue.InsertOpts{Group: "g", GroupLimit: 1, Key: "k", Priority: -1})
		next := b.insert("needs the group", group)
		if got := b.claim(9); len(got) != 0 {
			t.Fatalf("claimed %v", jobIDs(got))
		}
		b.insert("has the key", queue.InsertOpts{Key: "k"})
		b.claimOne()
		b.succeed(holder)
		if got := jobIDs(b.claim(9)); !slices.Equal(got, []queue.JobID{next}) {
			t.Errorf("claimed %v, want %d: job %d waits for its key and must not keep the group", got, next, both)
		}
	})
}

func TestALostLeaseEndsNothingWhateverItIsBatchedWith(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		b.insert("lost and claimed again", queue.InsertOpts{})
		lost := b.claimOne()
		b.now = b.now.Add(b.lease)
		if ticked := b.tick(); ticked.TakenBack != 1 {
			t.Fatalf("ticked %+v", ticked)
		}
		b.insert("claimed with it", queue.InsertOpts{})
		both := b.claim(2)
		if len(both) != 2 || both[0].ID != lost.ID || both[0].Attempt != 1 || both[0].Lost != 1 {
			t.Fatalf("claimed %+v", both)
		}
		renewed, err := b.store.Renew(t.Context(), []queue.Hold{lost.Hold, both[1].Hold}, b.now.Add(b.lease))
		if diff := cmp.Diff(map[queue.Hold]bool{both[1].Hold: false}, renewed); diff != "" || err != nil {
			t.Errorf("renewed: %s, err %v", diff, err)
		}
		if _, err := b.store.Guard(t.Context(), lost.Hold, b.now); !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("guard: %v", err)
		}
		for _, verdict := range []queue.Verdict{queue.Succeeded, queue.Later, queue.Failed, queue.Cancelled} {
			ended, err := b.store.End(t.Context(), b.now, []queue.Ending{
				{Hold: lost.Hold, Verdict: verdict}, {Hold: both[1].Hold, Verdict: queue.Succeeded},
			})
			if err != nil || !errors.Is(ended.Refused[lost.Hold], queue.ErrLeaseLost) {
				t.Errorf("end as %d: %+v, err %v", verdict, ended, err)
			}
		}
		b.wantStates(map[queue.JobID]queue.State{lost.ID: queue.StateRunning, both[1].ID: ""})
	})
}

func TestOldDeadJobsAndThoseBeyondTheNewestAreDeleted(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newQueueBench(t, s)
		var ids []queue.JobID
		for i := range 6 {
			b.now = queueDay.Add(time.Duration(i) * time.Hour)
			ids = append(ids, b.insert("x", queue.InsertOpts{Tenant: 4}))
			if err := b.end(b.claimOne(), queue.Ending{Verdict: queue.Failed, Error: "e"}); err != nil {
				t.Fatal(err)
			}
		}
		left := func(before queue.JobID, limit int) (got []queue.JobID) {
			t.Helper()
			dead, err := b.client.DeadJobs(t.Context(), 4, before, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, job := range dead {
				got = append(got, job.ID)
			}
			return got
		}
		if got := left(0, 2); !slices.Equal(got, []queue.JobID{ids[5], ids[4]}) {
			t.Errorf("the newest two are %v of %v", got, ids)
		}
		if got := left(ids[4], 2); !slices.Equal(got, []queue.JobID{ids[3], ids[2]}) {
			t.Errorf("the next two are %v of %v", got, ids)
		}
		if err := b.store.Prune(t.Context(), queueDay.Add(2*time.Hour), 100, queueDay); err != nil {
			t.Fatal(err)
		}
		if got := left(0, 9); !slices.Equal(got, []queue.JobID{ids[5], ids[4], ids[3], ids[2]}) {
			t.Errorf("left by age are %v of %v", got, ids)
		}
		if err := b.store.Prune(t.Context(), queueDay, 3, queueDay); err != nil {
			t.Fatal(err)
		}
		if got := left(0, 9); !slices.Equal(got, []queue.JobID{ids[5], ids[4], ids[3]}) {
			t.Errorf("left by number are %v of %v", got, ids)
		}
	})
}
