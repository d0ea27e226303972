package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
)

// succeed makes a run true that succeeded or was interrupted: its end, its webhooks and the end of its job are one transaction.
func (w *syncWorker) succeed(ctx context.Context, r *syncRun) error {
	ctx = context.WithoutCancel(ctx)
	r.run.Status, r.run.FinishedAt = Success, w.now().UTC()
	if r.run.Interrupted {
		r.job.RunAgainNow()
	}
	for _, model := range r.Function.Models { // a stream that is only read is in use, too
		if err := w.opts.Records.Touch(ctx, r.Stream(model)); err != nil {
			return err
		}
		if _, counted := r.run.Result[model]; !counted {
			r.run.Result[model] = Counts{} // told with zeros
		}
	}
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.CompleteTx(ctx); err != nil {
			return err
		}
		if err := w.store.SaveRun(ctx, *r.run); err != nil {
			return err
		}
		if err := w.store.SetLastSync(ctx, r.Environment.ID, r.sync.ID, r.run.Since); err != nil {
			return err
		}
		_, err := w.opts.Connections.ClearError(ctx, r.Environment.ID, r.Connection.ID, connection.SyncError, r.errorSource())
		if err != nil && !errors.Is(err, connection.ErrNotFound) {
			return err
		}
		return w.opts.Webhooks.SendSync(ctx, r.event())
	})
	if err != nil {
		return fmt.Errorf("end a run of %s: %w", r.sync.ID, err)
	}
	if r.run.Interrupted {
		r.Operation.Log(ctx, oplog.Info, "The run was interrupted at a checkpoint after a long time and goes on in a new one")
	}
	r.Operation.Success(ctx)
	return nil
}

// errorSource tells the errors of a connection's syncs apart.
func (x *execution) errorSource() string { return record.FullModel(x.sync.Name, x.Variant) }

// event is what the app is told.
func (r *syncRun) event() outbound.SyncEvent {
	e := outbound.SyncEvent{
		Target: outbound.TargetOf(r.Connection), Sync: r.sync.Name, Variant: r.Variant, Type: string(Incremental), StartedAt: r.run.Since,
	}
	if r.sync.LastSyncAt.IsZero() {
		e.Type = "INITIAL"
	}
	if r.host != nil {
		e.Checkpoints = r.host.CheckpointRange()
	}
	for _, model := range r.Function.Models {
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
	r.Operation.Fail(ctx, logged(f))
	return nil
}

// stop records a failure and tells the app, in the transaction of ctx.
func (w *syncWorker) stop(ctx context.Context, r *syncRun, f *Failure) error {
	ended := *r.run
	ended.Status, ended.Error, ended.FinishedAt, ended.Interrupted = Stopped, f.Type, w.now().UTC(), false
	if err := w.store.SaveRun(ctx, ended); err != nil {
		return err
	}
	_, err := w.opts.Connections.SetError(ctx, r.Environment.ID, r.Connection.ID, connection.ActiveError{
		Type: connection.SyncError, LogID: r.run.OperationID, Source: r.errorSource(),
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
	r.Operation.Cancel(ctx)
	return nil
}

// stopping leaves a run to whoever claims its job next.
func (w *syncWorker) stopping(ctx context.Context, r *syncRun) error {
	ctx = context.WithoutCancel(ctx)
	err := w.store.Write(ctx, func(ctx context.Context) error {
		if err := r.job.EndTx(ctx, queue.Snooze(afterStop)); err != nil {
			return err
		}
		return w.saveStopped(ctx, r, codeShutdown)
	})
	if err != nil {
		return fmt.Errorf("put a run of %s off: %w", r.sync.ID, err)
	}
	r.Operation.Log(ctx, oplog.Info, "The server stops; the sync goes on when it is back")
	r.Operation.Cancel(ctx)
	return nil
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
