package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
)

// The rules of what is sent with a deployment.
var (
	shortText   = input.Text{Required: true, Max: 255}
	filledText  = input.Text{Required: true, Min: 1, Max: 255}
	anyText     = input.Text{Required: true}
	description = input.Text{Max: 2000}
	// sdkVersion is looked for anywhere in the text.
	sdkVersion = input.Text{Pattern: regexp.MustCompile(`[0-9]+.[0-9]+.[0-9]+-(zero|yaml)`)}
	methods    = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	events     = []string{"post-connection-creation", "pre-connection-deletion", "validate-connection"}
)

// Read reads the body of a deployment, or of its confirmation, which may not have nangoYamlBody.
func Read(body []byte, deploying bool) (function.Deployment, error) {
	b := input.Body(body)
	var d function.Deployment
	schema := readProjectSchema(b)
	b.Each("flowConfigs", true, 0, func(i int, item *input.Reader, _ string) {
		if item == nil {
			b.Issue("invalid_type", "Invalid input: expected object, received string", "flowConfigs", strconv.Itoa(i))
			return
		}
		d.Functions = append(d.Functions, readFlow(item))
	})
	hasOnEvents := b.Has("onEventScriptsByProvider")
	onEvents := readOnEvents(b, "onEventScriptsByProvider", "")
	older := readOnEvents(b, "postConnectionScriptsByProvider", events[0])
	if deploying && !hasOnEvents && b.Has("postConnectionScriptsByProvider") {
		hasOnEvents, onEvents = true, older
	}
	d.OnEvents = hasOnEvents
	flows := len(d.Functions)
	d.Functions = append(d.Functions, onEvents...)
	reconcile := b.RequiredBool("reconcile")
	b.RequiredBool("debug")
	d.SDKVersion = b.String("sdkVersion", sdkVersion)
	d.Source = b.OneOf("source", function.Standalone, function.FromRepo)
	single := b.Bool("singleDeployMode", false)
	d.Mode = function.Mode(b.OneOf("deployMode", string(function.All), string(function.Single), string(function.OneIntegration)))
	switch {
	case d.Mode == "" && single:
		d.Mode = function.Single
	case d.Mode == "":
		d.Mode = function.All
	}
	if deploying {
		b.String("nangoYamlBody", anyText)
		d.KeepMissing = !reconcile
	}
	reportTwice(b, d.Functions, flows)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return function.Deployment{}, err
	}
	if schema != nil {
		if err := schema.fill(d.Functions[:flows]); err != nil {
			return function.Deployment{}, err
		}
	}
	return d, nil
}

// reportTwice finds functions that are there twice; only one of them could be stored.
func reportTwice(b *input.Reader, all []function.Compiled, flows int) {
	type key struct {
		integration, name string
		kind              function.Type
	}
	seen := map[key]bool{}
	for i, c := range all {
		k := key{c.Integration, c.Name, c.Type}
		if seen[k] && c.Name != "" {
			path := []string{"flowConfigs", strconv.Itoa(i), "syncName"}
			if i >= flows {
				path = []string{"onEventScriptsByProvider"}
			}
			b.Issue("custom", fmt.Sprintf("The %s %s of %s is there twice", c.Type, c.Name, c.Integration), path...)
		}
		seen[k] = true
	}
}

// readTexts reads a list of strings and nothing that only resembles one; nil when it is absent.
func readTexts(r *input.Reader, name string, rule input.Text) []string {
	if !rule.Required && !r.Has(name) {
		return nil
	}
	all := []string{}
	r.Each(name, rule.Required, 0, func(i int, item *input.Reader, text string) {
		at := strconv.Itoa(i)
		switch n := len([]rune(text)); {
		case item != nil:
			r.Issue("invalid_type", "Invalid input: expected string, received object", name, at)
		case n < rule.Min:
			r.Issue("too_small", fmt.Sprintf("Too small: expected string to have >=%d characters", rule.Min), name, at)
		case n > rule.Max:
			r.Issue("too_big", fmt.Sprintf("Too big: expected string to have <=%d characters", rule.Max), name, at)
		default:
			all = append(all, text)
		}
	})
	return all
}

