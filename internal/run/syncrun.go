package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// syncArgs is the job of a sync run.
type syncArgs struct {
	EnvironmentID int64  `json:"environment_id"`
	SyncID        string `json:"sync_id"`
	// Reset and EmptyCache are those of TriggerOptions.
	Reset      bool `json:"reset,omitempty"`
	EmptyCache bool `json:"empty_cache,omitempty"`
}

// Kind implements queue.Args.
func (syncArgs) Kind() string { return "sync.run" }

// The codes of runs that stopped for reasons that are not the function's.
const (
	codeLost      = "worker_lost"
	codeCancelled = "cancelled"
	codeShutdown  = "server_stopped"
)

// afterStop is how long a run waits that found the runner stopping, afterFault one that met a fault of ours.
const (
	afterStop  = time.Second
	afterFault = 10 * time.Second
)

// syncWorker runs syncs.
type syncWorker struct{ *Service }

// syncRun is one run under way.
type syncRun struct {
	*execution
	job  *queue.Job[syncArgs]
	host *host.Host // nil before the function was started
}

// Work makes one run. When its beginning or its outcome can't be stored the job is put off, and the next run goes on from where
// this one has got.
func (w *syncWorker) Work(ctx context.Context, job *queue.Job[syncArgs]) error {
	err := w.run(ctx, job)
	switch {
	case err == nil, errors.Is(err, queue.ErrCancelled), errors.Is(err, queue.ErrLeaseLost), context.Cause(ctx) != nil:
		return err
	case errors.Is(err, errNothingToRun):
		w.opts.Logger.WarnContext(ctx, "a sync is scheduled that can't run", "sync", job.Args.SyncID, "err", err)
		return nil
	}
	w.opts.Logger.ErrorContext(ctx, "a sync is put off by a fault", "sync", job.Args.SyncID, "err", err, "retry", afterFault)
	return queue.Snooze(afterFault)
}

func (w *syncWorker) run(ctx context.Context, job *queue.Job[syncArgs]) error {
	x, err := w.syncExecution(ctx, job.Args)
	if err != nil {
		return err
	}
	r := &syncRun{execution: x, job: job}
	if err := w.begin(ctx, r); err != nil {
		return err
	}
	defer x.Operation.Flush(ctx)
	failure, err := w.work(ctx, r)
	switch cause := context.Cause(ctx); {
	case err == nil && failure == nil:
		err = w.succeed(ctx, r)
	case errors.Is(err, queue.ErrLeaseLost) || errors.Is(cause, queue.ErrLeaseLost):
		x.Operation.Log(ctx, oplog.Warn, "The run was given up: another process goes on with it")
		return err
	case errors.Is(err, queue.ErrCancelled) || errors.Is(cause, queue.ErrCancelled):
		return w.cancelled(ctx, r)
	case errors.Is(cause, lifecycle.ErrStopping) || errors.Is(err, runner.ErrStopped):
		return w.stopping(ctx, r)
	case failure == nil:
		w.opts.Logger.ErrorContext(ctx, "run a sync", "sync", x.sync.ID, "operation", x.Operation.ID(), "err", err)
		failure = failed(TypeSyncFailure, "internal fault")
	}
	if failure != nil {
		err = w.fail(ctx, r, failure)
	}
	if errors.Is(err, queue.ErrCancelled) { // while the outcome was being stored
		return w.cancelled(ctx, r)
	}
	return err
}

// errNothingToRun is for schedules whose sync, function or connection is gone or switched off.
var errNothingToRun = errors.New("nothing to run")

// missing marks an error that says that something does not exist.
func missing(err error) error {
	var known *errs.Error
	if errors.Is(err, ErrNotFound) || errors.As(err, &known) && known.Status == http.StatusNotFound {
		return fmt.Errorf("%w: %w", errNothingToRun, err)
	}
	return err
}

// syncExecution finds what a run needs.
func (s *Service) syncExecution(ctx context.Context, args syncArgs) (*execution, error) {
	y, err := s.store.Sync(ctx, args.EnvironmentID, args.SyncID)
	if err != nil {
		return nil, missing(fmt.Errorf("read sync %s: %w", args.SyncID, err))
	}
	settings, err := s.opts.Tenants.Settings(ctx, args.EnvironmentID)
	if err != nil {
		return nil, missing(fmt.Errorf("settings of environment %d: %w", args.EnvironmentID, err))
	}
	i, err := s.opts.Integrations.Get(ctx, args.EnvironmentID, y.Integration)
	if err != nil {
		return nil, missing(err)
	}
	c, err := s.opts.Connections.GetByID(ctx, args.EnvironmentID, y.ConnectionID)
	if err != nil {
		return nil, missing(err)
	}
	f, err := s.opts.Functions.Get(ctx, i, function.Sync, y.Name)
	if err != nil {
		return nil, missing(err)
	}
	if !f.Enabled {
		return nil, fmt.Errorf("%w: the function %s is disabled", errNothingToRun, y.Name)
	}
	p, _ := s.opts.Catalog.Get(i.Provider)
	return &execution{
		Subject: host.Subject{
			Environment: settings.Environment, Integration: i, Provider: p, Connection: c, Function: f, Kind: runner.KindSync, Variant: y.Variant,
		},
		sync: &y, emptyCache: args.EmptyCache,
	}, nil
}

