package sdk_test

import (
	"testing"
)

const zero = "0.71.10-zero"

func TestWhatEachKindExecutes(t *testing.T) {
	t.Parallel()
	const seen = "async (nango, ...rest) => { await nango.log('ran', {args: rest.map((v) => v === undefined ? 'undefined' : v)}); return 'out'; }"
	tests := []struct {
		name, kind, sdk, bundle string
		input                   any
		args, output            string
	}{
		{"sync", "sync", zero, "exports.default = {type: 'sync', exec: " + seen + "}", nil, `[]`, `true`},
		{"webhook", "webhook", zero, "exports.default = {type: 'sync', onWebhook: " + seen + "}", map[string]any{"a": 1}, `[{"a":1}]`, `true`},
		{"webhook without payload", "webhook", zero, "exports.default = {type: 'sync', onWebhook: " + seen + "}", "", `[{}]`, `true`},
		{"action", "action", zero, "exports.default = {type: 'action', exec: " + seen + "}", []int{1}, `[[1]]`, `"out"`},
		{"action without input", "action", zero, "exports.default = {type: 'action', exec: " + seen + "}", nil, `[{}]`, `"out"`},
		{"action with a falsy input", "action", zero, "exports.default = {type: 'action', exec: " + seen + "}", 0, `[{}]`, `"out"`},
		{"on-event", "on-event", zero, "exports.default = {type: 'onEvent', exec: " + seen + "}", nil, `[]`, `true`},
		{"accessor export", "action", zero, "Object.defineProperty(exports, 'default', {get: () => ({type: 'action', exec: " + seen + "})})", 1, `[1]`, `"out"`},
		{"legacy sync", "sync", "", "exports.default = " + seen, nil, `[]`, `true`},
		{"legacy webhook", "webhook", "", "exports.default = async () => {}; exports.onWebhookPayloadReceived = " + seen, map[string]any{"a": 1}, `[{"a":1}]`, `true`},
		{"legacy action", "action", "", "exports.default = " + seen, map[string]any{"a": 1}, `[{"a":1}]`, `"out"`},
		{"legacy action with an empty object", "action", "", "exports.default = " + seen, map[string]any{}, `["undefined"]`, `"out"`},
		{"legacy action with an empty list", "action", "", "exports.default = " + seen, []int{}, `["undefined"]`, `"out"`},
		{"legacy on-event", "on-event", "", "exports.default = " + seen, nil, `[]`, `true`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := run(t, nil, request{kind: tt.kind, input: tt.input, context: baseContext(nil), sdkVersion: tt.sdk}, tt.bundle+" //# end")
			wantOutput(t, res, tt.output)
			wantEqual(t, res.of("log")[0]["meta"].(map[string]any)["args"], tt.args)
		})
	}
}

func TestBundlesThatCanNotBeRun(t *testing.T) {
	t.Parallel()
	const exec = "exec: async () => {}"
	tests := []struct{ name, kind, sdk, bundle, want string }{
		{"no default export", "sync", zero, "exports.run = () => {}", "Invalid script exports"},
		{"a default of no use", "sync", zero, "exports.default = 5", "Invalid script exports"},
		{"an object without a type", "sync", zero, "exports.default = {" + exec + "}", "Invalid script exports"},
		{"an object deployed as legacy", "sync", "0.50.0-yaml", "exports.default = {type: 'sync', " + exec + "}", "Invalid script configuration"},
		{"an object deployed without a version", "sync", "", "exports.default = {type: 'sync', " + exec + "}", "Invalid script configuration"},
		{"the wrong kind", "action", zero, "exports.default = {type: 'sync', " + exec + "}", `Invalid script type: a action run needs type "action", the script has "sync"`},
		{"no webhook handler", "webhook", zero, "exports.default = {type: 'sync', " + exec + "}", "Missing onWebhook function"},
		{"no legacy webhook handler", "webhook", "", "exports.default = async () => {}", "Missing onWebhookPayloadReceived function"},
		{"a module that throws", "sync", zero, "throw new Error('at load')", "at load"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := run(t, nil, request{kind: tt.kind, context: baseContext(nil), sdkVersion: tt.sdk}, tt.bundle)
			wantFailure(t, res, "script_internal_error", mustJSON(t, map[string]string{"name": "Error", "message": tt.want}))
			if len(res.Calls) > 0 {
				t.Errorf("ops were called: %v", res.Calls)
			}
		})
	}
}

