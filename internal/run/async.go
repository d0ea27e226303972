package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// callArgs is the job of an asynchronous action.
type callArgs struct {
	EnvironmentID int64  `json:"environment_id"`
	CallID        string `json:"call_id"`
}

// Kind implements queue.Args.
func (callArgs) Kind() string { return "action.run" }

// ErrNoResult is for an asynchronous action that has not ended, or is not known (any more).
var ErrNoResult = errs.NotFound("No result of an action with this id")

// Enqueue stores an action to be run soon and gives the id of its result. The actions of an environment that are enqueued run one
// after the other (wire contract).
func (s *Service) Enqueue(ctx context.Context, call ActionCall) (id string, err error) {
	x, err := s.actionExecution(ctx, call)
	if err != nil {
		return "", err
	}
	now := s.now().UTC()
	c := SealedCall{Call: Call{
		ID: uuid.NewString(), EnvironmentID: x.Environment.ID, ConnectionID: x.Connection.ID, Integration: x.Integration.Key, Action: x.Function.Name,
		OperationID: oplog.NewID(now), MaxAttempts: call.MaxRetries + 1, CreatedAt: now,
	}}
	if x.input != nil {
		if c.SealedInput, err = s.opts.Vault.Seal(x.input, callPlace(c.ID, "input")); err != nil {
			return "", fmt.Errorf("seal the input of an action: %w", err)
		}
	}
	err = s.store.Write(ctx, func(ctx context.Context) error {
		if err := s.store.InsertCall(ctx, c); err != nil {
			return fmt.Errorf("store an action: %w", err)
		}
		_, err := s.queue.Insert(ctx, callArgs{c.EnvironmentID, c.ID}, queue.InsertOpts{
			Queue: ActionQueue, Tenant: c.EnvironmentID, Group: "action:environment:" + strconv.FormatInt(c.EnvironmentID, 10), GroupLimit: 1,
			MaxAttempts: c.MaxAttempts,
		})
		return err
	})
	if errors.Is(err, queue.ErrQueueFull) {
		return "", failed(TypeActionFailure, "too many actions of this environment are waiting")
	}
	if err != nil {
		return "", err
	}
	if call.Begun != nil {
		call.Begun(c.OperationID)
	}
	return c.ID, nil
}

// Result gives the output of an asynchronous action, a *Failure if it failed for good, or ErrNoResult.
func (s *Service) Result(ctx context.Context, environmentID int64, id string) (json.RawMessage, error) {
	c, err := s.store.Call(ctx, environmentID, id)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNoResult.Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("result of action %s: %w", id, err)
	}
	if c.EndedAt.IsZero() || s.now().Sub(c.EndedAt) > ResultLife {
		return nil, ErrNoResult
	}
	if c.SealedFailure != nil {
		text, err := s.opts.Vault.Open(c.SealedFailure, callPlace(c.ID, "failure"))
		if err != nil {
			return nil, fmt.Errorf("result of action %s: %w", id, err)
		}
		failure := &Failure{}
		if err := json.Unmarshal(text, failure); err != nil {
			return nil, fmt.Errorf("result of action %s: %w", id, err)
		}
		return nil, failure
	}
	output, err := s.opts.Vault.Open(c.SealedOutput, callPlace(c.ID, "output"))
	if err != nil {
		return nil, fmt.Errorf("result of action %s: %w", id, err)
	}
	return output, nil
}

func callPlace(id, column string) vault.Context {
	return vault.Context{Table: "action_calls", Column: column, ID: id}
}

// callWorker runs asynchronous actions.
type callWorker struct{ *Service }

// Work makes one attempt.
func (w *callWorker) Work(ctx context.Context, job *queue.Job[callArgs]) error {
	c, err := w.store.Call(ctx, job.Args.EnvironmentID, job.Args.CallID)
	if errors.Is(err, ErrNotFound) || err == nil && !c.EndedAt.IsZero() {
		return nil
	}
	if err != nil {
		return err
	}
	number := c.Begun + 1
	if number > c.MaxAttempts { // its process was lost during the last one
		return w.end(ctx, job, c, nil, failed(TypeActionFailure, "the process that ran the action was lost"))
	}
	output, err := w.attempt(ctx, c, number)
	var failure *Failure
	switch {
	case errors.Is(context.Cause(ctx), lifecycle.ErrStopping) || errors.Is(err, queue.ErrLeaseLost) || errors.Is(err, runner.ErrStopped):
		return err // somebody else goes on
	case err != nil && !errors.As(err, &failure):
		failure = failed(TypeActionFailure, "internal fault")
		w.opts.Logger.ErrorContext(ctx, "run an action", "call", c.ID, "operation", c.OperationID, "err", err)
	}
	if failure != nil && number < c.MaxAttempts {
		return queue.RetryAfter(0, failure)
	}
	return w.end(ctx, job, c, output, failure)
}

