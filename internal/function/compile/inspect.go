package compile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// These bound the reading of a definition: a module body only builds objects. A loop ends with the CPU time; the wall clock is
// only there for what waits, and generous because the machine may be busy.
const (
	loadMemory = 64 << 20
	loadCPU    = 3 * time.Second
	loadWall   = 30 * time.Second
)

// one compiles one function and reads its definition.
func one(ctx context.Context, project fs.FS, entry Entry, inspector Inspector) (function.Compiled, Problems, error) {
	source, err := fs.ReadFile(project, entry.File)
	if err != nil {
		return function.Compiled{}, nil, err
	}
	js, problems := bundle(project, entry)
	if len(problems) > 0 {
		return function.Compiled{}, problems, nil
	}
	definition, problem, err := Inspect(ctx, inspector, entry.Integration, entry.Name, js)
	if err != nil {
		return function.Compiled{}, nil, err
	}
	if problem == "" {
		problem = check(entry, definition)
	}
	if problem != "" {
		return function.Compiled{}, Problems{{File: entry.File, Message: problem}}, nil
	}
	if usesCheckpoints(string(source)) {
		definition.Features = []string{"checkpoints"}
	}
	return function.Compiled{
		Definition: definition, Name: entry.Name, Integration: entry.Integration, JS: js, TS: string(source),
	}, nil, nil
}

func usesCheckpoints(source string) bool {
	for _, call := range []string{"getCheckpoint(", "saveCheckpoint(", "clearCheckpoint("} {
		if strings.Contains(source, "nango."+call) {
			return true
		}
	}
	return false
}

// inspection is what the runtime tells about a bundle.
type inspection struct {
	Type                 string              `json:"type"`
	Description          string              `json:"description"`
	Version              string              `json:"version"`
	Scopes               []string            `json:"scopes"`
	Endpoints            []function.Endpoint `json:"endpoints"`
	Frequency            string              `json:"frequency"`
	SyncType             string              `json:"syncType"`
	TrackDeletes         bool                `json:"trackDeletes"`
	AutoStart            bool                `json:"autoStart"`
	WebhookSubscriptions []string            `json:"webhookSubscriptions"`
	Event                string              `json:"event"`
	Models               []string            `json:"models"`
	Input                string              `json:"input"`
	JSONSchema           json.RawMessage     `json:"jsonSchema"`
	HasExec              bool                `json:"hasExec"`
}

// Inspect reads the definition of a bundle by loading it in a runner process. What is wrong with the bundle is told in words.
func Inspect(
	ctx context.Context, inspector Inspector, integration, name, js string,
) (d function.Definition, problem string, err error) {
	about, err := json.Marshal(map[string]string{"functionName": name, "providerConfigKey": integration})
	if err != nil {
		return d, "", err
	}
	result, err := inspector.Run(ctx, runner.Request{
		Tenant: "compile", Kind: runner.KindInspect, Context: about,
		Bundle: runner.Bundle{
			Hash: function.Hash(js), Code: js, Name: function.ScriptName(name, integration), SDKVersion: function.SDKVersion,
		},
		Limits: runner.Limits{Memory: loadMemory, CPU: loadCPU, Wall: loadWall},
	}, noHost{})
	if err != nil {
		return d, "", err
	}
	if failure := result.Error; failure != nil {
		return d, loadFailure(failure), nil
	}
	var got inspection
	if err := json.Unmarshal(result.Output, &got); err != nil {
		return d, "", fmt.Errorf("read a definition: %w", err)
	}
	d = function.Definition{
		Description: got.Description, Version: got.Version, Scopes: got.Scopes, Endpoints: got.Endpoints,
		Models: got.Models, Input: got.Input, JSONSchema: got.JSONSchema, Frequency: got.Frequency, SyncType: got.SyncType,
		TrackDeletes: got.TrackDeletes, AutoStart: got.AutoStart, WebhookSubscriptions: got.WebhookSubscriptions, Event: got.Event,
	}
	switch got.Type {
	case "sync":
		d.Type = function.Sync
	case "action":
		d.Type = function.Action
	case "onEvent":
		d.Type = function.OnEvent
	default:
		return d, "the default export is none of createSync({…}), createAction({…}) and createOnEvent({…})", nil
	}
	if !got.HasExec {
		return d, "the definition has no exec function", nil
	}
	return d, "", nil
}

// noHost answers nothing: a definition is read without calling anybody.
type noHost struct{}

func (noHost) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("a module body can not call the platform")
}

func loadFailure(failure *runner.FunctionError) string {
	switch {
	case errors.Is(failure, runner.ErrTimedOut), errors.Is(failure, runner.ErrCPUExceeded):
		return "loading the module does not end: is there a loop outside of exec?"
	case errors.Is(failure, runner.ErrOutOfMemory):
		return "loading the module needs more memory than a function may have"
	}
	var payload struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(failure.Payload, &payload); err == nil && payload.Message != "" {
		return "loading the module fails: " + payload.Message
	}
	return "loading the module fails: " + failure.Type
}

// check finds what is wrong with a definition in its place.
func check(entry Entry, d function.Definition) string {
	if folders[d.Type] != entry.Folder {
		return fmt.Sprintf("a function made with %s belongs into the folder %s", creators[d.Type], folders[d.Type])
	}
	if d.Type == function.Sync {
		if _, err := function.ParseFrequency(d.Frequency); err != nil {
			return fmt.Sprintf("frequency %q: %s", d.Frequency, message(err))
		}
		if len(d.Models) == 0 {
			return "a sync needs at least one model"
		}
		for _, model := range d.Models {
			if !modelName.MatchString(model) {
				return fmt.Sprintf("%q is no name for a model: a capital first, then letters, digits and _", model)
			}
		}
		if d.SyncType == "incremental" && d.TrackDeletes {
			return "trackDeletes does not go with an incremental sync"
		}
	}
	if d.Type == function.OnEvent {
		switch d.Event {
		case "post-connection-creation", "pre-connection-deletion", "validate-connection":
		default:
			return fmt.Sprintf("%q is no event: post-connection-creation, pre-connection-deletion and validate-connection are", d.Event)
		}
	}
	return ""
}

// creators is how functions of a type are made.
var creators = map[function.Type]string{
	function.Sync: "createSync", function.Action: "createAction", function.OnEvent: "createOnEvent",
}

// message is the safe text of an error that clients may see.
func message(err error) string {
	if known, ok := errors.AsType[*errs.Error](err); ok {
		return known.Message
	}
	return err.Error()
}