// begin stores the run. What an earlier run of the same job did before its process was lost counts for this one.
func (w *syncWorker) begin(ctx context.Context, r *syncRun) error {
	now := w.now().UTC()
	var lost *Run
	err := w.store.Write(ctx, func(ctx context.Context) error {
		lost = nil
		if err := r.job.Guard(ctx); err != nil {
			return err
		}
		next := Run{
			SyncID: r.sync.ID, EnvironmentID: r.Environment.ID, ConnectionID: r.Connection.ID, JobID: int64(r.job.ID), Type: Full, Status: Running,
			Result: map[string]Counts{}, OperationID: oplog.NewID(now), Since: now, StartedAt: now,
		}
		if r.Function.SyncType == "incremental" && !r.sync.LastSyncAt.IsZero() {
			next.Type = Incremental
		}
		last, err := w.store.LastRun(ctx, r.sync.ID)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		default:
			if last.Status == Running {
				lost = &last
				ended := last
				ended.Status, ended.Error, ended.FinishedAt = Stopped, codeLost, now
				if err := w.store.SaveRun(ctx, ended); err != nil {
					return err
				}
			}
			switch {
			case last.JobID == next.JobID:
				next.Generation, next.Since, next.Result, next.Prepared = last.Generation, last.Since, last.Result, last.Prepared
			case last.Interrupted && !r.job.Args.Reset:
				next.Generation = last.Generation
			}
		}
		if next.ID, err = w.store.InsertRun(ctx, next); err != nil {
			return err
		}
		if next.Generation == 0 {
			next.Generation = next.ID
		}
		r.run = &next
		return nil
	})
	if err != nil {
		return fmt.Errorf("begin a run of %s: %w", r.sync.ID, err)
	}
	if lost != nil {
		w.bury(ctx, lost)
	}
	r.Source = w.source(r.run, r.sync)
	wall := w.opts.SyncWall
	r.Soft = r.run.StartedAt.Add(time.Duration(float64(wall) * softShare))
	operation := r.record(oplog.SyncRun, r.run.OperationID, r.run.StartedAt, map[string]any{
		"syncId": r.sync.ID, "runId": r.run.ID, "variant": r.Variant, "scheduled": r.job.Scheduled, "reset": r.job.Args.Reset,
		"emptyCache": r.job.Args.EmptyCache,
	})
	operation.ExpiresAt = r.run.StartedAt.Add(wall + time.Hour)
	r.Operation = w.opts.Log.Begin(ctx, operation)
	if lost != nil && lost.JobID == r.run.JobID {
		r.Operation.Log(ctx, oplog.Info, "Goes on from a run whose process was lost, operation "+lost.OperationID)
	}
	return nil
}

// source is the run as a writer of records.
func (w *syncWorker) source(r *Run, y *Sync) *host.Source {
	var counting sync.Mutex
	return &host.Source{
		Run: record.Run{Generation: r.Generation, Checkpoint: y.checkpoint()},
		Count: func(ctx context.Context, model string, c Counts) error {
			counting.Lock()
			defer counting.Unlock()
			sum := r.Result[model]
			r.Result[model] = Counts{Added: sum.Added + c.Added, Updated: sum.Updated + c.Updated, Deleted: sum.Deleted + c.Deleted}
			return w.store.SaveRun(ctx, *r)
		},
	}
}

// bury ends the operation of a run whose process was lost.
func (w *syncWorker) bury(ctx context.Context, lost *Run) {
	op, err := w.opts.Log.Resume(ctx, lost.EnvironmentID, lost.OperationID)
	if err != nil {
		return // the process took the beginning of the operation with it
	}
	op.Fail(ctx, oplog.Failure{Name: codeLost, Type: codeLost, Message: "The process that ran the sync was lost; another one goes on"})
}

// work prepares the run and executes the function. The error is what kept it from ending by itself.
func (w *syncWorker) work(ctx context.Context, r *syncRun) (*Failure, error) {
	if err := w.prepare(ctx, r); err != nil {
		return nil, err
	}
	result, h, err := w.perform(ctx, r.execution, runner.Limits{Wall: w.opts.SyncWall})
	r.host = h
	switch {
	case errors.Is(err, runner.ErrWorkerLost):
		w.opts.Logger.WarnContext(ctx, "a runner process was lost under a sync", "operation", r.Operation.ID(), "err", err)
		return failed(TypeOther, "the process that ran the function was lost"), nil
	case err != nil:
		return nil, err
	case result.Error == nil:
		return nil, w.deletePrevious(ctx, r)
	case result.Error.Type == host.Interrupted:
		r.run.Interrupted = true
		return nil, nil
	}
	return failureOf(result.Error), nil
}

// prepare does what a reset asked for, once per job.
func (w *syncWorker) prepare(ctx context.Context, r *syncRun) error {
	if r.run.Prepared || !r.job.Args.Reset {
		return nil
	}
	key := checkpoint.Key{EnvironmentID: r.Environment.ID, ConnectionID: r.Connection.ID, Name: r.sync.checkpoint()}
	if _, err := w.opts.Checkpoints.Reset(ctx, key); err != nil {
		return err
	}
	if r.job.Args.EmptyCache {
		for _, model := range r.Function.Models {
			n, err := w.opts.Records.DeleteModel(ctx, r.Stream(model))
			if err != nil {
				return err
			}
			r.Operation.Log(ctx, oplog.Info, fmt.Sprintf("%s: %d records were removed from the cache", r.Stream(model).Model, n))
		}
	}
	r.run.Prepared = true
	return w.store.SaveRun(ctx, *r.run)
}

// deletePrevious is the older way of deletion tracking: what the run did not have is gone.
func (w *syncWorker) deletePrevious(ctx context.Context, r *syncRun) error {
	if !r.Function.TrackDeletes {
		return nil
	}
	for _, model := range r.Function.Models {
		if err := r.host.DeletePrevious(ctx, model); err != nil {
			return err
		}
	}
	return nil
}