func readFlow(f *input.Reader) function.Compiled {
	c := function.Compiled{Name: f.String("syncName", input.Name), Integration: f.String("providerConfigKey", input.IntegrationKey)}
	c.Type = function.Type(f.RequiredOneOf("type", string(function.Sync), string(function.Action)))
	c.Models = readTexts(f, "models", filledText)
	c.Frequency = readFrequency(f)
	c.AutoStart = f.Bool("auto_start", false)
	c.TrackDeletes = f.Bool("track_deletes", false)
	c.SyncType = f.OneOf("sync_type", "incremental", "full")
	if c.TrackDeletes && c.SyncType == "incremental" {
		f.Issue("custom", "track_deletes does not go with an incremental sync", "track_deletes")
	}
	if c.Type == function.Sync && c.SyncType == "" {
		c.SyncType = "full"
	}
	f.JSONObject("attributes", false)
	if m := f.Object("metadata", false); m != nil {
		c.Scopes = readTexts(m, "scopes", input.Text{Max: 255})
		c.Description = m.String("description", description)
		m.Strict()
	}
	var name string
	if err := json.Unmarshal(f.JSON("input"), &name); err == nil { // anything may be sent, only a name means something
		c.Input = name
		if len([]rune(name)) > shortText.Max {
			f.Issue("too_big", "Too big: expected string to have <=255 characters", "input")
		}
	}
	c.Endpoints = readEndpoints(f)
	c.Version = f.String("version", input.Text{})
	c.WebhookSubscriptions = readTexts(f, "webhookSubscriptions", input.Text{Max: 255})
	for _, feature := range readTexts(f, "features", input.Text{Max: 255}) {
		if feature != "checkpoints" {
			f.Issue("invalid_value", `Invalid input: expected "checkpoints"`, "features")
			continue
		}
		c.Features = append(c.Features, feature)
	}
	c.JS, c.TS = readFile(f)
	f.JSON("model_schema") // of older clients; nothing reads it
	c.JSONSchema = readModelSchema(f, c)
	f.Strict()
	return c
}

// readFrequency reads how often a sync runs: empty for never by itself. What is stored here can be scheduled.
func readFrequency(f *input.Reader) string {
	runs := f.String("runs", input.Text{Required: true, Nullable: true, Max: 255})
	if runs == "" {
		return ""
	}
	_, err := function.ParseFrequency(runs)
	if known, ok := errors.AsType[*errs.Error](err); ok {
		f.Issue("invalid_format", known.Message, "runs")
	}
	return runs
}

func readFile(r *input.Reader) (js, ts string) {
	file := r.Object("fileBody", true)
	if file == nil {
		return "", ""
	}
	js, ts = file.String("js", anyText), file.String("ts", anyText)
	file.Strict()
	return js, ts
}

func readEndpoints(f *input.Reader) []function.Endpoint {
	if !f.Has("endpoints") {
		return nil
	}
	all := []function.Endpoint{}
	f.Each("endpoints", false, 0, func(i int, item *input.Reader, _ string) {
		if item == nil {
			f.Issue("invalid_union", "Invalid input", "endpoints", strconv.Itoa(i))
			return
		}
		if names := item.Names(); len(names) == 1 && slices.Contains(methods, names[0]) { // as older clients send it
			all = append(all, function.Endpoint{Method: names[0], Path: item.String(names[0], anyText)})
			return
		}
		endpoint := function.Endpoint{Method: item.RequiredOneOf("method", methods...), Path: item.String("path", anyText)}
		endpoint.Group = item.String("group", input.Text{Min: 1, Max: 64})
		all = append(all, endpoint)
		item.Strict()
	})
	return all
}

