package queue

import (
	"context"
	"time"
)

// Store keeps jobs and schedules. Every method joins the transaction of its context, or runs in one of its own.
type Store interface {
	Transactions
	Jobs
	Upkeep
	Graveyard
	Schedules
}

// Transactions are what the queue needs of the database besides its tables.
type Transactions interface {
	// Write runs fn in a transaction; see engine.DB.Write for what fn may do.
	Write(ctx context.Context, fn func(ctx context.Context) error) error
	// AfterCommit runs fn, which must not block, once the transaction of ctx is durable, or at once without one.
	AfterCommit(ctx context.Context, fn func())
	// Notify sends a hint to all nodes when the transaction of ctx commits; Listen receives them. Hints may be lost.
	Notify(ctx context.Context, topic, payload string) error
	Listen(topic string, deliver func(payload string)) (cancel func())
}

// Jobs is the life of a job.
type Jobs interface {
	// Insert stores a job that runs at job.RunAt, at once if that is not after now. With a Unique key that an unfinished job
	// has, nothing is stored and that job's id is returned with fresh == false.
	Insert(ctx context.Context, now time.Time, job NewJob) (id JobID, fresh bool, err error)
	// NotStarted counts the unfinished jobs of group that don't run, up to most.
	NotStarted(ctx context.Context, group string, most int) (int, error)
	// Claim leases ready jobs, in the order that package queue promises and within the limits of their keys and groups.
	Claim(ctx context.Context, req ClaimRequest) (Claims, error)
	// Renew extends leases. Of the holds, those missing from the result are lost; the value tells whether the job is cancelled.
	Renew(ctx context.Context, holds []Hold, until time.Time) (map[Hold]bool, error)
	// Guard extends one lease and locks the job until the end of the transaction. It returns ErrLeaseLost.
	Guard(ctx context.Context, hold Hold, until time.Time) (cancelled bool, err error)
	// End records the ends of running jobs. One that is refused does not keep the others from ending.
	End(ctx context.Context, now time.Time, endings []Ending) (Ended, error)
	// Cancel removes a job that does not run, or marks a running one; then nothing but Cancelled can end it. It returns
	// ErrNotFound.
	Cancel(ctx context.Context, now time.Time, id JobID) (Cancellation, error)
	// Job returns an unfinished job or ErrNotFound.
	Job(ctx context.Context, id JobID) (Info, error)
}

// Upkeep is what has to be done from time to time, by any node.
type Upkeep interface {
	// Due tells when there is something for Tick to do, and whether there are ready jobs. It only reads.
	Due(ctx context.Context) (Due, error)
	// Tick makes waiting jobs ready whose time has come, takes back expired leases, and inserts the jobs of due schedules; up to
	// limit of each.
	Tick(ctx context.Context, now time.Time, limit int) (Ticked, error)
	// TakeBack makes up to limit running jobs ready again whatever their leases say.
	TakeBack(ctx context.Context, limit int) (int, error)
	// Prune deletes dead jobs that died before deadBefore, those beyond the newest deadMost, and schedules deleted before
	// schedulesBefore.
	Prune(ctx context.Context, deadBefore time.Time, deadMost int, schedulesBefore time.Time) error
}

// Graveyard keeps the jobs that failed for good.
type Graveyard interface {
	// DeadJobs lists a tenant's dead jobs, newest id first, below before (0: from the newest).
	DeadJobs(ctx context.Context, tenant int64, before JobID, limit int) ([]DeadJob, error)
	// Exhume removes a dead job of a tenant and returns it, or ErrNotFound.
	Exhume(ctx context.Context, tenant int64, id JobID) (DeadJob, error)
}

// Schedules is the life of a schedule. A deleted schedule is not found, except by PutSchedule, which starts it anew.
type Schedules interface {
	// PutSchedule creates a schedule, due at once, or changes what an existing one runs and how often. A changed period puts
	// NextAt on the new grid of the old anchor.
	PutSchedule(ctx context.Context, now time.Time, s NewSchedule) error
	// SchedulesByKey returns those that exist.
	SchedulesByKey(ctx context.Context, keys []string) ([]Schedule, error)
	// SetState starts, pauses or deletes a schedule. Pausing and deleting cancel its job if that does not run; deleting cancels
	// it in any case.
	SetState(ctx context.Context, now time.Time, key string, state ScheduleState) (Cancellation, error)
	SetPeriod(ctx context.Context, now time.Time, key string, period time.Duration) error
	// Trigger inserts a job of the schedule now; nil args are the schedule's own. With an unfinished job it returns
	// ErrAlreadyRunning, or with replace cancels that job and lets go of it.
	Trigger(ctx context.Context, now time.Time, key string, args *string, replace bool) (JobID, Cancellation, error)
}

