package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// TestTheQueueDoesWhatTheModelSays runs random commands from two nodes against the tables and the model, and compares both
// after each. It is the proof of: nothing is lost or runs twice at once; at most the limit of a key and of a group runs, and
// never less than could; a unique key has one unfinished job; a lost lease ends nothing; a schedule has one unfinished job and
// stays on its grid.
func TestTheQueueDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		var nodes []*store.Store
		rapid.Check(t, func(rt *rapid.T) {
			if nodes == nil {
				nodes = openNodes(t, opts.PostgresURL != "")
			}
			defer func() {
				if rt.Failed() { // what it left must not confuse the search for a shorter way to fail
					_ = errors.Join(nodes[0].Close(), nodes[1].Close())
					nodes = nil
				}
			}()
			m := &queueMachine{T: rt, ctx: t.Context(), queueModel: newQueueModel(queueDay)}
			for _, node := range nodes {
				s := node.Queue()
				c, err := queue.New(queue.Config{Store: s, Now: func() time.Time { return m.now }, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					rt.Fatal(err)
				}
				m.nodes = append(m.nodes, &queueNode{client: c, store: s})
			}
			defer m.cleanUp()
			rt.Repeat(rapid.StateMachineActions(m))
		})
	})
}

func openNodes(t *testing.T, postgres bool) []*store.Store {
	if !postgres { // one process
		s := storetest.Open(t, storetest.SQLite(t))
		return []*store.Store{s, s}
	}
	opts := storetest.Postgres(t)
	return []*store.Store{storetest.Open(t, opts), storetest.Open(t, opts)}
}

// queueMachine is the model and the real queue side by side. Its methods without a result are rapid's commands.
type queueMachine struct {
	*rapid.T
	*queueModel
	ctx   context.Context
	nodes []*queueNode
	token int64
	holds []queue.Hold // all there ever were
}

type queueNode struct {
	client *queue.Client
	store  store.Queue
}

func (m *queueMachine) node() *queueNode { return rapid.SampledFrom(m.nodes).Draw(m.T, "node") }

func (m *queueMachine) queueName() string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(m.T, "queue")
}

func (m *queueMachine) wait(label string) time.Duration {
	return time.Duration(rapid.SampledFrom([]int{0, 1, 999, 1000, 2500, 5000, 14999, 15000, 61000}).Draw(m.T, label)) * time.Millisecond
}

// opts draws few names, so that jobs meet. A key has one limit; a group other than "mixed", too.
func (m *queueMachine) opts(name string) queue.InsertOpts {
	o := queue.InsertOpts{
		Queue:       name,
		Tenant:      rapid.Int64Range(1, 3).Draw(m.T, "tenant"),
		Priority:    rapid.IntRange(-1, 1).Draw(m.T, "priority"),
		Key:         rapid.SampledFrom([]string{"", "", "one", "two"}).Draw(m.T, "key"),
		Group:       rapid.SampledFrom([]string{"", "", "pair", "mixed"}).Draw(m.T, "group"),
		MaxAttempts: 3,
		GroupCap:    4,
	}
	// A name is used in one queue, as the package asks for.
	if o.Key != "" {
		o.KeyLimit = map[string]int{"one": 1, "two": 2}[o.Key]
		o.Key += o.Queue
	}
	switch o.Group {
	case "pair":
		o.GroupLimit = 2
	case "mixed":
		o.GroupLimit = rapid.SampledFrom([]int{0, 1, 3}).Draw(m.T, "group limit")
	}
	if o.Group != "" {
		o.Group += o.Queue
	}
	return o
}

func specOf(o queue.InsertOpts) queue.Spec {
	return queue.Spec{
		Queue: o.Queue, Tenant: o.Tenant, Priority: o.Priority, Key: o.Key, KeyLimit: max(o.KeyLimit, 1), Group: o.Group,
		GroupLimit: o.GroupLimit, MaxAttempts: 3,
	}
}