// readModelSchema reads the schema of a function, which must define all its models.
func readModelSchema(f *input.Reader, c function.Compiled) json.RawMessage {
	s := f.Object("models_json_schema", false)
	if s == nil {
		return nil
	}
	definitions := s.JSONObject("definitions", true)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(definitions, &all); err != nil { // what it is instead has been reported
		return nil
	}
	for _, name := range usedModels(c) {
		if all[name] == nil {
			f.Issue("custom", fmt.Sprintf("The schema has no definition of %s", name), "models_json_schema")
		}
	}
	return wrapDefinitions(all)
}

// usedModels are the models that a schema has to define.
func usedModels(c function.Compiled) []string {
	if c.Input == "" {
		return c.Models
	}
	return append(slices.Clone(c.Models), c.Input)
}

func wrapDefinitions(definitions map[string]json.RawMessage) json.RawMessage {
	schema, err := json.Marshal(map[string]any{"definitions": definitions})
	if err != nil { // it was read from JSON
		panic(err)
	}
	return schema
}

// readOnEvents reads the on-event functions of a body; event is for lists whose members do not say it.
func readOnEvents(b *input.Reader, name, event string) []function.Compiled {
	var all []function.Compiled
	b.Each(name, false, 0, func(i int, item *input.Reader, _ string) {
		if item == nil {
			b.Issue("invalid_type", "Invalid input: expected object, received string", name, strconv.Itoa(i))
			return
		}
		integration := item.String("providerConfigKey", input.IntegrationKey)
		item.Each("scripts", true, 0, func(n int, script *input.Reader, _ string) {
			if script == nil {
				item.Issue("invalid_type", "Invalid input: expected object, received string", "scripts", strconv.Itoa(n))
				return
			}
			c := function.Compiled{Integration: integration, Name: script.String("name", filledText)}
			c.Type, c.Event = function.OnEvent, event
			if event == "" {
				c.Event = script.RequiredOneOf("event", events...)
			}
			c.JS, c.TS = readFile(script)
			script.Strict()
			all = append(all, c)
		})
		item.Strict()
	})
	return all
}

// projectSchema is the one schema of a whole project, which older clients send.
type projectSchema map[string]json.RawMessage

func readProjectSchema(b *input.Reader) projectSchema {
	s := b.Object("jsonSchema", false)
	if s == nil {
		return nil
	}
	s.String("$schema", anyText)
	s.String("$comment", input.Text{})
	raw := s.JSONObject("definitions", true)
	s.Strict()
	all := projectSchema{}
	if err := json.Unmarshal(raw, &all); err != nil { // what it is instead has been reported
		return projectSchema{}
	}
	return all
}

// fill gives every function without a schema its part of this one.
func (s projectSchema) fill(all []function.Compiled) error {
	for i := range all {
		if all[i].JSONSchema != nil {
			continue
		}
		picked, missing := s.pick(usedModels(all[i]))
		if missing != "" {
			refusal := errs.Newf(http.StatusBadRequest, "deploy_missing_json_schema_model", "The schema has no definition of %s", missing)
			return refusal.AsLegacy().WithPayload(map[string]string{
				"modelName": missing, "syncName": all[i].Name, "providerConfigKey": all[i].Integration,
			})
		}
		all[i].JSONSchema = wrapDefinitions(picked)
	}
	return nil
}

// schemaReference is a reference from one definition to another.
var schemaReference = regexp.MustCompile(`"#/definitions/([^"/]+)`)

// pick gives definitions with what they refer to, or the name of one that is missing.
func (s projectSchema) pick(models []string) (picked map[string]json.RawMessage, missing string) {
	picked = map[string]json.RawMessage{}
	for next := slices.Clone(models); len(next) > 0; next = next[1:] {
		name := next[0]
		definition, ok := s[name]
		if !ok {
			return nil, name
		}
		if picked[name] != nil {
			continue
		}
		picked[name] = definition
		for _, reference := range schemaReference.FindAllSubmatch(definition, -1) {
			next = append(next, string(reference[1]))
		}
	}
	return picked, ""
}
