package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

func TestADeploymentIsConfirmedAndThenMade(t *testing.T) {
	t.Parallel()
	s := newFunctionServer(t)
	confirm := fullDeploy + `,"reconcile":false}`
	wantJSON(t, s.ask("POST", confirmation, deployScope, confirm), http.StatusOK, `{
		"newSyncs":[{"name":"issues","providerConfigKey":"github","connections":0,"auto_start":true}],"updatedSyncs":[],"deletedSyncs":[],
		"newActions":[{"name":"create-issue","providerConfigKey":"github"},{"name":"issues","providerConfigKey":"slack"}],"updatedActions":[],"deletedActions":[],
		"newOnEventScripts":[{"providerConfigKey":"github","name":"issues","event":"pre-connection-deletion"}],"updatedOnEventScripts":[],
		"deletedOnEventScripts":[],"deletedModels":[]}`)
	if w := s.ask("GET", "/scripts/config", "environment:integrations:list_functions", ""); w.Body.String() != "[]" {
		t.Errorf("a confirmation stored %s", w.Body)
	}
	wantJSON(t, s.ask("POST", "/sync/deploy", deployScope, fullDeploy+`,"reconcile":true,"nangoYamlBody":"","source":"repo"}`), http.StatusOK, `[
		{"name":"issues","models":["Issue"],"version":"1.0.0","providerConfigKey":"github","type":"sync"},
		{"name":"create-issue","models":["ActionOutput_github_createissue"],"version":"1","providerConfigKey":"github","type":"action"},
		{"name":"issues","models":[],"version":"1","providerConfigKey":"slack","type":"action"},
		{"name":"issues","models":[],"version":"0.0.1","providerConfigKey":"github","type":"on-event"}]`)
	// The same again: all of it counts as updated.
	wantJSON(t, s.ask("POST", confirmation, deployScope, confirm), http.StatusOK, `{
		"updatedSyncs":[{"name":"issues","providerConfigKey":"github","connections":0,"auto_start":true}],"newSyncs":[],"deletedSyncs":[],
		"updatedActions":[{"name":"create-issue","providerConfigKey":"github"},{"name":"issues","providerConfigKey":"slack"}],"newActions":[],"deletedActions":[],
		"updatedOnEventScripts":[{"providerConfigKey":"github","name":"issues","event":"pre-connection-deletion"}],"newOnEventScripts":[],
		"deletedOnEventScripts":[],"deletedModels":[]}`)
	// Other things: what is no longer named goes, and an on-event function with another event is another function.
	other := `{"flowConfigs":[{"syncName":"new","providerConfigKey":"nowhere","type":"sync","models":[],"runs":"every day","fileBody":{"js":"j","ts":"t"}}],
		"onEventScriptsByProvider":[{"providerConfigKey":"github","scripts":[{"name":"issues","event":"validate-connection","fileBody":{"js":"js4","ts":"ts4"}}]}],
		"reconcile":false,"debug":true}`
	lists := `"newSyncs":[{"name":"new","providerConfigKey":"nowhere","connections":0,"auto_start":false}],"updatedSyncs":[],
		"deletedSyncs":[{"name":"issues","providerConfigKey":"github","connections":0,"auto_start":false}],
		"newActions":[],"updatedActions":[],"deletedActions":[{"name":"create-issue","providerConfigKey":"github"},{"name":"issues","providerConfigKey":"slack"}],
		"newOnEventScripts":[{"providerConfigKey":"github","name":"issues","event":"validate-connection"}],"updatedOnEventScripts":[],
		"deletedOnEventScripts":[{"providerConfigKey":"github","name":"issues","event":"pre-connection-deletion"}],"deletedModels":[]`
	wantJSON(t, s.ask("POST", confirmation, deployScope, other), http.StatusOK, `{`+lists+`}`)
	wantJSON(t, s.ask("POST", confirmation, deployScope, other, "Patchbay-Plan: full"), http.StatusOK, `{`+lists+`,"plan":{"functions":[
		{"change":"new","type":"sync","integration":"nowhere","name":"new","version":"1","connections":0},
		{"change":"changed","type":"on-event","integration":"github","name":"issues","version":"0.0.1","previous_version":"0.0.1","connections":0,
		 "differences":["event: pre-connection-deletion → validate-connection"]},
		{"change":"deleted","type":"action","integration":"github","name":"create-issue","previous_version":"1","connections":0},
		{"change":"deleted","type":"sync","integration":"github","name":"issues","previous_version":"1.0.0","connections":0},
		{"change":"deleted","type":"action","integration":"slack","name":"issues","previous_version":"1","connections":0}],
		"deleted_models":[],"missing_integrations":["nowhere"],"destructive":false}}`)
	wantJSON(t, s.ask("POST", "/sync/deploy", deployScope, strings.TrimSuffix(other, "}")+`,"nangoYamlBody":""}`), http.StatusBadRequest,
		`{"error":{"code":"unknown_provider_config","message":"There is no integration \"nowhere\" in this environment: create it first",
		"payload":{"providerConfigKey":"nowhere"}}}`)
	wantJSON(t, s.ask("POST", "/sync/deploy", deployScope, `{"flowConfigs":[],"reconcile":true,"debug":false,"nangoYamlBody":""}`), http.StatusOK, `[]`)
}

