package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// JobID identifies a job for ever: ids are not reused. The zero value is no job.
type JobID int64

// Args is what a job is about, stored as JSON. The type of each kind must be a plain struct, not a pointer.
type Args interface {
	// Kind names the worker, such as "outbound.deliver". It is stored: never change it while jobs may exist.
	Kind() string
}

// Failures of jobs. What a worker returns is matched with errors.Is.
var (
	// ErrNotFound: there is no such unfinished job, dead job or schedule.
	ErrNotFound = errors.New("not found in the queue")
	// ErrDuplicate: an unfinished job with the same Unique key exists. Insert returns its id along with this error.
	ErrDuplicate = errors.New("an unfinished job with this unique key exists")
	// ErrQueueFull: the Group already has GroupCap jobs that have not started.
	ErrQueueFull = errors.New("queue is full")
	// ErrCancelled is the cause with which a running job's context ends when the job is cancelled. A worker that returns it,
	// or passes it to EndTx, ends its job as cancelled.
	ErrCancelled = errors.New("job was cancelled")
	// ErrLeaseLost is the cause with which a running job's context ends when this process can no longer be sure that it holds
	// the job. Nothing the worker does from then on counts.
	ErrLeaseLost = errors.New("job's lease was lost")
	// ErrTimeout is the cause with which a running job's context ends after its time limit.
	ErrTimeout = errors.New("job ran out of time")
	// ErrLostTooOften fails a job that lost its process MaxLost times.
	ErrLostTooOften = fmt.Errorf("the process that ran the job died %d times", MaxLost)
)

// MaxLost is how many lost leases a job survives. Lost leases don't count as attempts, because the job may be innocent (a
// deployment, a power cut), but one that kills its process must not do so for ever. 5: rarer than any series of deployments.
const MaxLost = 5

// Job is one run of a job, as a worker sees it. One made by hand, to test a worker, has no lease: then Guard, CompleteTx, EndTx
// and RunAgainNow do nothing.
type Job[T Args] struct {
	ID     JobID
	Args   T
	Queue  string
	Tenant int64
	// Attempt counts from 1. Snoozes and lost leases don't count.
	Attempt     int
	MaxAttempts int
	// Lost is how often a process vanished while it ran this job: what that run did may be half done.
	Lost int
	// Scheduled is whether a schedule, or a trigger of it, inserted the job.
	Scheduled bool
	CreatedAt time.Time

	run *execution
}

// Guard checks, in the transaction of ctx, that this process still holds the job, and keeps it so until the commit. Call it
// first in every transaction whose effect must not come from a run that was given up: it returns ErrLeaseLost or ErrCancelled,
// and the transaction should then be rolled back.
func (j *Job[T]) Guard(ctx context.Context) error {
	if j.run == nil {
		return nil
	}
	return j.run.guard(ctx)
}

// CompleteTx ends the job as succeeded in the transaction of ctx, so that its result and its end commit together. After the
// commit whatever Work returns is ignored. It fails like Guard.
func (j *Job[T]) CompleteTx(ctx context.Context) error { return j.EndTx(ctx, nil) }

// EndTx records in the transaction of ctx what returning result from Work would: nil, Snooze, RetryAfter, Discard,
// ErrCancelled, or a plain error to which the retry policy applies. It fails like Guard, except that a cancelled job may still
// be ended with ErrCancelled.
func (j *Job[T]) EndTx(ctx context.Context, result error) error {
	if j.run == nil {
		return nil
	}
	return j.run.endTx(ctx, result)
}

// RunAgainNow makes the schedule of this job due at once, instead of at the next point of its grid, if the job then succeeds.
func (j *Job[T]) RunAgainNow() {
	if j.run != nil {
		j.run.again.Store(true)
	}
}

// FailsWith tells whether returning err now would fail the job for good: it is a Discard, or this was the last attempt.
func (j *Job[T]) FailsWith(err error) bool {
	return verdict(err, j.Attempt, j.MaxAttempts) == Failed
}

// execution is the part of a run that does not depend on the type of its arguments.
type execution struct {
	client *Client
	row    Claimed
	worker *registration // nil for a kind that is not registered here
	cancel context.CancelCauseFunc

	again   atomic.Bool
	ended   atomic.Bool  // EndTx was committed
	lost    atomic.Bool  // the lease is not ours any more
	flagged atomic.Bool  // somebody cancelled the job
	until   atomic.Int64 // when the lease runs out unless renewed, in UnixNano
}

func (e *execution) guard(ctx context.Context) error {
	cancelled, err := e.client.store.Guard(ctx, e.row.Hold, e.client.now().Add(e.client.config.Lease))
	if err != nil {
		return fmt.Errorf("guard job %d: %w", e.row.ID, err)
	}
	if cancelled {
		return fmt.Errorf("guard job %d: %w", e.row.ID, ErrCancelled)
	}
	return nil
}

func (e *execution) endTx(ctx context.Context, result error) error {
	c := e.client
	ended, err := c.store.End(ctx, c.now(), []Ending{e.decide(result)})
	if err == nil {
		err = ended.Refused[e.row.Hold]
	}
	if err != nil {
		return fmt.Errorf("end job %d: %w", e.row.ID, err)
	}
	c.store.AfterCommit(ctx, func() {
		e.ended.Store(true)
		c.announce(ended.Wake, ended.Next)
	})
	return nil
}