func (m *queueMachine) Insert(*rapid.T) {
	o := m.opts(m.queueName())
	o.Unique = rapid.SampledFrom([]string{"", "", "u", "v"}).Draw(m.T, "unique")
	if after := m.wait("run after"); after > 0 {
		o.RunAt = m.now.Add(after)
	}
	var want error
	switch {
	case o.Group != "" && m.notStarted(o.Group) >= o.GroupCap:
		want = queue.ErrQueueFull
	case m.byUnique(o.Unique) != nil:
		want = queue.ErrDuplicate
	}
	id, err := m.node().client.Insert(m.ctx, note{}, o)
	if !same(err, want) {
		m.Fatalf("insert: %v, want %v", err, want)
	}
	switch {
	case want == nil:
		m.add(id, specOf(o), o.Unique, "", later(m.now, o.RunAt))
	case errors.Is(want, queue.ErrDuplicate):
		if id != m.byUnique(o.Unique).id {
			m.Fatalf("duplicate of job %d, want %d", id, m.byUnique(o.Unique).id)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (m *queueMachine) Claim(*rapid.T) {
	n := m.node()
	name := m.queueName()
	most := rapid.SampledFrom([]int{1, 2, 50}).Draw(m.T, "most")
	for more := true; more && most > 0; {
		m.token += 1 << 32
		until := m.now.Add(15 * time.Second)
		claims, err := n.store.Claim(m.ctx, queue.ClaimRequest{Queue: name, Max: most, Token: m.token, Until: until})
		if err != nil {
			m.Fatal(err)
		}
		if claims.Busy || len(claims.Jobs) > most {
			m.Fatalf("asked for %d: %+v", most, claims)
		}
		for _, got := range claims.Jobs {
			m.claimed(name, got, until)
		}
		most -= len(claims.Jobs)
		more = claims.More
	}
	for _, job := range m.jobs {
		if most > 0 && job.Queue == name && m.mayRun(job) {
			m.Fatalf("job %d could run and was not claimed", job.id)
		}
	}
}

func (m *queueMachine) claimed(name string, got queue.Claimed, until time.Time) {
	job := m.jobs[got.ID]
	if job == nil || job.Queue != name || !m.mayRun(job) {
		m.Fatalf("job %d was claimed and must not run: %+v", got.ID, job)
	}
	if best, any := m.best(name, "mixed"+name); any && job.Group != "mixed"+name && best < job.Priority {
		m.Fatalf("job %d of priority %d was claimed before one of %d", got.ID, job.Priority, best)
	}
	m.start(job, got.Lease, until)
	if slices.Contains(m.holds, got.Hold) || got.Attempt != job.attempt || got.Lost != job.lost || got.Cancelled != job.cancelled {
		m.Fatalf("claimed %+v, want %+v", got, job)
	}
	m.holds = append(m.holds, got.Hold)
}

// hold draws one of the claims, most of them recent.
func (m *queueMachine) hold() queue.Hold {
	if len(m.holds) == 0 {
		m.Skip("nothing was claimed yet")
	}
	return m.holds[len(m.holds)-1-rapid.IntRange(0, min(len(m.holds)-1, 6)).Draw(m.T, "hold")]
}

func (m *queueMachine) End(*rapid.T) {
	var endings []queue.Ending
	var want []error
	for range rapid.IntRange(1, 3).Draw(m.T, "ends") {
		e := queue.Ending{Hold: m.hold(), Verdict: rapid.SampledFrom([]queue.Verdict{
			queue.Succeeded, queue.Succeeded, queue.Later, queue.Failed, queue.Cancelled,
		}).Draw(m.T, "verdict")}
		if slices.ContainsFunc(endings, func(o queue.Ending) bool { return o.Hold == e.Hold }) {
			continue
		}
		if e.Verdict == queue.Succeeded {
			e.Again = rapid.Bool().Draw(m.T, "again")
		}
		if e.Verdict == queue.Later {
			e.RunAt, e.Counted = m.now.Add(m.wait("retry after")), rapid.Bool().Draw(m.T, "counted")
		}
		endings, want = append(endings, e), append(want, m.end(e))
	}
	ended, err := m.node().store.End(m.ctx, m.now, endings)
	if err != nil {
		m.Fatal(err)
	}
	for i, e := range endings {
		if got := ended.Refused[e.Hold]; !same(got, want[i]) {
			m.Fatalf("end %+v: %v, want %v", e, got, want[i])
		}
	}
}

func (m *queueMachine) Guard(*rapid.T) {
	hold, until := m.hold(), m.now.Add(15*time.Second)
	job := m.holder(hold)
	cancelled, err := m.node().store.Guard(m.ctx, hold, until)
	switch {
	case job == nil && same(err, queue.ErrLeaseLost):
	case job == nil || err != nil || cancelled != job.cancelled:
		m.Fatalf("guard %+v: cancelled %v, err %v; want %+v", hold, cancelled, err, job)
	default:
		job.until = until
	}
}

func (m *queueMachine) Renew(*rapid.T) {
	until := m.now.Add(15 * time.Second)
	want := map[queue.Hold]bool{}
	holds := m.holds[max(0, len(m.holds)-8):]
	for _, hold := range holds {
		if job := m.holder(hold); job != nil {
			want[hold] = job.cancelled
			job.until = until
		}
	}
	got, err := m.node().store.Renew(m.ctx, holds, until)
	if err != nil {
		m.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.Fatalf("renewed: %s", diff)
	}
}

func (m *queueMachine) Cancel(*rapid.T) {
	ids := slices.Sorted(maps.Keys(m.jobs))
	id := rapid.SampledFrom(append(ids, 0)).Draw(m.T, "job")
	_, want := m.cancel(id)
	if err := m.node().client.Cancel(m.ctx, id); !same(err, want) {
		m.Fatalf("cancel %d: %v, want %v", id, err, want)
	}
}

func (m *queueMachine) Tick(*rapid.T) {
	n := m.node()
	promoted, takenBack, fired := m.tick()
	ticked, err := n.store.Tick(m.ctx, m.now, 500)
	if err != nil {
		m.Fatal(err)
	}
	if ticked.Promoted != promoted || ticked.TakenBack != takenBack || ticked.Fired != len(fired) {
		m.Fatalf("ticked %+v, want %d promoted, %d taken back, fired %v", ticked, promoted, takenBack, fired)
	}
	for _, key := range fired {
		s, err := n.client.Schedule(m.ctx, key)
		if err != nil {
			m.Fatal(err)
		}
		m.fire(key, s.LastJob)
		m.schedules[key].nextAt = m.schedules[key].grid(m.now.Add(time.Microsecond))
	}
}

func (m *queueMachine) fire(key string, id queue.JobID) {
	s := m.schedules[key]
	if old := m.jobs[id]; old != nil {
		m.Fatalf("schedule %s fired job %d, which exists", key, id)
	}
	s.last, s.lastJob = queue.LastActive, id
	m.add(id, s.Spec, "", key, m.now)
}

func (m *queueMachine) Advance(*rapid.T) { m.now = m.now.Add(m.wait("time passes")) }

func (m *queueMachine) key() string {
	return rapid.SampledFrom([]string{"s1", "s2"}).Draw(m.T, "schedule")
}

func (m *queueMachine) period() time.Duration {
	return time.Duration(rapid.SampledFrom([]int{1, 7, 30, 60}).Draw(m.T, "period")) * time.Second
}

func (m *queueMachine) UpsertSchedule(*rapid.T) {
	key, period, paused := m.key(), m.period(), rapid.Bool().Draw(m.T, "paused")
	o := m.opts(map[string]string{"s1": "a", "s2": "b"}[key])
	if err := m.node().client.UpsertSchedule(m.ctx, queue.ScheduleSpec{Key: key, Args: note{}, Period: period, Paused: paused, Opts: o}); err != nil {
		m.Fatal(err)
	}
	spec := specOf(o)
	if spec.Key == "" {
		spec.Key = "schedule:" + key
	}
	s := m.schedules[key]
	if s == nil {
		s = &modelSchedule{state: queue.ScheduleStarted, period: period, anchor: m.now, nextAt: m.now}
		if paused {
			s.state = queue.SchedulePaused
		}
		m.schedules[key] = s
	}
	s.Spec = spec
	m.setPeriod(s, period)
}

func (m *queueMachine) setPeriod(s *modelSchedule, period time.Duration) {
	if s.period != period {
		s.period = period
		s.nextAt = s.grid(m.now)
	}
}

func (m *queueMachine) SetPeriod(*rapid.T) {
	key, period := m.key(), m.period()
	var want error
	if s := m.schedules[key]; s != nil {
		m.setPeriod(s, period)
	} else {
		want = queue.ErrNotFound
	}
	if err := m.node().client.SetPeriod(m.ctx, key, period); !same(err, want) {
		m.Fatalf("set the period of %s: %v, want %v", key, err, want)
	}
}

func (m *queueMachine) SetState(*rapid.T) {
	key, c := m.key(), m.node().client
	state := rapid.SampledFrom([]queue.ScheduleState{queue.ScheduleStarted, queue.SchedulePaused, queue.ScheduleDeleted}).Draw(m.T, "state")
	change := map[queue.ScheduleState]func(context.Context, string) error{
		queue.ScheduleStarted: c.Resume, queue.SchedulePaused: c.Pause, queue.ScheduleDeleted: c.DeleteSchedule,
	}[state]
	want := m.setState(key, state)
	if err := change(m.ctx, key); !same(err, want) {
		m.Fatalf("%s becomes %s: %v, want %v", key, state, err, want)
	}
}

func (m *queueMachine) Trigger(*rapid.T) {
	key, replace := m.key(), rapid.Bool().Draw(m.T, "replace")
	s := m.schedules[key]
	var want error
	switch {
	case s == nil:
		want = queue.ErrNotFound
	case s.last == queue.LastActive && !replace:
		want = queue.ErrAlreadyRunning
	case s.last == queue.LastActive:
		m.detach(s)
	}
	id, err := m.node().client.TriggerNow(m.ctx, key, queue.TriggerOpts{Replace: replace})
	if !same(err, want) {
		m.Fatalf("trigger %s: %v, want %v", key, err, want)
	}
	if err == nil {
		m.fire(key, id)
	}
}

// Check compares everything; rapid calls it after each command.
func (m *queueMachine) Check(*rapid.T) {
	c := m.nodes[0].client
	for id, job := range m.jobs {
		info, err := c.Job(m.ctx, id)
		if err != nil {
			m.Fatalf("job %d is lost: %v", id, err)
		}
		if info.State == queue.StateHeld {
			info.State = queue.StateReady
		}
		got := fmt.Sprint(info.State, info.Attempt, info.Lost, info.Cancelled, info.RunAt, info.Unique, info.Key, info.Group, info.Tenant)
		want := fmt.Sprint(job.state, job.attempt, job.lost, job.cancelled, job.runAt, job.unique, job.Key, job.Group, job.Tenant)
		if got != want {
			m.Fatalf("job %d is %s, want %s", id, got, want)
		}
	}
	all, err := c.Schedules(m.ctx, []string{"s1", "s2"})
	if err != nil || len(all) != len(m.schedules) {
		m.Fatalf("schedules %v, want %v; err %v", all, m.schedules, err)
	}
	for _, s := range all {
		w := m.schedules[s.Key]
		got := fmt.Sprint(s.State, s.Period, s.Anchor, s.NextAt, s.LastJob, s.LastState)
		if want := fmt.Sprint(w.state, w.period, w.anchor, w.nextAt, w.lastJob, w.last); got != want {
			m.Fatalf("schedule %s is %s, want %s", s.Key, got, want)
		}
	}
	dead := 0
	for tenant := range int64(4) {
		list, err := c.DeadJobs(m.ctx, tenant, 0, 1000)
		if err != nil {
			m.Fatal(err)
		}
		dead += len(list)
	}
	if dead != m.dead {
		m.Fatalf("%d dead jobs, want %d", dead, m.dead)
	}
}

// cleanUp empties the tables for the next run of the property, by the same methods.
func (m *queueMachine) cleanUp() {
	n := m.nodes[0]
	for key := range m.schedules {
		_ = n.client.DeleteSchedule(m.ctx, key)
	}
	for id, job := range m.jobs {
		_ = n.client.Cancel(m.ctx, id)
		_, _ = n.store.End(m.ctx, m.now, []queue.Ending{{Hold: queue.Hold{ID: id, Lease: job.lease}, Verdict: queue.Cancelled}})
	}
	future := m.now.Add(time.Hour)
	if err := n.store.Prune(m.ctx, future, 0, future); err != nil {
		m.Error(err)
	}
	if due, err := n.store.Due(m.ctx); err != nil || due.Ready || !due.Next.IsZero() {
		m.Errorf("something is left that the model does not know: %+v, err %v", due, err)
	}
}