// askedFunctions remembers what was to be deployed.
type askedFunctions struct {
	Functions

	asked  function.Deployment
	answer error
}

func (f *askedFunctions) Deploy(_ context.Context, _ tenant.Environment, d function.Deployment) (function.Plan, error) {
	f.asked = d
	return function.Plan{}, f.answer
}

func (f *askedFunctions) Plan(ctx context.Context, e tenant.Environment, d function.Deployment) (function.Plan, error) {
	return f.Deploy(ctx, e, d)
}

const minimalFlow = `{"syncName":"s","providerConfigKey":"github","type":"sync","models":["M"],"runs":"every hour","fileBody":{"js":"j","ts":"t"}}`

func TestWhatOlderClientsSendIsUnderstood(t *testing.T) {
	t.Parallel()
	flow := function.Compiled{Name: "s", Integration: "github", JS: "j", TS: "t", Definition: function.Definition{
		Type: function.Sync, Models: []string{"M"}, Frequency: "every hour", SyncType: "full",
	}}
	withSchema := flow
	withSchema.JSONSchema = json.RawMessage(`{"definitions":{"M":{"items":{"$ref":"#/definitions/N"}},"N":{"$ref":"#/definitions/M"}}}`)
	event := function.Compiled{
		Name: "e", Integration: "github", JS: "j", TS: "t", Definition: function.Definition{Type: function.OnEvent, Event: "post-connection-creation"},
	}
	const scripts = `[{"providerConfigKey":"github","scripts":[{"name":"e","fileBody":{"js":"j","ts":"t"}}]}]`
	const newScripts = `[{"providerConfigKey":"github","scripts":[{"name":"e","event":"post-connection-creation","fileBody":{"js":"j","ts":"t"}}]}]`
	for name, test := range map[string]struct {
		more string
		want function.Deployment
	}{
		"nothing":             {``, function.Deployment{Functions: []function.Compiled{flow}, Mode: function.All}},
		"single":              {`,"singleDeployMode":true`, function.Deployment{Functions: []function.Compiled{flow}, Mode: function.Single}},
		"the newer word wins": {`,"singleDeployMode":true,"deployMode":"integration"`, function.Deployment{Functions: []function.Compiled{flow}, Mode: function.OneIntegration}},
		"post-connection scripts": {`,"postConnectionScriptsByProvider":` + scripts,
			function.Deployment{Functions: []function.Compiled{flow, event}, Mode: function.All, OnEvents: true}},
		"both kinds of scripts": {`,"postConnectionScriptsByProvider":` + strings.Replace(scripts, `"e"`, `"x"`, 1) + `,"onEventScriptsByProvider":` + newScripts,
			function.Deployment{Functions: []function.Compiled{flow, event}, Mode: function.All, OnEvents: true}},
		"no scripts": {`,"onEventScriptsByProvider":[]`, function.Deployment{Functions: []function.Compiled{flow}, Mode: function.All, OnEvents: true}},
		"one schema": {`,"jsonSchema":{"$schema":"x","$comment":"y","definitions":{"M":{"items":{"$ref":"#/definitions/N"}},"N":{"$ref":"#/definitions/M"},"O":{}}}`,
			function.Deployment{Functions: []function.Compiled{withSchema}, Mode: function.All}},
	} {
		f := &askedFunctions{}
		s := &functionServer{Server: New(Options{Tenants: scopedTenants{environment: tenant.Environment{ID: 3}}, Functions: f})}
		w := s.ask("POST", "/sync/deploy", deployScope, `{"flowConfigs":[`+minimalFlow+`],"reconcile":true,"debug":false,"nangoYamlBody":"x"`+test.more+`}`)
		if diff := cmp.Diff(test.want, f.asked); w.Code != http.StatusOK || diff != "" {
			t.Errorf("%s: %d %s %s", name, w.Code, w.Body, diff)
		}
	}
	f := &askedFunctions{}
	s := &functionServer{Server: New(Options{Tenants: scopedTenants{environment: tenant.Environment{ID: 3}}, Functions: f})}
	s.ask("POST", "/sync/deploy", deployScope, `{"flowConfigs":[`+minimalFlow+`],"reconcile":false,"debug":false,"nangoYamlBody":""}`)
	if !f.asked.KeepMissing {
		t.Error("reconcile false deletes")
	}
	// A confirmation does not look at reconcile, nor at scripts of the older kind.
	s.ask("POST", confirmation, deployScope, `{"flowConfigs":[`+minimalFlow+`],"reconcile":false,"debug":false,"postConnectionScriptsByProvider":`+scripts+`}`)
	if f.asked.KeepMissing || f.asked.OnEvents {
		t.Errorf("%+v", f.asked)
	}
	for _, agent := range []string{"nango-cli/0.39.25 (linux)", "nango-cli/0.71.10 (linux)", "nango-cli/1.0.0", "curl/8", ""} {
		if w := s.ask("POST", "/sync/deploy", deployScope, `{`, "User-Agent: "+agent); codeOf(w) != "400 invalid_json" {
			t.Errorf("%s: %s", agent, codeOf(w))
		}
	}
	f.answer = function.ErrConcurrent
	wantJSON(t, s.ask("POST", "/sync/deploy", deployScope, `{"flowConfigs":[`+minimalFlow+`],"reconcile":true,"debug":false,"nangoYamlBody":""}`),
		http.StatusConflict, `{"error":{"code":"concurrent_deployment","message":"Another deployment of this environment is running: try again when it has ended","payload":{}}}`)
	wantJSON(t, s.ask("POST", "/sync/deploy", deployScope,
		`{"flowConfigs":[`+minimalFlow+`],"reconcile":true,"debug":false,"nangoYamlBody":"","jsonSchema":{"$schema":"x","definitions":{"N":{}}}}`),
		http.StatusBadRequest, `{"error":{"code":"deploy_missing_json_schema_model","message":"The schema has no definition of M",
		"payload":{"modelName":"M","syncName":"s","providerConfigKey":"github"}}}`)
}