func TestInspectDescribesADefinition(t *testing.T) {
	t.Parallel()
	ctx := map[string]any{"providerConfigKey": "git-hub.dev", "functionName": "list-issues"}
	tests := []struct{ name, bundle, want string }{
		{
			"a full sync",
			`const z = require('zod');
			const Tree = z.object({id: z.string(), get children() { return z.array(Tree); }});
			exports.default = {type: 'sync', description: 'd', version: '1.2.0', frequency: 'every hour', autoStart: true, trackDeletes: true, syncType: 'incremental',
				endpoints: [{method: 'GET', path: '/issues', group: 'g'}], scopes: ['repo'], webhookSubscriptions: ['*'],
				models: {Issue: z.object({id: z.string(), at: z.date(), tag: z.string().optional()}), Tree},
				metadata: z.object({team: z.string()}), checkpoint: z.object({page: z.number()}), exec: async () => {}, onWebhook: async () => {}};`,
			`{"type":"sync","description":"d","version":"1.2.0","frequency":"every hour","autoStart":true,"trackDeletes":true,"syncType":"incremental",
				"endpoints":[{"method":"GET","path":"/issues","group":"g"}],"scopes":["repo"],"webhookSubscriptions":["*"],
				"models":["Issue","Tree"],"input":"SyncMetadata_git_hub_dev_listissues",
				"hasExec":true,"hasOnWebhook":true,"hasMetadata":true,"hasCheckpoint":true,
				"jsonSchema":{"definitions":{
					"Issue":{"type":"object","properties":{"id":{"type":"string"},"at":{"type":"string","format":"date-time"},"tag":{"type":"string"}},"required":["id","at"],"additionalProperties":false},
					"Tree":{"type":"object","properties":{"id":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/definitions/Tree"}}},"required":["id","children"],"additionalProperties":false},
					"SyncMetadata_git_hub_dev_listissues":{"type":"object","properties":{"team":{"type":"string"}},"required":["team"],"additionalProperties":false}}}}`,
		},
		{
			"the least of a sync",
			`const z = require('zod'); exports.default = {type: 'sync', description: 'd', frequency: 'every day', autoStart: 'yes', models: {}, exec: async () => {}};`,
			`{"type":"sync","description":"d","version":"","frequency":"every day","autoStart":true,"trackDeletes":false,"syncType":"full","endpoints":[],"scopes":[],
				"webhookSubscriptions":[],"models":[],"hasExec":true,"hasOnWebhook":false,"hasMetadata":false,"hasCheckpoint":false,"jsonSchema":{"definitions":{}}}`,
		},
		{
			"an action",
			`const z = require('zod'); exports.default = {type: 'action', description: 'd', endpoint: {method: 'POST', path: '/x'}, input: z.void(), output: z.object({f: z.custom(() => true)}), exec: async () => {}};`,
			`{"type":"action","description":"d","version":"","scopes":[],"endpoints":[{"method":"POST","path":"/x"}],"input":"ActionInput_git_hub_dev_listissues",
				"models":["ActionOutput_git_hub_dev_listissues"],"hasExec":true,"hasOnWebhook":false,"hasMetadata":false,"hasCheckpoint":false,
				"jsonSchema":{"definitions":{"ActionInput_git_hub_dev_listissues":{"type":"null"},
					"ActionOutput_git_hub_dev_listissues":{"type":"object","properties":{"f":{}},"required":["f"],"additionalProperties":false}}}}`,
		},
		{
			"an on-event script",
			`exports.default = {type: 'onEvent', description: 'd', event: 'validate-connection', exec: async () => {}};`,
			`{"type":"onEvent","description":"d","version":"","event":"validate-connection","models":[],"hasExec":true,"hasOnWebhook":false,"hasMetadata":false,"hasCheckpoint":false}`,
		},
		{
			"a legacy function",
			`exports.default = async () => {}; exports.onWebhookPayloadReceived = async () => {};`,
			`{"type":"legacy","hasExec":true,"hasOnWebhook":true}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantOutput(t, run(t, nil, request{kind: "inspect", context: ctx}, tt.bundle), tt.want)
		})
	}
}

func TestInspectRefusesAnUnknownType(t *testing.T) {
	t.Parallel()
	res := run(t, nil, request{kind: "inspect"}, "exports.default = {type: 'function', exec: async () => {}}")
	wantFailure(t, res, "script_internal_error", `{"name":"Error","message":"Unknown function type \"function\""}`)
}
