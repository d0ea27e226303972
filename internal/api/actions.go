package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Actions runs actions. How a function failed is a *run.Failure.
type Actions interface {
	Action(ctx context.Context, call run.ActionCall) (json.RawMessage, error)
	Enqueue(ctx context.Context, call run.ActionCall) (id string, err error)
	Result(ctx context.Context, environmentID int64, id string) (json.RawMessage, error)
}

func (s *Server) actionRoutes() {
	s.json(http.MethodPost, "/action/trigger", access{tenant.ScopeActionsExecute}, s.triggerAction)
	s.json(http.MethodGet, "/action/:id", access{tenant.ScopeActionsExecute}, s.actionResult)
}

// maxActionRetries is how often an asynchronous action can be repeated.
const maxActionRetries = 5

func (s *Server) triggerAction(w http.ResponseWriter, r *request) error {
	h := input.Headers(r.Header, "Provider-Config-Key", "Connection-Id", "X-Async", "X-Max-Retries")
	call := run.ActionCall{
		Environment: r.principal.Environment, Integration: h.String("provider-config-key", input.IntegrationKey),
		ConnectionID: h.String("connection-id", input.ConnectionID), MaxRetries: h.Int("x-max-retries", 0, 0, maxActionRetries),
		Begun: func(id string) { w.Header().Set(operationHeader, id) },
	}
	async := h.Flag("x-async", false)
	if err := h.Err("invalid_headers"); err != nil {
		return err
	}
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	call.Action, call.Input = b.String("action_name", input.Name), b.JSON("input")
	if err := b.Err("invalid_body"); err != nil {
		return err
	}
	if async {
		return s.enqueueAction(w, r, call)
	}
	output, err := s.opts.Actions.Action(r.Context(), call)
	if err != nil && r.Context().Err() != nil {
		return nil //nolint:nilerr // the client is gone, nobody reads an answer
	}
	return s.writeOutput(w, r, output, err)
}

func (s *Server) enqueueAction(w http.ResponseWriter, r *request, call run.ActionCall) error {
	id, err := s.opts.Actions.Enqueue(r.Context(), call)
	if err != nil {
		return s.writeOutput(w, r, nil, err)
	}
	where := "/action/" + id
	w.Header().Set("Location", where)
	return writeJSON(w, http.StatusAccepted, map[string]string{"id": id, "statusUrl": where})
}

func (s *Server) actionResult(w http.ResponseWriter, r *request) error {
	p := input.Params(r.params)
	id := p.String("id", input.UUID)
	if err := p.Err("invalid_uri_params"); err != nil {
		return err
	}
	output, err := s.opts.Actions.Result(r.Context(), r.env(), id)
	return s.writeOutput(w, r, output, err)
}

// writeOutput answers with what an action returned, byte for byte, or with how it failed. A fault of ours has a code of its own
// here (wire contract); the log has the cause.
func (s *Server) writeOutput(w http.ResponseWriter, r *request, output json.RawMessage, err error) error {
	var failure *run.Failure
	var known *errs.Error
	switch {
	case err == nil:
		writeRaw(w, http.StatusOK, output)
		return nil
	case errors.As(err, &failure):
		writeRaw(w, failure.Status(), failure.Body())
		return nil
	case errors.As(err, &known):
		return err
	}
	s.opts.Logger.ErrorContext(r.Context(), "run an action", "operation", w.Header().Get(operationHeader), "err", err)
	return errs.New(http.StatusInternalServerError, "internal_server_error", "An internal fault kept the action from running").Because(err)
}