func TestEveryFaultOfADeploymentIsReportedWhereItIs(t *testing.T) {
	t.Parallel()
	f := &askedFunctions{}
	s := &functionServer{Server: New(Options{Tenants: scopedTenants{environment: tenant.Environment{ID: 3}}, Functions: f})}
	frame := func(flows string) string {
		return `{"flowConfigs":` + flows + `,"reconcile":true,"debug":false,"nangoYamlBody":""}`
	}
	flow := func(old, new string) string {
		if !strings.Contains(minimalFlow, old) {
			t.Fatalf("%s is not in the flow", old)
		}
		return frame(`[` + strings.Replace(minimalFlow, old, new, 1) + `]`)
	}
	more := func(members string) string {
		return frame(`[` + strings.TrimSuffix(minimalFlow, "}") + `,` + members + `}]`)
	}
	long := strings.Repeat("x", 256)
	event := func(script string) string {
		return `{"flowConfigs":[],"onEventScriptsByProvider":[{"providerConfigKey":"github","scripts":[` + script + `]}],"reconcile":true,"debug":false,"nangoYamlBody":""}`
	}
	for name, test := range map[string]struct {
		body string
		want []string // "code path"
	}{
		"empty":                  {`{}`, []string{"invalid_type flowConfigs", "invalid_type reconcile", "invalid_type debug", "invalid_type nangoYamlBody"}},
		"no body":                {``, []string{"invalid_type "}},
		"wrong types":            {`{"flowConfigs":{},"reconcile":"yes","debug":1,"nangoYamlBody":null}`, []string{"invalid_type flowConfigs", "invalid_type reconcile", "invalid_type debug", "invalid_type nangoYamlBody"}},
		"unknown keys":           {`{"flowConfigs":[],"reconcile":true,"debug":true,"nangoYamlBody":"","a":1,"b":2}`, []string{"unrecognized_keys "}},
		"words":                  {`{"flowConfigs":[],"reconcile":true,"debug":true,"nangoYamlBody":"","deployMode":"some","source":"catalog","sdkVersion":"1.2-zero"}`, []string{"invalid_format sdkVersion", "invalid_value source", "invalid_value deployMode"}},
		"flows of other types":   {frame(`["x",1]`), []string{"invalid_type flowConfigs.0", "invalid_union flowConfigs.1"}},
		"an empty flow":          {frame(`[{}]`), []string{"invalid_type flowConfigs.0.syncName", "invalid_type flowConfigs.0.providerConfigKey", "invalid_value flowConfigs.0.type", "invalid_type flowConfigs.0.models", "invalid_type flowConfigs.0.runs", "invalid_type flowConfigs.0.fileBody"}},
		"an unknown type":        {flow(`"sync"`, `"on-event"`), []string{"invalid_value flowConfigs.0.type"}},
		"a name":                 {flow(`"s"`, `"a b"`), []string{"invalid_format flowConfigs.0.syncName"}},
		"a long name":            {flow(`"s"`, `"`+long+`"`), []string{"too_big flowConfigs.0.syncName"}},
		"an integration":         {flow(`"github"`, `"a/b"`), []string{"invalid_format flowConfigs.0.providerConfigKey"}},
		"models of other types":  {flow(`["M"]`, `"M"`), []string{"invalid_type flowConfigs.0.models"}},
		"models":                 {flow(`["M"]`, `["","`+long+`",{},1]`), []string{"too_small flowConfigs.0.models.0", "too_big flowConfigs.0.models.1", "invalid_type flowConfigs.0.models.2", "invalid_union flowConfigs.0.models.3"}},
		"runs":                   {flow(`"every hour"`, `"now and then"`), []string{"invalid_format flowConfigs.0.runs"}},
		"runs too often":         {flow(`"every hour"`, `"every 10 seconds"`), []string{"invalid_format flowConfigs.0.runs"}},
		"runs that never parse":  {flow(`"every hour"`, `"every min"`), []string{"invalid_format flowConfigs.0.runs"}},
		"runs of another type":   {flow(`"every hour"`, `5`), []string{"invalid_type flowConfigs.0.runs"}},
		"a file":                 {flow(`"js":"j","ts":"t"`, `"js":1,"x":""`), []string{"invalid_type flowConfigs.0.fileBody.js", "invalid_type flowConfigs.0.fileBody.ts", "unrecognized_keys flowConfigs.0.fileBody"}},
		"unknown keys of a flow": {more(`"x":1`), []string{"unrecognized_keys flowConfigs.0"}},
		"incremental deletes":    {more(`"track_deletes":true,"sync_type":"incremental"`), []string{"custom flowConfigs.0.track_deletes"}},
		"flags":                  {more(`"auto_start":"yes","track_deletes":null,"sync_type":"half","attributes":[],"version":1`), []string{"invalid_type flowConfigs.0.auto_start", "invalid_type flowConfigs.0.track_deletes", "invalid_value flowConfigs.0.sync_type", "invalid_type flowConfigs.0.attributes", "invalid_type flowConfigs.0.version"}},
		"metadata":               {more(`"metadata":{"scopes":["` + long + `"],"description":"` + strings.Repeat("x", 2001) + `","x":1}`), []string{"too_big flowConfigs.0.metadata.scopes.0", "too_big flowConfigs.0.metadata.description", "unrecognized_keys flowConfigs.0.metadata"}},
		"input":                  {more(`"input":"` + long + `"`), []string{"too_big flowConfigs.0.input"}},
		"any input":              {more(`"input":{"a":[1]},"model_schema":7`), nil},
		"endpoints":              {more(`"endpoints":["/a",{"method":"HEAD","path":"/"},{"method":"GET"},{"method":"GET","path":"","group":""},{"GET":1},{"method":"GET","path":"","x":1}]`), []string{"invalid_union flowConfigs.0.endpoints.0", "invalid_value flowConfigs.0.endpoints.1.method", "invalid_type flowConfigs.0.endpoints.2.path", "too_small flowConfigs.0.endpoints.3.group", "invalid_type flowConfigs.0.endpoints.4.GET", "unrecognized_keys flowConfigs.0.endpoints.5"}},
		"subscriptions":          {more(`"webhookSubscriptions":["` + long + `"],"features":["webhooks"]`), []string{"too_big flowConfigs.0.webhookSubscriptions.0", "invalid_value flowConfigs.0.features"}},
		"a schema without":       {more(`"input":"I","models_json_schema":{"definitions":{"X":{}}}`), []string{"custom flowConfigs.0.models_json_schema", "custom flowConfigs.0.models_json_schema"}},
		"no definitions":         {more(`"models_json_schema":{}`), []string{"invalid_type flowConfigs.0.models_json_schema.definitions"}},
		"twice":                  {frame(`[` + minimalFlow + `,` + minimalFlow + `]`), []string{"custom flowConfigs.1.syncName"}},
		"an event":               {event(`{"name":"","event":"other","fileBody":{"js":"","ts":""}}`), []string{"too_small onEventScriptsByProvider.0.scripts.0.name", "invalid_value onEventScriptsByProvider.0.scripts.0.event"}},
		"an event without":       {event(`{}, "x"`), []string{"invalid_type onEventScriptsByProvider.0.scripts.0.name", "invalid_value onEventScriptsByProvider.0.scripts.0.event", "invalid_type onEventScriptsByProvider.0.scripts.0.fileBody", "invalid_type onEventScriptsByProvider.0.scripts.1"}},
		"events twice":           {event(`{"name":"e","event":"validate-connection","fileBody":{"js":"","ts":""}},{"name":"e","event":"validate-connection","fileBody":{"js":"","ts":""}}`), []string{"custom onEventScriptsByProvider"}},
		"a project's schema":     {`{"flowConfigs":[],"jsonSchema":{"x":1},"reconcile":true,"debug":true,"nangoYamlBody":""}`, []string{"invalid_type jsonSchema.$schema", "invalid_type jsonSchema.definitions", "unrecognized_keys jsonSchema"}},
	} {
		w := s.ask("POST", "/sync/deploy", deployScope, test.body)
		var body struct {
			Error struct {
				Code   string       `json:"code"`
				Errors []errs.Issue `json:"errors"`
			} `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil && test.want != nil {
			t.Fatalf("%s: %s", name, w.Body)
		}
		var got []string
		for _, issue := range body.Error.Errors {
			got = append(got, issue.Code+" "+strings.Join(issue.Path, "."))
		}
		if diff := cmp.Diff(test.want, got); diff != "" || test.want != nil && codeOf(w) != "400 invalid_body" {
			t.Errorf("%s: %s %s", name, codeOf(w), diff)
		}
	}
	for name, test := range map[string][2]string{ // request, then the answer's code
		"a confirmation with the other's key": {confirmation + " " + frame(`[]`), "400 invalid_body"},
		"a query":                             {"/sync/deploy?a=1 " + frame(`[]`), "400 invalid_query_params"},
		"broken JSON":                         {"/sync/deploy {", "400 invalid_json"},
	} {
		target, body, _ := strings.Cut(test[0], " ")
		if got := codeOf(s.ask("POST", target, deployScope, body)); got != test[1] {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := codeOf(s.ask("POST", "/sync/deploy", "environment:proxy", frame(`[]`))); got != "403 forbidden" {
		t.Error(got)
	}
	if got := codeOf(s.ask("POST", confirmation, "unknown", frame(`[]`))); got != "401 unknown_user_account" {
		t.Error(got)
	}
	if got := codeOf(s.ask("POST", confirmation, deployScope, `{`, "User-Agent: nango-cli/0.39.24 (linux/x; node.js/22)")); got != "400 invalid_cli_version" {
		t.Error(got)
	}
	if f.asked.Mode != function.All || len(f.asked.Functions) != 1 { // the one body without a fault
		t.Errorf("a refused deployment was made: %+v", f.asked)
	}
}
