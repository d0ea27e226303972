package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run/host"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// ActionCall is an action to be run.
type ActionCall struct {
	Environment tenant.Environment
	// Integration is the key, ConnectionID the public id.
	Integration  string
	ConnectionID string
	Action       string
	// Input is any JSON; what is falsy in JavaScript reaches the action as null (wire contract).
	Input json.RawMessage
	// MaxRetries is how often an asynchronous action that failed is run again, at most 5.
	MaxRetries int
	// Begun is told the id of the operation before the action runs; may be nil.
	Begun func(operationID string)
}

// Limits of the wire contract: an action starts within 30 s and runs for 15 min at the most.
const (
	actionStart   = 30 * time.Second
	actionWall    = 15 * time.Minute
	actionTimeout = actionWall + time.Minute
)

// Errors of actions.
var (
	ErrUnknownAction = errs.NotFound("Action not found")
	ErrDisabled      = errs.New(http.StatusNotFound, "disabled_resource", "The action is disabled")
)

// Action runs an action and gives its output. How the function failed is a *Failure, and so is what kept it from running; a call
// that names what does not exist is an *errs.Error; the end of ctx is its cause.
func (s *Service) Action(ctx context.Context, call ActionCall) (json.RawMessage, error) {
	return s.action(ctx, call, 0)
}

func (s *Service) action(ctx context.Context, call ActionCall, depth int) (json.RawMessage, error) {
	x, err := s.actionExecution(ctx, call)
	if err != nil {
		return nil, err
	}
	x.Depth = depth
	x.Operation = s.opts.Log.Begin(ctx, x.record(oplog.ActionRun, "", time.Time{}, map[string]any{"input": x.input}))
	if call.Begun != nil {
		call.Begun(x.Operation.ID())
	}
	output, err := s.runAction(ctx, x)
	s.endAction(ctx, x.Operation, err)
	return output, err
}

// actionExecution finds what an action needs.
func (s *Service) actionExecution(ctx context.Context, call ActionCall) (*execution, error) {
	i, err := s.opts.Integrations.Get(ctx, call.Environment.ID, call.Integration)
	if err != nil {
		return nil, unknownConnection(err, call.Integration, call.ConnectionID)
	}
	p, ok := s.opts.Catalog.Get(i.Provider)
	if !ok {
		return nil, errs.Newf(http.StatusBadRequest, "unknown_provider", "The provider %q of the integration %q is not in the catalog", i.Provider, i.Key)
	}
	c, err := s.opts.Connections.Get(ctx, i, call.ConnectionID)
	if err != nil {
		return nil, unknownConnection(err, call.Integration, call.ConnectionID)
	}
	f, err := s.opts.Functions.Get(ctx, i, function.Action, call.Action)
	if errors.Is(err, function.ErrNotFound) {
		return nil, ErrUnknownAction.Because(err)
	}
	if err != nil {
		return nil, err
	}
	if !f.Enabled {
		return nil, ErrDisabled
	}
	return &execution{
		Subject: host.Subject{
			Environment: call.Environment, Integration: i, Provider: p, Connection: c, Function: f, Kind: runner.KindAction, Variant: record.Base,
		},
		input: truthy(call.Input),
	}, nil
}

func unknownConnection(err error, key, connectionID string) error {
	switch {
	case errors.Is(err, integration.ErrNotFound), errors.Is(err, connection.ErrNotFound):
		return errs.Newf(http.StatusBadRequest, "unknown_connection",
			"There is no connection %q of an integration %q in this environment", connectionID, key).Because(err)
	}
	return err
}

// truthy is nil for what JavaScript takes for false.
func truthy(input json.RawMessage) json.RawMessage {
	input = bytes.TrimSpace(input)
	switch string(input) {
	case "", "null", "false", `""`:
		return nil
	}
	var number float64
	if c := input[0]; (c == '-' || c >= '0' && c <= '9') && json.Unmarshal(input, &number) == nil && number == 0 {
		return nil
	}
	return input
}

// runAction runs an action when there is room for it.
func (s *Service) runAction(ctx context.Context, x *execution) (json.RawMessage, error) {
	if x.Depth == 0 { // an action that is waited for by one that has a place needs none
		release, err := s.slots.take(ctx, x.Environment.ID, actionStart)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, actionStart+actionWall, runner.ErrTimedOut)
	defer cancel()
	return s.execute(ctx, x)
}

// execute runs an action and turns its outcome into output or error.
func (s *Service) execute(ctx context.Context, x *execution) (json.RawMessage, error) {
	result, _, err := s.perform(ctx, x, runner.Limits{})
	switch {
	case errors.Is(err, runner.ErrWorkerLost):
		s.opts.Logger.WarnContext(ctx, "a runner process was lost under an action", "operation", x.Operation.ID(), "err", err)
		return nil, failed(TypeOther, "the process that ran the action was lost")
	case errors.Is(err, runner.ErrTimedOut):
		return nil, failed(TypeActionFailure, "Task expired", "payload", map[string]string{"reason": "createdToStartedTimeoutSecs_exceeded"})
	case errors.Is(err, runner.ErrStopped):
		return nil, failed(TypeActionFailure, "the server is stopping")
	case err != nil:
		return nil, err
	case result.Error != nil:
		return nil, failureOf(result.Error)
	}
	if len(result.Output) == 0 {
		return json.RawMessage("null"), nil
	}
	return result.Output, nil
}

// endAction ends the operation of an action.
func (s *Service) endAction(ctx context.Context, op *oplog.Operation, err error) {
	var failure *Failure
	switch {
	case err == nil:
		op.Success(ctx)
	case errors.As(err, &failure):
		op.Fail(ctx, logged(failure))
	case ctx.Err() != nil:
		op.Log(ctx, oplog.Warn, "The caller hung up")
		op.Cancel(ctx)
	default:
		op.Fail(ctx, oplog.Failure{Name: "server_error", Message: "An internal fault of this server", Type: "server_error"})
	}
}

// logged is a failure as the log has it.
func logged(f *Failure) oplog.Failure {
	return oplog.Failure{Name: f.Type, Message: f.Message(), Type: f.Type, Payload: f.Payload}
}

// slots bounds how many actions of an environment run at once.
type slots struct {
	most int
	mu   sync.Mutex
	free map[int64]chan struct{}
}

// take waits for a place, and no longer than patience.
func (s *slots) take(ctx context.Context, environmentID int64, patience time.Duration) (release func(), err error) {
	s.mu.Lock()
	if s.free == nil {
		s.free = map[int64]chan struct{}{}
	}
	places := s.free[environmentID]
	if places == nil {
		places = make(chan struct{}, s.most)
		s.free[environmentID] = places
	}
	s.mu.Unlock()
	release = func() { <-places }
	select {
	case places <- struct{}{}:
		return release, nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, failed(TypeActionFailure, "Task expired", "payload", map[string]string{"reason": "createdToStartedTimeoutSecs_exceeded"})
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
