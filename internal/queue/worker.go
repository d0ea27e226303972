package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// DefaultTimeout is how long a job may run when neither it nor its worker says: 15 minutes.
const DefaultTimeout = 15 * time.Minute

// Worker runs the jobs of one kind.
type Worker[T Args] interface {
	// Work runs a job. ctx ends when the job is cancelled, loses its lease, runs out of time, or the process stops; context.Cause
	// tells which (ErrCancelled, ErrLeaseLost, ErrTimeout, lifecycle.ErrStopping). Work should then return soon.
	//
	// nil means success. Snooze, RetryAfter and Discard say what to do next. Any other error is a failed attempt, retried by the
	// worker's policy until MaxAttempts. A job whose process stops is run again elsewhere and that does not count. A panic is a
	// failed attempt.
	Work(ctx context.Context, job *Job[T]) error
}

// WorkerFunc is a Worker that is a function.
type WorkerFunc[T Args] func(ctx context.Context, job *Job[T]) error

// Work implements Worker.
func (f WorkerFunc[T]) Work(ctx context.Context, job *Job[T]) error { return f(ctx, job) }

// FailureHandler is a Worker that wants to know when one of its jobs failed for good without Work having recorded that itself
// with EndTx: out of attempts, discarded, or its process lost too often.
type FailureHandler[T Args] interface {
	// Failed runs in the transaction that moves the job to the dead jobs. When it fails the job stays and is tried again later.
	Failed(ctx context.Context, job *Job[T], cause error) error
}

// WorkerOpts tune the worker of a kind.
type WorkerOpts struct {
	// Timeout limits each run of jobs that don't have a limit of their own; 0 means DefaultTimeout, negative means none.
	Timeout time.Duration
	// Backoff is how long to wait after the given attempt (from 1) failed; nil means the function Backoff.
	Backoff func(attempt int) time.Duration
}

// Workers are the kinds that a process can run.
type Workers struct {
	kinds map[string]*registration
	errs  []error
}

// NewWorkers makes an empty set.
func NewWorkers() *Workers { return &Workers{kinds: map[string]*registration{}} }

// registration is a worker without its type.
type registration struct {
	opts   WorkerOpts
	work   func(ctx context.Context, e *execution) error
	failed func(ctx context.Context, e *execution, cause error) error // nil if the worker does not care
}

// Add registers the worker of a kind. A kind registered twice is reported by New.
func Add[T Args](workers *Workers, worker Worker[T], opts WorkerOpts) {
	var zero T
	kind := zero.Kind()
	if _, twice := workers.kinds[kind]; twice {
		workers.errs = append(workers.errs, fmt.Errorf("kind %q has two workers", kind))
		return
	}
	r := &registration{opts: opts}
	r.work = func(ctx context.Context, e *execution) error {
		job, err := newRun[T](e)
		if err != nil {
			return Discard(err)
		}
		return worker.Work(ctx, job)
	}
	if handler, ok := worker.(FailureHandler[T]); ok {
		r.failed = func(ctx context.Context, e *execution, cause error) error {
			job, err := newRun[T](e)
			if err != nil { // nobody can read these arguments: the dead job keeps them
				return nil //nolint:nilerr // the cause is already this error
			}
			return handler.Failed(ctx, job, cause)
		}
	}
	workers.kinds[kind] = r
}

func newRun[T Args](e *execution) (*Job[T], error) {
	job := &Job[T]{
		ID: e.row.ID, Queue: e.row.Queue, Tenant: e.row.Tenant,
		Attempt: e.row.Attempt, MaxAttempts: e.row.MaxAttempts, Lost: e.row.Lost,
		Scheduled: e.row.Schedule != 0, CreatedAt: e.row.CreatedAt, run: e,
	}
	if err := json.Unmarshal([]byte(e.row.Args), &job.Args); err != nil {
		return nil, fmt.Errorf("read the arguments of %s: %w", e.row.Kind, err)
	}
	return job, nil
}

// timeout is the limit of this run; 0 means none.
func (e *execution) timeout() time.Duration {
	limit := e.row.Timeout
	if limit == 0 && e.worker != nil {
		limit = e.worker.opts.Timeout
	}
	if limit == 0 {
		limit = DefaultTimeout
	}
	return max(limit, 0)
}