// attempt runs the action once, under the operation that all attempts share.
func (w *callWorker) attempt(ctx context.Context, c SealedCall, number int) (json.RawMessage, error) {
	settings, err := w.opts.Tenants.Settings(ctx, c.EnvironmentID)
	if err != nil {
		return nil, err
	}
	var input json.RawMessage
	if c.SealedInput != nil {
		if input, err = w.opts.Vault.Open(c.SealedInput, callPlace(c.ID, "input")); err != nil {
			return nil, err
		}
	}
	conn, err := w.opts.Connections.GetByID(ctx, c.EnvironmentID, c.ConnectionID)
	if err != nil {
		return nil, failed(TypeActionFailure, "the connection is gone")
	}
	x, err := w.actionExecution(ctx, ActionCall{
		Environment: settings.Environment, Integration: c.Integration, ConnectionID: conn.ConnectionID, Action: c.Action, Input: input,
	})
	if known, ok := errors.AsType[*errs.Error](err); ok {
		return nil, failed(TypeActionFailure, known.Message)
	}
	if err != nil {
		return nil, err
	}
	if begun, err := w.store.BeginCall(ctx, c.EnvironmentID, c.ID, number); err != nil || !begun {
		return nil, errors.Join(err, queue.ErrLeaseLost)
	}
	x.Operation, err = w.opts.Log.Resume(ctx, c.EnvironmentID, c.OperationID)
	if errors.Is(err, oplog.ErrNotFound) {
		meta := map[string]any{"input": x.input, "async": true, "id": c.ID}
		x.Operation, err = w.opts.Log.Begin(ctx, x.record(oplog.ActionRun, c.OperationID, c.CreatedAt, meta)), nil
	}
	if err != nil {
		return nil, err
	}
	defer x.Operation.Flush(ctx)
	x.Operation.Log(ctx, oplog.Info, fmt.Sprintf("Attempt %d of %d", number, c.MaxAttempts))
	output, err := w.execute(ctx, x)
	if failure, ok := errors.AsType[*Failure](err); ok {
		problem := logged(failure)
		x.Operation.Append(ctx, oplog.Message{Level: oplog.Error, Text: failure.Message(), Error: &problem})
	}
	return output, err
}

// end stores the outcome and ends the job in one transaction. To the queue a failed action is a job that was done.
func (w *callWorker) end(ctx context.Context, job *queue.Job[callArgs], c SealedCall, output json.RawMessage, failure *Failure) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if failure != nil {
		c.SealedFailure, err = w.opts.Vault.Seal(host.Encode(failure), callPlace(c.ID, "failure"))
	} else {
		c.SealedOutput, err = w.opts.Vault.Seal(output, callPlace(c.ID, "output"))
	}
	if err != nil {
		return fmt.Errorf("seal the result of an action: %w", err)
	}
	c.EndedAt = w.now().UTC()
	err = w.store.Write(ctx, func(ctx context.Context) error {
		if err := job.CompleteTx(ctx); err != nil {
			return err
		}
		return w.store.EndCall(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("store the result of an action: %w", err)
	}
	if op, err := w.opts.Log.Resume(ctx, c.EnvironmentID, c.OperationID); err == nil {
		if failure != nil {
			op.Fail(ctx, logged(failure))
		} else {
			op.Success(ctx)
		}
	}
	return nil
}

// Failed implements queue.FailureHandler, for calls whose jobs end without Work.
func (w *callWorker) Failed(ctx context.Context, job *queue.Job[callArgs], _ error) error {
	c, err := w.store.Call(ctx, job.Args.EnvironmentID, job.Args.CallID)
	if errors.Is(err, ErrNotFound) || err == nil && !c.EndedAt.IsZero() {
		return nil
	}
	if err != nil {
		return err
	}
	failure := host.Encode(failed(TypeActionFailure, "the action could not be run"))
	if c.SealedFailure, err = w.opts.Vault.Seal(failure, callPlace(c.ID, "failure")); err != nil {
		return err
	}
	c.EndedAt = w.now().UTC()
	return w.store.EndCall(ctx, c)
}

var _ queue.FailureHandler[callArgs] = (*callWorker)(nil)
