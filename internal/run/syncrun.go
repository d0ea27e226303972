package run

import (
	"context"
	"errors"
	"fmt"

	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
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

// afterStop is how long a run waits that found the runner stopping.
const afterStop = time.Second

// syncWorker runs syncs.
type syncWorker struct{ *Service }

// syncRun is one run under way.
type syncRun struct {
	*execution
	job  *queue.Job[syncArgs]
	host *host // nil before the function was started
}

// Work makes one run.
func (w *syncWorker) Work(ctx context.Context, job *queue.Job[syncArgs]) error {
	x, err := w.syncExecution(ctx, job.Args)
	switch {
	case errors.Is(err, errNothingToRun):
		w.opts.Logger.WarnContext(ctx, "a sync is scheduled that can't run", "sync", job.Args.SyncID, "err", err)
		return nil
	case err != nil:
		return err
	}
	r := &syncRun{execution: x, job: job}
	if err := w.begin(ctx, r); err != nil {
		return err
	}
	defer x.op.Flush(ctx)
	failure, err := w.work(ctx, r)
	switch cause := context.Cause(ctx); {
	case err == nil && failure == nil:
		err = w.succeed(ctx, r)
	case errors.Is(err, queue.ErrLeaseLost) || errors.Is(cause, queue.ErrLeaseLost):
		x.op.Log(ctx, oplog.Warn, "The run was given up: another process goes on with it")
		return err
	case errors.Is(err, queue.ErrCancelled) || errors.Is(cause, queue.ErrCancelled):
		return w.cancelled(ctx, r)
	case errors.Is(cause, lifecycle.ErrStopping) || errors.Is(err, runner.ErrStopped):
		return w.stopping(ctx, r)
	case failure == nil:
		w.opts.Logger.ErrorContext(ctx, "run a sync", "sync", x.sync.ID, "operation", x.op.ID(), "err", err)
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

// syncExecution finds what a run needs.
func (s *Service) syncExecution(ctx context.Context, args syncArgs) (*execution, error) {
	y, err := s.store.Sync(ctx, args.EnvironmentID, args.SyncID)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errNothingToRun, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read sync %s: %w", args.SyncID, err)
	}
	settings, err := s.opts.Tenants.Settings(ctx, args.EnvironmentID)
	if err != nil {
		return nil, fmt.Errorf("settings of environment %d: %w", args.EnvironmentID, err)
	}
	i, err := s.opts.Integrations.Get(ctx, args.EnvironmentID, y.Integration)
	if errors.Is(err, integration.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errNothingToRun, err)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.opts.Connections.GetByID(ctx, args.EnvironmentID, y.ConnectionID)
	if errors.Is(err, connection.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errNothingToRun, err)
	}
	if err != nil {
		return nil, err
	}
	f, err := s.opts.Functions.Get(ctx, i, function.Sync, y.Name)
	if errors.Is(err, function.ErrNotFound) || err == nil && !f.Enabled {
		return nil, fmt.Errorf("%w: the function %s is not deployed or disabled", errNothingToRun, y.Name)
	}
	if err != nil {
		return nil, err
	}
	p, _ := s.opts.Catalog.Get(i.Provider)
	return &execution{
		env: settings.Environment, integration: i, provider: p, connection: c, function: f, kind: runner.KindSync, variant: y.Variant, sync: &y,
		emptyCache: args.EmptyCache,
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
			SyncID: r.sync.ID, EnvironmentID: r.env.ID, ConnectionID: r.connection.ID, JobID: int64(r.job.ID), Type: Full, Status: Running,
			Result: map[string]Counts{}, OperationID: oplog.NewID(now), Since: now, StartedAt: now,
		}
		if r.function.SyncType == "incremental" && !r.sync.LastSyncAt.IsZero() {
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
	wall := w.opts.SyncWall
	r.soft = r.run.StartedAt.Add(time.Duration(float64(wall) * softShare))
	record := r.record(oplog.SyncRun, r.run.OperationID, r.run.StartedAt, map[string]any{
		"syncId": r.sync.ID, "runId": r.run.ID, "variant": r.variant, "scheduled": r.job.Scheduled, "reset": r.job.Args.Reset, "emptyCache": r.job.Args.EmptyCache,
	})
	record.ExpiresAt = r.run.StartedAt.Add(wall + time.Hour)
	r.op = w.opts.Log.Begin(ctx, record)
	if lost != nil && lost.JobID == r.run.JobID {
		r.op.Log(ctx, oplog.Info, "Goes on from a run whose process was lost, operation "+lost.OperationID)
	}
	return nil
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
		w.opts.Logger.WarnContext(ctx, "a runner process was lost under a sync", "operation", r.op.ID(), "err", err)
		return failed(TypeOther, "the process that ran the function was lost"), nil
	case err != nil:
		return nil, err
	case result.Error == nil:
		return nil, w.deletePrevious(ctx, r)
	case result.Error.Type == typeInterrupted:
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
	key := checkpoint.Key{EnvironmentID: r.env.ID, ConnectionID: r.connection.ID, Name: r.sync.checkpoint()}
	if _, err := w.opts.Checkpoints.Reset(ctx, key); err != nil {
		return err
	}
	if r.job.Args.EmptyCache {
		for _, model := range r.function.Models {
			n, err := w.opts.Records.DeleteModel(ctx, r.stream(model))
			if err != nil {
				return err
			}
			r.op.Log(ctx, oplog.Info, fmt.Sprintf("%s: %d records were removed from the cache", r.stream(model).Model, n))
		}
	}
	r.run.Prepared = true
	return w.store.SaveRun(ctx, *r.run)
}

// deletePrevious is the older way of deletion tracking: what the run did not have is gone.
func (w *syncWorker) deletePrevious(ctx context.Context, r *syncRun) error {
	if !r.function.TrackDeletes {
		return nil
	}
	for _, model := range r.function.Models {
		if _, err := r.host.deleteGone(ctx, model, w.opts.Records.DeletePrevious); err != nil {
			return err
		}
	}
	return nil
}

// succeed makes a run true that succeeded or was interrupted: its end, its webhooks and the end of its job are one transaction.
func (w *syncWorker) succeed(ctx context.Context, r *syncRun) error {
	ctx = context.WithoutCancel(ctx)
	r.run.Status, r.run.FinishedAt = Success, w.now().UTC()
	if r.run.Interrupted {
		r.job.RunAgainNow()
	}
	for _, model := range r.function.Models { // a stream that is only read is in use, too
		if err := w.opts.Records.Touch(ctx, r.stream(model)); err != nil {
			return err
		}
	}
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.CompleteTx(ctx); err != nil {
			return err
		}
		if err := w.store.SaveRun(ctx, *r.run); err != nil {
			return err
		}
		if err := w.store.SetLastSync(ctx, r.env.ID, r.sync.ID, r.run.Since); err != nil {
			return err
		}
		_, err := w.opts.Connections.ClearError(ctx, r.env.ID, r.connection.ID, connection.SyncError, r.source())
		if err != nil && !errors.Is(err, connection.ErrNotFound) {
			return err
		}
		return w.opts.Webhooks.SendSync(ctx, r.event())
	})
	if err != nil {
		return fmt.Errorf("end a run of %s: %w", r.sync.ID, err)
	}
	if r.run.Interrupted {
		r.op.Log(ctx, oplog.Info, "The run was interrupted at a checkpoint after a long time and goes on in a new one")
	}
	r.op.Success(ctx)
	return nil
}

