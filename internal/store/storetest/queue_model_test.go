package storetest_test

import (
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/queue"
)

// queueModel is what the queue promises, without a database: a list of jobs and a map of schedules.
type queueModel struct {
	now       time.Time
	jobs      map[queue.JobID]*modelJob
	schedules map[string]*modelSchedule
	dead      int
}

type modelJob struct {
	queue.Spec
	id       queue.JobID
	unique   string
	schedule string // "" for none, or when the schedule let go of it
	state    queue.State
	runAt    time.Time
	attempt  int
	lost     int

	lease     int64
	until     time.Time
	cancelled bool
}

type modelSchedule struct {
	queue.Spec
	state          queue.ScheduleState
	period         time.Duration
	anchor, nextAt time.Time
	lastJob        queue.JobID
	last           queue.LastState
}

func newQueueModel(now time.Time) *queueModel {
	return &queueModel{now: now, jobs: map[queue.JobID]*modelJob{}, schedules: map[string]*modelSchedule{}}
}

// add is what an insert does. StateReady stands for ready and held alike: a caller can't tell and need not know.
func (m *queueModel) add(id queue.JobID, spec queue.Spec, unique, schedule string, runAt time.Time) {
	job := &modelJob{id: id, Spec: spec, unique: unique, schedule: schedule, runAt: runAt, state: queue.StateReady}
	if runAt.After(m.now) {
		job.state = queue.StateWaiting
	}
	m.jobs[id] = job
}

func (m *queueModel) byUnique(unique string) *modelJob {
	for _, job := range m.jobs {
		if unique != "" && job.unique == unique {
			return job
		}
	}
	return nil
}

func (m *queueModel) notStarted(group string) (n int) {
	for _, job := range m.jobs {
		if job.Group == group && job.state != queue.StateRunning {
			n++
		}
	}
	return n
}

// mayRun is whether a claim must be able to take the job now.
func (m *queueModel) mayRun(job *modelJob) bool {
	ofKey, ofGroup := 0, 0
	for _, other := range m.jobs {
		if other.state == queue.StateRunning {
			if job.Key == other.Key {
				ofKey++
			}
			if job.Group == other.Group {
				ofGroup++
			}
		}
	}
	return job.state == queue.StateReady && (job.Key == "" || ofKey < job.KeyLimit) &&
		(job.Group == "" || job.GroupLimit == 0 || ofGroup < job.GroupLimit)
}

// best is the lowest priority of the jobs of a queue that may run, leaving out those of group: their limits differ, and then
// those with the higher limit may go first.
func (m *queueModel) best(name, group string) (priority int, any bool) {
	for _, job := range m.jobs {
		if job.Queue == name && job.Group != group && m.mayRun(job) && (!any || job.Priority < priority) {
			priority, any = job.Priority, true
		}
	}
	return priority, any
}

func (m *queueModel) start(job *modelJob, lease int64, until time.Time) {
	job.state, job.lease, job.until = queue.StateRunning, lease, until
	job.attempt++
}

// holder is the job that hold still is a right to, or nil.
func (m *queueModel) holder(hold queue.Hold) *modelJob {
	if job := m.jobs[hold.ID]; job != nil && job.state == queue.StateRunning && job.lease == hold.Lease {
		return job
	}
	return nil
}

// end returns why the end is refused, or applies it.
func (m *queueModel) end(e queue.Ending) error {
	job := m.holder(e.Hold)
	switch {
	case job == nil:
		return queue.ErrLeaseLost
	case job.cancelled && e.Verdict != queue.Cancelled:
		return queue.ErrCancelled
	}
	switch e.Verdict {
	case queue.Succeeded:
		m.finish(job, queue.LastSucceeded, e.Again)
	case queue.Failed:
		m.finish(job, queue.LastFailed, false)
		m.dead++
	case queue.Cancelled:
		m.finish(job, queue.LastCancelled, false)
	case queue.Later:
		job.state, job.runAt, job.lease = queue.StateWaiting, e.RunAt, 0
		if !e.Counted {
			job.attempt--
		}
	}
	return nil
}

func (m *queueModel) finish(job *modelJob, last queue.LastState, again bool) {
	delete(m.jobs, job.id)
	s := m.schedules[job.schedule]
	if s == nil {
		return
	}
	s.last = last
	switch {
	case again:
		s.nextAt = m.now
	case s.nextAt.Before(m.now):
		s.nextAt = s.grid(m.now)
	}
}

// grid is the first point of the schedule's grid that is not before now.
func (s *modelSchedule) grid(now time.Time) time.Time {
	at := s.anchor
	for at.Before(now) {
		at = at.Add(s.period)
	}
	return at
}

// cancel returns whether the job runs, and so was only marked.
func (m *queueModel) cancel(id queue.JobID) (running bool, err error) {
	job := m.jobs[id]
	if job == nil {
		return false, queue.ErrNotFound
	}
	if job.state == queue.StateRunning {
		job.cancelled = true
		return true, nil
	}
	m.finish(job, queue.LastCancelled, false)
	return false, nil
}

// detach cancels a schedule's unfinished job and lets go of it.
func (m *queueModel) detach(s *modelSchedule) {
	if running, err := m.cancel(s.lastJob); err == nil && running {
		m.jobs[s.lastJob].schedule = ""
		s.last = queue.LastCancelled
	}
}

func (m *queueModel) setState(key string, state queue.ScheduleState) error {
	s := m.schedules[key]
	if s == nil {
		return queue.ErrNotFound
	}
	if s.state != state && s.last == queue.LastActive {
		switch job := m.jobs[s.lastJob]; {
		case state == queue.ScheduleDeleted:
			m.detach(s)
		case state == queue.SchedulePaused && job.state != queue.StateRunning:
			m.finish(job, queue.LastCancelled, false)
		}
	}
	s.state = state
	if state == queue.ScheduleDeleted {
		delete(m.schedules, key)
	}
	return nil
}

// tick returns the schedules that fire; the caller adds their jobs.
func (m *queueModel) tick() (promoted, takenBack int, fired []string) {
	for _, job := range m.jobs {
		switch {
		case job.state == queue.StateWaiting && !job.runAt.After(m.now):
			job.state = queue.StateReady
			promoted++
		case job.state == queue.StateRunning && !job.until.After(m.now):
			job.state, job.lease = queue.StateReady, 0
			job.attempt--
			job.lost++
			takenBack++
		}
	}
	for key, s := range m.schedules {
		if s.state == queue.ScheduleStarted && s.last != queue.LastActive && !s.nextAt.After(m.now) {
			fired = append(fired, key)
		}
	}
	return promoted, takenBack, fired
}

// same compares two refusals: each side must have the same sentinel.
func same(got, want error) bool {
	if want == nil {
		return got == nil
	}
	return errors.Is(got, want)
}