// Spec is what to run and within which limits. Jobs, schedules and dead jobs share it.
type Spec struct {
	Queue, Kind string
	// Args is JSON.
	Args   string
	Tenant int64
	// Priority: lower goes first.
	Priority int
	// Key and Group are empty for none. GroupLimit 0 means no limit.
	Key         string
	KeyLimit    int
	Group       string
	GroupLimit  int
	MaxAttempts int
	// Timeout 0 leaves it to the worker; negative means none.
	Timeout time.Duration
}

// NewJob is a job to insert.
type NewJob struct {
	Spec

	// Unique is empty for none.
	Unique string
	RunAt  time.Time
}

// Hold is the right to a running job: Lease is a token that belongs to one claim of one job.
type Hold struct {
	ID    JobID
	Lease int64
}

// ClaimRequest asks for up to Max jobs of a queue, leased until Until. Token must be random, below 1<<62: the leases come from it.
type ClaimRequest struct {
	Queue string
	Max   int
	Token int64
	Until time.Time
}

// Claims is what a claim got.
type Claims struct {
	Jobs []Claimed
	// More: ready jobs may be left.
	More bool
	// Busy: some were passed over because another node was deciding on their key or group; ask again in some milliseconds.
	Busy bool
	// Wake names queues in which held jobs became ready.
	Wake []string
}

// Claimed is a job that this process holds.
type Claimed struct {
	Hold
	Spec

	// Schedule is the id of the job's schedule, or 0.
	Schedule      int64
	Attempt, Lost int
	Cancelled     bool
	CreatedAt     time.Time
}

// Verdict is how a run ended.
type Verdict int

// The verdicts.
const (
	Succeeded Verdict = iota + 1
	// Later: the job runs again at RunAt.
	Later
	// Failed: for good.
	Failed
	Cancelled
)

// Ending is the end of one run.
type Ending struct {
	Hold

	Verdict Verdict
	// Again makes the job's schedule due at once (with Succeeded).
	Again bool
	// RunAt and Counted go with Later: when, and whether the attempt counts.
	RunAt   time.Time
	Counted bool
	// Error goes with Later and Failed.
	Error string
}

// Ended is what End did.
type Ended struct {
	// Refused has ErrLeaseLost or ErrCancelled for each hold that ended nothing.
	Refused map[Hold]error
	// Wake names queues in which held jobs became ready.
	Wake []string
	// Next is the earliest time at which one of the jobs, or its schedule, is due; zero for none.
	Next time.Time
}

// Cancellation is what Cancel did.
type Cancellation struct {
	// Running is the job that runs and was marked, or 0.
	Running JobID
	// Wake names queues that have new ready jobs.
	Wake []string
}

// Due is when there is something to do.
type Due struct {
	// Next is zero when nothing waits.
	Next time.Time
	// Ready: some queue has ready jobs.
	Ready bool
}

// Ticked is what Tick did.
type Ticked struct {
	Promoted, TakenBack, Fired int
	// Queues have new ready jobs.
	Queues []string
	// More: a limit was reached.
	More bool
}

// State is the state of an unfinished job, as Info shows it.
type State string

// The states of an unfinished job.
const (
	StateWaiting State = "waiting"
	StateReady   State = "ready"
	StateRunning State = "running"
	StateHeld    State = "held"
)

// Info describes an unfinished job.
type Info struct {
	Spec

	ID            JobID
	Unique        string
	State         State
	Attempt, Lost int
	// Cancelled: it runs and was asked to stop.
	Cancelled        bool
	RunAt, CreatedAt time.Time
	// LastError is that of the last failed attempt.
	LastError string
}

// DeadJob is a job that failed for good.
type DeadJob struct {
	Spec

	ID                JobID
	Unique            string
	Attempt, Lost     int
	Error             string
	CreatedAt, DiedAt time.Time
}
