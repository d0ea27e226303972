package sdk_test

import (
	"fmt"
	"testing"
)

func TestMachineryIsOutOfReach(t *testing.T) {
	t.Parallel()
	forbidden := []string{
		"nango", "persistClient", "telemetryRecorder", "locking", "checkpointing", "checkpointKey", "integrationConfig",
		"memoizedConnections", "memoizedIntegration", "attributes", "telemetryBag", "abortSignal", "lifecycle", "getProxyConfig",
		"throwIfAbortedOrKilled", "throwIfInterrupted", "shouldLog", "validateRecords", "removeMetadata", "modelFullName",
		"sendLogToPersist", "logAPICall", "getMergingStrategy", "setMergingStrategyByModel", "trackDeletesKey", "fetchRecordsPage",
		"getCheckpointRange", "clearRecordsIfNeeded", "batchSize", "getRecordsBatchSize", "mergingByModel", "httpLogSample",
		"__proto__", "constructor",
	}
	code := fmt.Sprintf(lines(
		"const bad = [];",
		"for (const name of %s) {",
		"  const attempts = {",
		"    read: () => nango[name], write: () => { nango[name] = 1; }, remove: () => { delete nango[name]; },",
		"    define: () => Object.defineProperty(nango, name, {value: 1}),",
		"  };",
		"  for (const [how, attempt] of Object.entries(attempts)) {",
		"    let said = 'nothing';",
		"    try { attempt(); } catch (e) { said = e.message; }",
		"    if (said !== `Access to \"${name}\" is not allowed.`) bad.push([name, how, said]);",
		"  }",
		"  if (name in nango || Object.keys(nango).includes(name) || Object.getOwnPropertyDescriptor(nango, name)) bad.push([name, 'visible']);",
		"}",
		"return bad;",
	), mustJSON(t, forbidden))
	wantOutput(t, syncRunOutput(t, code), `[]`)
}

// syncRunOutput runs code as a sync and returns what it returned, through a log line: a sync has no output of its own.
func syncRunOutput(t *testing.T, code string, more ...map[string]any) result {
	t.Helper()
	res := syncRun(t, nil, "const value = await (async () => {\n"+code+"\n})(); await nango.log('value', {value: value ?? null});", more...)
	if res.OK {
		logs := res.of("log")
		res.Output = logs[len(logs)-1]["meta"].(map[string]any)["value"]
	}
	return res
}

func TestTheFacadeHasNoPrototypeAndCanNotBeFrozen(t *testing.T) {
	t.Parallel()
	res := action(t, nil, lines(
		"const refused = (f) => { try { f(); return false; } catch (e) { return e instanceof TypeError; } };",
		"nango.mine = 1;",
		"return [Object.getPrototypeOf(nango), refused(() => Object.setPrototypeOf(nango, {})), refused(() => Object.freeze(nango)),",
		"  typeof nango.then, typeof nango.toString, nango.mine, 'get' in nango, Object.keys(nango).includes('get')];",
	))
	wantOutput(t, res, `[null, true, true, "undefined", "undefined", 1, true, false]`)
}

func TestUserCodeHoldsNoLineToTheHost(t *testing.T) {
	t.Parallel()
	res := action(t, nil, "return [typeof __host, typeof __loadBundle, typeof __run]")
	wantOutput(t, res, `["undefined","undefined","undefined"]`)
}

func TestPropertiesPerKind(t *testing.T) {
	t.Parallel()
	ctx := baseContext(map[string]any{
		"syncId": "s-1", "syncJobId": 9, "variant": "eu", "lastSyncDate": "2026-01-02T03:04:05.000Z", "trackDeletes": true,
		"attributes": map[string]any{"a": 1},
	})
	const look = `const show = () => ({
		ids: [nango.connectionId, nango.providerConfigKey, nango.provider, nango.environmentId, nango.environmentName, nango.accountId,
			nango.activityLogId, nango.nangoConnectionId, nango.scriptType, nango.isCLI],
		sync: [nango.syncId ?? null, nango.syncJobId ?? null, nango.variant ?? null, nango.getVariant(), nango.track_deletes ?? null,
			nango.emptyCache ?? null, nango.lastSyncDate instanceof Date ? nango.lastSyncDate.toISOString() : null],
		records: [typeof nango.batchSave, typeof nango.listRecords], checkpoints: typeof nango.saveCheckpoint,
		action: nango.ActionError.name});`
	tests := []struct{ kind, typ, want string }{
		{"sync", "sync", `{"ids":["conn-1","github-dev","github",7,"dev",3,"op_1",42,"sync",false],
			"sync":["s-1",9,"eu","eu",true,false,"2026-01-02T03:04:05.000Z"],"records":["function","function"],"checkpoints":"function","action":"ActionError"}`},
		{"webhook", "sync", `{"ids":["conn-1","github-dev","github",7,"dev",3,"op_1",42,"webhook",false],
			"sync":["s-1",9,"base","base",null,null,null],"records":["function","function"],"checkpoints":"function","action":"ActionError"}`},
		{"action", "action", `{"ids":["conn-1","github-dev","github",7,"dev",3,"op_1",42,"action",false],
			"sync":[null,null,null,"base",null,null,null],"records":["undefined","undefined"],"checkpoints":"function","action":"ActionError"}`},
		{"on-event", "onEvent", `{"ids":["conn-1","github-dev","github",7,"dev",3,"op_1",42,"on-event",false],
			"sync":[null,null,null,"base",null,null,null],"records":["undefined","undefined"],"checkpoints":"function","action":"ActionError"}`},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			bundle := fmt.Sprintf("const exec = async (nango) => {\n%s\nawait nango.log('x', show());\n};\nexports.default = {type: %q, exec, onWebhook: exec};", look, tt.typ)
			res := run(t, nil, request{kind: tt.kind, context: ctx, sdkVersion: "1.0.0-zero"}, bundle)
			if !res.OK {
				t.Fatalf("failed: %+v", res.Error)
			}
			wantEqual(t, res.of("log")[0]["meta"], tt.want)
		})
	}
}

func TestFlowAttributesBelongToASync(t *testing.T) {
	t.Parallel()
	wantOutput(t, syncRunOutput(t, "return nango.getFlowAttributes()", map[string]any{"syncJobId": 9}), `{}`)
	wantOutput(t, syncRunOutput(t, "return nango.getFlowAttributes()", map[string]any{"syncJobId": 9, "attributes": map[string]any{"a": 1}}), `{"a":1}`)
	wantFailure(t, action(t, nil, "return nango.getFlowAttributes()"), "script_internal_error",
		`{"name":"Error","message":"There is no current sync to get attributes from"}`)
}
