package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// host answers the operations of one execution. The contract is internal/runner/js/sdk/ops.md.
type host struct {
	*Service
	x *execution

	mu sync.Mutex
	// merges are the strategies that were set, by model; wrote are the models that were written before.
	merges map[string]record.Merge
	wrote  map[string]bool
	// locked is set once a lock was asked for.
	locked bool

	// counting guards the run's result.
	counting sync.Mutex

	// checkpoints serialises the use of the checkpoint, of which the host owns the version.
	checkpoints sync.Mutex
	checkpoint  heldCheckpoint
}

// heldCheckpoint is what the host knows of the function's checkpoint.
type heldCheckpoint struct {
	read    bool
	version int64
	// from is the value that was read first, to the last that was saved; nil for none.
	from, to json.RawMessage
}

func newHost(s *Service, x *execution) *host {
	return &host{Service: s, x: x, merges: map[string]record.Merge{}, wrote: map[string]bool{}}
}

// key names the function's checkpoint.
func (h *host) key() checkpoint.Key {
	return checkpoint.Key{EnvironmentID: h.x.env.ID, ConnectionID: h.x.connection.ID, Name: h.x.checkpoint()}
}

// close gives back what the execution holds.
func (h *host) close(ctx context.Context) {
	h.mu.Lock()
	locked := h.locked
	h.mu.Unlock()
	if !locked {
		return
	}
	if err := h.store.ReleaseLocks(ctx, h.x.env.ID, h.x.op.ID()); err != nil { // they expire by themselves
		h.opts.Logger.WarnContext(ctx, "release the locks of a function", "operation", h.x.op.ID(), "err", err)
	}
}

// refusal is an error for the function's eyes; see §4 of the contract.
type refusal struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Name    string          `json:"name,omitempty"`
	Status  int             `json:"status,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
	Payload any             `json:"payload,omitempty"`
}

func refuse(code, message string) error { return refusal{Code: code, Message: message}.err() }

func (r refusal) err() error { return &runner.HostError{JSON: encode(r)} }

// The refusals that end a run.
func aborted() error { return refuse("script_aborted", "The run was aborted") }
func interrupted() error {
	return refuse(typeInterrupted, "The run is interrupted and goes on in a new one")
}

// badRequest is for requests that the SDK would not make.
func badRequest(err error) error {
	return refuse("invalid_host_call", "The runtime made a call that is not understood: "+err.Error())
}

// plain hands an error to the function as a plain one. What is none that may be shown is passed on, to be logged.
func plain(err error) error {
	var known *errs.Error
	if !errors.As(err, &known) {
		return err
	}
	message := known.Message
	for _, issue := range known.Issues {
		if message != "" {
			message += "; "
		}
		message += issue.Message
		if len(issue.Path) > 0 {
			message += fmt.Sprintf(" (%v)", issue.Path)
		}
	}
	return refusal{Code: known.Code, Message: message, Payload: known.Payload}.err()
}

// platform hands an error to the function as the public API would have answered it.
func platform(err error) error {
	var failure *Failure
	if errors.As(err, &failure) {
		return refusal{Code: failure.Code(), Message: failure.Message(), Status: failure.Status(), Body: failure.Body()}.err()
	}
	var known *errs.Error
	if !errors.As(err, &known) {
		return err
	}
	type answer struct {
		Code    string       `json:"code"`
		Message string       `json:"message,omitempty"`
		Errors  []errs.Issue `json:"errors,omitempty"`
		Payload any          `json:"payload,omitempty"`
	}
	body := encode(map[string]answer{"error": {known.Code, known.Message, known.Issues, known.Payload}})
	return refusal{Code: known.Code, Message: known.Message, Status: known.Status, Body: body}.err()
}

// Call implements runner.Host.
func (h *host) Call(ctx context.Context, op string, payload []byte) ([]byte, error) {
	answer := operations[op]
	if answer == nil {
		return nil, refuse("unknown_host_call", "The runtime does not know the call "+op)
	}
	if ctx.Err() != nil && op != "log" && op != "checkpoint.save" {
		return nil, aborted()
	}
	reply, err := answer(h, ctx, payload)
	var shown *runner.HostError
	if err != nil && ctx.Err() != nil && !errors.As(err, &shown) {
		return nil, aborted()
	}
	return reply, err
}

// operation answers one kind of call.
type operation func(h *host, ctx context.Context, payload []byte) ([]byte, error)

// on reads the request before it is answered.
func on[T any](answer func(h *host, ctx context.Context, in T) ([]byte, error)) operation {
	return func(h *host, ctx context.Context, payload []byte) ([]byte, error) {
		var in T
		if err := json.Unmarshal(payload, &in); err != nil {
			return nil, badRequest(err)
		}
		return answer(h, ctx, in)
	}
}

// none is a request without members.
type none struct{}

// operations is everything a function can ask for.
var operations = map[string]operation{
	"http": on((*host).http), "fetch": on((*host).fetch), "log": on((*host).log),

	"connection.get": on((*host).connectionGet), "integration.get": on((*host).integrationGet), "metadata.set": on((*host).metadataSet),
	"metadata.update": on((*host).metadataUpdate), "environment.variables": on((*host).environmentVariables),

	"records.save": on((*host).recordsSave), "records.update": on((*host).recordsUpdate), "records.delete": on((*host).recordsDelete),
	"records.get": on((*host).recordsGet), "records.list": on((*host).recordsList), "records.deletePrevious": on((*host).deletePrevious),
	"trackDeletes.start": on((*host).trackDeletesStart), "trackDeletes.end": on((*host).trackDeletesEnd), "merging.set": on((*host).mergingSet),

	"checkpoint.get": on((*host).checkpointGet), "checkpoint.save": on((*host).checkpointSave), "checkpoint.clear": on((*host).checkpointClear),
	"lock.acquire": on((*host).lockAcquire), "lock.release": on((*host).lockRelease), "lock.releaseAll": on((*host).lockReleaseAll),

	"action.trigger": on((*host).actionTrigger), "sync.trigger": on((*host).syncTrigger), "sync.start": on((*host).syncStart),
}

// empty is the reply of what has none.
var empty = []byte("{}")

type logLine struct {
	Level   oplog.Level     `json:"level"`
	Message string          `json:"message"`
	Meta    json.RawMessage `json:"meta"`
}

func (h *host) log(ctx context.Context, in logLine) ([]byte, error) {
	if !slices.Contains([]oplog.Level{oplog.Debug, oplog.Info, oplog.Warn, oplog.Error}, in.Level) {
		in.Level = oplog.Info
	}
	h.x.op.Append(ctx, oplog.Message{Source: "user", Level: in.Level, Text: in.Message, Context: "script", Meta: in.Meta})
	return empty, nil
}

// overdue reports whether saving a checkpoint should interrupt the run.
func (h *host) overdue() bool { return !h.x.soft.IsZero() && !h.now().Before(h.x.soft) }

// notASync is the refusal of the records operations for functions that have no records.
func notASync() error {
	return refuse("not_available", "Only syncs and webhook handlers have records")
}
