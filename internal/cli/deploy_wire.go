package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/deployment"
	"github.com/patchbay-dev/patchbay/internal/function"
)

// deployBody is a deployment as the server takes it. A confirmation has neither NangoYAML nor Source.
type deployBody struct {
	Flows      []deployFlow    `json:"flowConfigs"`
	OnEvents   *[]deployEvents `json:"onEventScriptsByProvider,omitempty"` // nil leaves those on the server alone
	Mode       function.Mode   `json:"deployMode"`
	Reconcile  bool            `json:"reconcile"`
	Debug      bool            `json:"debug"`
	SDKVersion string          `json:"sdkVersion"`
	NangoYAML  *string         `json:"nangoYamlBody,omitempty"`
	Source     string          `json:"source,omitempty"`
}

type deployFlow struct {
	Type         function.Type       `json:"type"`
	Name         string              `json:"syncName"`
	Integration  string              `json:"providerConfigKey"`
	Models       []string            `json:"models"`
	Input        string              `json:"input,omitempty"`
	Runs         *string             `json:"runs"`
	Version      string              `json:"version"`
	TrackDeletes bool                `json:"track_deletes"`
	AutoStart    *bool               `json:"auto_start,omitempty"`
	SyncType     string              `json:"sync_type,omitempty"`
	Webhooks     []string            `json:"webhookSubscriptions,omitempty"`
	Metadata     deployMetadata      `json:"metadata"`
	Endpoints    []function.Endpoint `json:"endpoints"`
	Schema       json.RawMessage     `json:"models_json_schema,omitempty"`
	Features     []string            `json:"features"`
	File         deployFile          `json:"fileBody"`
}

type deployMetadata struct {
	Description string   `json:"description,omitempty"`
	Scopes      []string `json:"scopes"`
}

type deployFile struct {
	JS string `json:"js"`
	TS string `json:"ts"`
}

type deployEvents struct {
	Integration string        `json:"providerConfigKey"`
	Scripts     []deployEvent `json:"scripts"`
}

type deployEvent struct {
	Name  string     `json:"name"`
	Event string     `json:"event"`
	File  deployFile `json:"fileBody"`
}

// body picks what is to be deployed.
func (o *deployOptions) body(all []function.Compiled) (*deployBody, error) {
	body := &deployBody{Flows: []deployFlow{}, Mode: function.All, SDKVersion: function.SDKVersion}
	switch {
	case o.sync != "" || o.action != "":
		body.Mode = function.Single
	case o.integration != "":
		body.Mode = function.OneIntegration
	}
	if body.Mode != function.Single {
		body.OnEvents = &[]deployEvents{}
	}
	for _, c := range all {
		switch {
		case o.integration != "" && c.Integration != o.integration,
			o.sync != "" && (c.Type != function.Sync || c.Name != o.sync),
			o.action != "" && (c.Type != function.Action || c.Name != o.action):
		case c.Type == function.OnEvent:
			*body.OnEvents = withEvent(*body.OnEvents, c)
		default:
			body.Flows = append(body.Flows, o.flow(c))
		}
	}
	if len(body.Flows) == 0 && (body.OnEvents == nil || len(*body.OnEvents) == 0) {
		return nil, usageError{fmt.Errorf("the project has no %s", o.wanted())}
	}
	return body, nil
}

// wanted says in words what was picked.
func (o *deployOptions) wanted() string {
	text := "function"
	switch {
	case o.sync != "":
		text = "sync " + o.sync
	case o.action != "":
		text = "action " + o.action
	}
	if o.integration != "" {
		text += " of the integration " + o.integration
	}
	return text
}

func (o *deployOptions) flow(c function.Compiled) deployFlow {
	f := deployFlow{
		Type: c.Type, Name: c.Name, Integration: c.Integration, Models: append([]string{}, c.Models...), Input: c.Input, Version: c.Version,
		TrackDeletes: c.TrackDeletes, SyncType: c.SyncType, Webhooks: c.WebhookSubscriptions,
		Metadata:  deployMetadata{c.Description, append([]string{}, c.Scopes...)},
		Endpoints: append([]function.Endpoint{}, c.Endpoints...), Schema: c.JSONSchema, Features: append([]string{}, c.Features...),
		File: deployFile{c.JS, c.TS},
	}
	if o.version != "" {
		f.Version = o.version
	}
	if c.Type == function.Sync {
		f.Runs, f.AutoStart = &c.Frequency, &c.AutoStart
	}
	return f
}

func withEvent(all []deployEvents, c function.Compiled) []deployEvents {
	at := slices.IndexFunc(all, func(e deployEvents) bool { return e.Integration == c.Integration })
	if at < 0 {
		at = len(all)
		all = append(all, deployEvents{Integration: c.Integration})
	}
	all[at].Scripts = append(all[at].Scripts, deployEvent{c.Name, c.Event, deployFile{c.JS, c.TS}})
	return all
}

// confirmation asks the server for the plan.
func confirmation(ctx context.Context, client *serverClient, body *deployBody) (*deployment.Plan, error) {
	var answer struct {
		Plan *deployment.Plan `json:"plan"`
	}
	err := client.call(ctx, serverRequest{
		Method: http.MethodPost, Path: "/sync/deploy/confirmation", Header: map[string]string{"Patchbay-Plan": "full"}, Body: body,
	}, &answer)
	if err == nil && answer.Plan == nil {
		err = fmt.Errorf("%s answers without a plan: is it a Patchbay server of this release?", client.base)
	}
	return answer.Plan, err
}

// printPlan shows one line per function, what changes first.
func printPlan(out io.Writer, p *deployment.Plan) {
	signs := map[string]string{"new": "+", "changed": "~", "deleted": "-", "unchanged": "="}
	for _, f := range p.Functions {
		version := f.Version
		switch {
		case f.Change == "deleted":
			version = f.PreviousVersion
		case f.PreviousVersion != "" && f.PreviousVersion != f.Version:
			version = f.PreviousVersion + " → " + f.Version
		}
		line := fmt.Sprintf("%s %s %s/%s  %s", signs[f.Change], f.Type, f.Integration, f.Name, version)
		if len(f.Differences) > 0 {
			line += "  (" + strings.Join(f.Differences, "; ") + ")"
		}
		if f.Change == "deleted" && f.Type == function.Sync && f.Connections > 0 {
			line += fmt.Sprintf("  deletes the records of %d connections", f.Connections)
		}
		_, _ = fmt.Fprintln(out, line)
	}
	for _, model := range p.DeletedModels {
		_, _ = fmt.Fprintf(out, "- model %s  its records are no longer updated\n", model)
	}
}
