package sdk_test

import (
	"encoding/json"
	"testing"
)

// rawJSON decodes JSON text into a value the host can answer with.
func rawJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	h := host{
		"checkpoint.get":   replies(map[string]any{"checkpoint": map[string]any{"page": 2}}, map[string]any{"checkpoint": nil}),
		"checkpoint.save":  done,
		"checkpoint.clear": done,
	}
	res := action(t, h, lines(
		"const first = await nango.getCheckpoint();",
		"await nango.saveCheckpoint({page: 3, at: new Date(0), none: undefined});",
		"await nango.clearCheckpoint(); await nango.clearCheckpoint();",
		"return [first, await nango.getCheckpoint()];",
	))
	wantOutput(t, res, `[{"page":2},null]`)
	wantEqual(t, res.of("checkpoint.save"), `[{"checkpoint":{"page":3,"at":"1970-01-01T00:00:00.000Z"}}]`)
}

func TestFailingCheckpoints(t *testing.T) {
	t.Parallel()
	conflict := always(refusal{"code": "checkpoint_conflict", "message": "saved by another run"})
	aborted := always(refusal{"code": "script_aborted"})
	tests := []struct {
		name, code string
		host       host
		wantType   string
		want       string
	}{
		{"saving", "await nango.saveCheckpoint({a: 1})", host{"checkpoint.save": conflict}, "script_internal_error",
			`{"name":"Error","code":"checkpoint_conflict","message":"Error saving checkpoint: saved by another run"}`},
		{"clearing", "await nango.clearCheckpoint()", host{"checkpoint.clear": conflict}, "script_internal_error",
			`{"name":"Error","code":"checkpoint_conflict","message":"Error clearing checkpoint: saved by another run"}`},
		{"reading while cancelled", "await nango.getCheckpoint()", host{"checkpoint.get": aborted}, "script_aborted", `{}`},
		{"saving while cancelled", "await nango.saveCheckpoint({a: 1})", host{"checkpoint.save": aborted}, "script_aborted", `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, action(t, tt.host, tt.code), tt.wantType, tt.want)
		})
	}
	res := action(t, host{"checkpoint.get": conflict}, "return nango.getCheckpoint()")
	wantOutput(t, res, `null`)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	h := host{
		"lock.acquire":    replies(map[string]any{"acquired": true}, map[string]any{"acquired": false}),
		"lock.release":    always(map[string]any{"released": true}),
		"lock.releaseAll": done,
	}
	res := action(t, h, lines(
		"const lock = {key: 'k', ttlMs: 1000};",
		"return [await nango.tryAcquireLock(lock), await nango.tryAcquireLock(lock), await nango.releaseLock(lock), (await nango.releaseAllLocks()) ?? 'nothing'];",
	))
	wantOutput(t, res, `[true,false,true,"nothing"]`)
	wantEqual(t, res.of("lock.acquire")[0], `{"key":"k","ttlMs":1000}`)
	wantEqual(t, res.of("lock.release")[0], `{"key":"k"}`)
}

func TestTriggers(t *testing.T) {
	t.Parallel()
	ok := always(map[string]any{"success": true})
	h := host{"action.trigger": replies(map[string]any{"output": []int{1}}, map[string]any{"output": nil}), "sync.trigger": ok, "sync.start": ok}
	res := action(t, h, lines(
		"const a = await nango.triggerAction('p', 'c', 'act', {x: 1}), b = await nango.triggerAction('p', 'c', 'act');",
		"const s = await nango.triggerSync('p', 'c', 'issues');",
		"await nango.triggerSync('p', 'c', {name: 'issues', variant: 'eu'}, {reset: true, emptyCache: true});",
		"await nango.triggerSync('p', 'c', 'issues', 'full_refresh_and_clear_cache');",
		"await nango.triggerSync('p', 'c', 'issues', true); await nango.triggerSync('p', 'c', 'issues', false);",
		"await nango.startSync('p', ['issues', {name: 'n', variant: 'v'}]); await nango.startSync('p', [], 'c');",
		"return [a, b, s.status, s.data];",
	))
	wantOutput(t, res, `[[1],null,200,{"success":true}]`)
	wantEqual(t, res.of("action.trigger"), `[{"providerConfigKey":"p","connectionId":"c","action":"act","input":{"x":1}},
		{"providerConfigKey":"p","connectionId":"c","action":"act"}]`)
	wantEqual(t, res.of("sync.trigger"), `[
		{"providerConfigKey":"p","connectionId":"c","syncs":["issues"]},
		{"providerConfigKey":"p","connectionId":"c","syncs":[{"name":"issues","variant":"eu"}],"opts":{"reset":true,"emptyCache":true}},
		{"providerConfigKey":"p","connectionId":"c","syncs":["issues"],"syncMode":"full_refresh_and_clear_cache"},
		{"providerConfigKey":"p","connectionId":"c","syncs":["issues"],"syncMode":"full_refresh"},
		{"providerConfigKey":"p","connectionId":"c","syncs":["issues"],"syncMode":"incremental"}]`)
	wantEqual(t, res.of("sync.start"), `[{"providerConfigKey":"p","syncs":["issues",{"name":"n","variant":"v"}]},{"providerConfigKey":"p","connectionId":"c","syncs":[]}]`)
}

func TestZodValidateInput(t *testing.T) {
	t.Parallel()
	const schema = "const z = require('zod'); const zodSchema = z.object({a: z.object({b: z.string()}), n: z.number().optional()});\n"
	res := action(t, nil, schema+"return nango.zodValidateInput({zodSchema, input: {a: {b: 'x'}, extra: 1}})")
	wantOutput(t, res, `{"success":true,"data":{"a":{"b":"x"}}}`)

	res = action(t, nil, schema+"return nango.zodValidateInput({zodSchema, input: {a: {b: 1}, n: 'x'}})")
	wantFailure(t, res, "action_script_runtime_error", `{"message":"Invalid input provided"}`)
	wantEqual(t, res.of("log"), `[
		{"level":"error","message":"Invalid input at a.b: Invalid input: expected string, received number"},
		{"level":"error","message":"Invalid input at n: Invalid input: expected number, received string"}]`)
}
