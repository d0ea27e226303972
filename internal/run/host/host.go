// Package host answers what functions ask the platform for while they run: requests to third parties, records, checkpoints, locks,
// connections, other functions. internal/runner/js/sdk/ops.md is the contract of these operations.
//
// A [Host] serves one execution and knows its environment, connection and function, so that nothing a function sends can name
// those of somebody else. What it sends is checked as input from outside. Every secret that an answer holds is hidden from the
// log of the operation before it is handed out.
//
// What breaks it: services that ignore their context keep a run that was aborted from ending.
package host

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

// Host answers the operations of one execution. The contract is internal/runner/js/sdk/ops.md.
type Host struct {
	services *Services
	subject  *Subject

	mu sync.Mutex
	// merges are the strategies that were set, by model; wrote are the models that were written before.
	merges map[string]record.Merge
	wrote  map[string]bool
	// locked is set once a lock was asked for.
	locked bool

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

// New makes the host of a subject.
func New(services *Services, subject *Subject) *Host {
	return &Host{services: services, subject: subject, merges: map[string]record.Merge{}, wrote: map[string]bool{}}
}

// key names the function's checkpoint.
func (h *Host) key() checkpoint.Key {
	return checkpoint.Key{EnvironmentID: h.subject.Environment.ID, ConnectionID: h.subject.Connection.ID, Name: h.subject.CheckpointName()}
}

// Close gives back what the execution holds.
func (h *Host) Close(ctx context.Context) {
	h.mu.Lock()
	locked := h.locked
	h.mu.Unlock()
	if !locked {
		return
	}
	if err := h.services.Locks.ReleaseLocks(ctx, h.subject.Environment.ID, h.subject.Operation.ID()); err != nil { // they expire by themselves
		h.services.Logger.WarnContext(ctx, "release the locks of a function", "operation", h.subject.Operation.ID(), "err", err)
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

func (r refusal) err() error { return &runner.HostError{JSON: Encode(r)} }

// Interrupted is the code with which saving a checkpoint ends a run that is past Subject.Soft.
const Interrupted = "execution_interrupted"

// The refusals that end a run.
func aborted() error { return refuse("script_aborted", "The run was aborted") }
func interrupted() error {
	return refuse(Interrupted, "The run is interrupted and goes on in a new one")
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
	if answer, ok := errors.AsType[Answer](err); ok {
		return refusal{Code: answer.Code(), Message: answer.Message(), Status: answer.Status(), Body: answer.Body()}.err()
	}
	var known *errs.Error
	if !errors.As(err, &known) {
		return err
	}
	type body struct {
		Code    string       `json:"code"`
		Message string       `json:"message,omitempty"`
		Errors  []errs.Issue `json:"errors,omitempty"`
		Payload any          `json:"payload,omitempty"`
	}
	text := Encode(map[string]body{"error": {known.Code, known.Message, known.Issues, known.Payload}})
	return refusal{Code: known.Code, Message: known.Message, Status: known.Status, Body: text}.err()
}

// Call implements runner.Host.
func (h *Host) Call(ctx context.Context, op string, payload []byte) ([]byte, error) {
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
type operation func(h *Host, ctx context.Context, payload []byte) ([]byte, error)

// on reads the request before it is answered.
func on[T any](answer func(h *Host, ctx context.Context, in T) ([]byte, error)) operation {
	return func(h *Host, ctx context.Context, payload []byte) ([]byte, error) {
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
	"http": on((*Host).http), "fetch": on((*Host).fetch), "log": on((*Host).log),

	"connection.get": on((*Host).connectionGet), "integration.get": on((*Host).integrationGet), "metadata.set": on((*Host).metadataSet),
	"metadata.update": on((*Host).metadataUpdate), "environment.variables": on((*Host).environmentVariables),

	"records.save": on((*Host).recordsSave), "records.update": on((*Host).recordsUpdate), "records.delete": on((*Host).recordsDelete),
	"records.get": on((*Host).recordsGet), "records.list": on((*Host).recordsList), "records.deletePrevious": on((*Host).deletePrevious),
	"trackDeletes.start": on((*Host).trackDeletesStart), "trackDeletes.end": on((*Host).trackDeletesEnd), "merging.set": on((*Host).mergingSet),

	"checkpoint.get": on((*Host).checkpointGet), "checkpoint.save": on((*Host).checkpointSave), "checkpoint.clear": on((*Host).checkpointClear),
	"lock.acquire": on((*Host).lockAcquire), "lock.release": on((*Host).lockRelease), "lock.releaseAll": on((*Host).lockReleaseAll),

	"action.trigger": on((*Host).actionTrigger), "sync.trigger": on((*Host).syncTrigger), "sync.start": on((*Host).syncStart),
}

// empty is the reply of what has none.
var empty = []byte("{}")

type logLine struct {
	Level   oplog.Level     `json:"level"`
	Message string          `json:"message"`
	Meta    json.RawMessage `json:"meta"`
}

func (h *Host) log(ctx context.Context, in logLine) ([]byte, error) {
	if !slices.Contains([]oplog.Level{oplog.Debug, oplog.Info, oplog.Warn, oplog.Error}, in.Level) {
		in.Level = oplog.Info
	}
	h.subject.Operation.Append(ctx, oplog.Message{Source: "user", Level: in.Level, Text: in.Message, Context: "script", Meta: in.Meta})
	return empty, nil
}

// overdue reports whether saving a checkpoint should interrupt the run.
func (h *Host) overdue() bool {
	return !h.subject.Soft.IsZero() && !h.services.Now().Before(h.subject.Soft)
}

// notASync is the refusal of the records operations for functions that have no records.
func notASync() error {
	return refuse("not_available", "Only syncs and webhook handlers have records")
}