// source tells the errors of a connection's syncs apart.
func (x *execution) source() string { return record.FullModel(x.sync.Name, x.variant) }

// event is what the app is told.
func (r *syncRun) event() outbound.SyncEvent {
	e := outbound.SyncEvent{
		Target: outbound.TargetOf(r.connection), Sync: r.sync.Name, Variant: r.variant, Type: string(Incremental), StartedAt: r.run.Since,
	}
	if r.sync.LastSyncAt.IsZero() {
		e.Type = "INITIAL"
	}
	if r.host != nil {
		e.Checkpoints = r.host.checkpointRange()
	}
	for _, model := range r.function.Models {
		n := r.run.Result[model]
		e.Models = append(e.Models, outbound.ModelResult{Model: model, Added: n.Added, Updated: n.Updated, Deleted: n.Deleted})
	}
	return e
}

// fail makes a run true that failed. To the queue it is a job that was done: the next run is on the grid.
func (w *syncWorker) fail(ctx context.Context, r *syncRun, f *Failure) error {
	ctx = context.WithoutCancel(ctx)
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.CompleteTx(ctx); err != nil {
			return err
		}
		return w.stop(ctx, r, f)
	})
	if err != nil {
		return fmt.Errorf("end a run of %s: %w", r.sync.ID, err)
	}
	r.op.Fail(ctx, logged(f))
	return nil
}

// stop records a failure and tells the app, in the transaction of ctx.
func (w *syncWorker) stop(ctx context.Context, r *syncRun, f *Failure) error {
	ended := *r.run
	ended.Status, ended.Error, ended.FinishedAt, ended.Interrupted = Stopped, f.Type, w.now().UTC(), false
	if err := w.store.SaveRun(ctx, ended); err != nil {
		return err
	}
	_, err := w.opts.Connections.SetError(ctx, r.env.ID, r.connection.ID, connection.ActiveError{
		Type: connection.SyncError, LogID: r.run.OperationID, Source: r.source(),
	})
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return err
	}
	e := r.event()
	e.FailedAt = ended.FinishedAt
	e.Failure = &outbound.Failure{Type: f.Type, Description: f.Message(), Payload: f.Payload, Additional: f.additional()}
	return w.opts.Webhooks.SendSync(ctx, e)
}

// cancelled ends a run that somebody asked to end.
func (w *syncWorker) cancelled(ctx context.Context, r *syncRun) error {
	ctx = context.WithoutCancel(ctx)
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.EndTx(ctx, queue.ErrCancelled); err != nil {
			return err
		}
		return w.saveStopped(ctx, r, codeCancelled)
	})
	if err != nil {
		return fmt.Errorf("cancel a run of %s: %w", r.sync.ID, err)
	}
	r.op.Cancel(ctx)
	return nil
}

// stopping leaves a run to whoever claims its job next.
func (w *syncWorker) stopping(ctx context.Context, r *syncRun) error {
	ctx = context.WithoutCancel(ctx)
	again := queue.Snooze(afterStop)
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.EndTx(ctx, again); err != nil {
			return err
		}
		return w.saveStopped(ctx, r, codeShutdown)
	})
	if err != nil {
		return fmt.Errorf("put a run of %s off: %w", r.sync.ID, err)
	}
	r.op.Log(ctx, oplog.Info, "The server stops; the sync goes on when it is back")
	r.op.Cancel(ctx)
	return again
}

func (w *syncWorker) saveStopped(ctx context.Context, r *syncRun, code string) error {
	ended := *r.run
	ended.Status, ended.Error, ended.FinishedAt, ended.Interrupted = Stopped, code, w.now().UTC(), false
	return w.store.SaveRun(ctx, ended)
}

// Failed implements queue.FailureHandler, for jobs that end without Work having said how: lost too often, or a fault of ours.
func (w *syncWorker) Failed(ctx context.Context, job *queue.Job[syncArgs], cause error) error {
	last, err := w.store.LastRun(ctx, job.Args.SyncID)
	if errors.Is(err, ErrNotFound) || err == nil && (last.JobID != int64(job.ID) || last.Status != Running) {
		return nil
	}
	if err != nil {
		return err
	}
	x, err := w.syncExecution(ctx, job.Args)
	if errors.Is(err, errNothingToRun) {
		last.Status, last.Error, last.FinishedAt = Stopped, codeLost, w.now().UTC()
		return w.store.SaveRun(ctx, last)
	}
	if err != nil {
		return err
	}
	x.run = &last
	reason := "internal fault"
	if errors.Is(cause, queue.ErrLostTooOften) {
		reason = "the process that ran the sync was lost again and again"
	}
	f := failed(TypeSyncFailure, reason)
	if err := w.stop(ctx, &syncRun{execution: x, job: job}, f); err != nil {
		return err
	}
	w.store.AfterCommit(ctx, func() {
		if op, err := w.opts.Log.Resume(ctx, last.EnvironmentID, last.OperationID); err == nil {
			op.Fail(ctx, logged(f))
		}
	})
	return nil
}

var _ queue.FailureHandler[syncArgs] = (*syncWorker)(nil)
