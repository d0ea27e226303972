package sdk_test

import (
	"testing"
)

// connections answers connection.get with a number that counts the answers, so that a memo shows.
func connections() host {
	n := 0
	return host{"connection.get": func(request map[string]any) any {
		n++
		return map[string]any{"n": n, "metadata": map[string]any{"n": n}, "refresh": request["refreshToken"]}
	}}
}

func TestConnectionIsRememberedForAMinute(t *testing.T) {
	t.Parallel()
	res := action(t, connections(), lines(
		"let now = 1e12; Date.now = () => now;",
		"const seen = []; const look = async (...args) => seen.push((await nango.getConnection(...args)).n);",
		"await look(); now += 59_999; await look(); await look(undefined, undefined, {forceRefresh: false});",
		"now += 1; await look();",
		"await look('other', 'c2'); await look('other', 'c2'); await look();",
		"return seen;",
	))
	wantOutput(t, res, `[1,1,1,2,3,3,2]`)
	wantEqual(t, res.of("connection.get"), `[{"providerConfigKey":"github-dev","connectionId":"conn-1"},
		{"providerConfigKey":"github-dev","connectionId":"conn-1"},{"providerConfigKey":"other","connectionId":"c2"}]`)
}

func TestAnOptionForcesAFetch(t *testing.T) {
	t.Parallel()
	res := action(t, connections(), lines(
		"const seen = []; const look = async (o) => { const c = await nango.getConnection(undefined, undefined, o); seen.push([c.n, c.refresh]); };",
		"await look(); await look({forceRefresh: true}); await look(); await look({refreshToken: true}); await look(); await look({refreshGithubAppJwtToken: true});",
		"return seen;",
	))
	wantOutput(t, res, `[[1,null],[2,null],[2,null],[3,true],[4,null],[5,null]]`)
	last := res.of("connection.get")
	wantEqual(t, last[len(last)-1], `{"providerConfigKey":"github-dev","connectionId":"conn-1","refreshGithubAppJwtToken":true}`)
}

func TestMetadataGoesThroughTheMemoAndDropsItWhenWritten(t *testing.T) {
	t.Parallel()
	h := connections()
	h["metadata.set"] = always(map[string]any{"status": 201, "body": map[string]any{"metadata": map[string]any{"a": 1}}})
	h["metadata.update"] = always(map[string]any{"status": 200, "body": map[string]any{}})
	res := action(t, h, lines(
		"const a = await nango.getMetadata(), b = await nango.getMetadata();",
		"const set = await nango.setMetadata({a: 1});",
		"const c = await nango.getMetadata();",
		"const updated = await nango.updateMetadata({b: 2});",
		"const d = await nango.getMetadata();",
		"return [a === b, a.n, c.n, d.n, set.status, set.data, updated.status, Object.keys(set)];",
	))
	wantOutput(t, res, `[true,1,2,3,201,{"metadata":{"a":1}},200,["status","statusText","headers","config","request","data"]]`)
	wantEqual(t, res.of("metadata.set"), `[{"metadata":{"a":1}}]`)
	wantEqual(t, res.of("metadata.update"), `[{"metadata":{"b":2}}]`)
}

func TestNoMetadataIsNull(t *testing.T) {
	t.Parallel()
	h := host{"connection.get": always(map[string]any{"id": 1, "metadata": nil})}
	wantOutput(t, action(t, h, "return [await nango.getMetadata(), await nango.getFieldMapping()]"), `[null,{}]`)
}

func TestFieldMappingIsPartOfTheMetadata(t *testing.T) {
	t.Parallel()
	h := host{
		"connection.get":  always(map[string]any{"metadata": map[string]any{"fieldMapping": map[string]any{"a": "b"}}}),
		"metadata.update": always(map[string]any{"status": 200, "body": map[string]any{}}),
	}
	res := action(t, h, "await nango.setFieldMapping({x: 'y'}); return nango.getFieldMapping()")
	wantOutput(t, res, `{"a":"b"}`)
	wantEqual(t, res.of("metadata.update"), `[{"metadata":{"fieldMapping":{"x":"y"}}}]`)
}

func TestTokenDependsOnTheKindOfCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct{ credentials, want string }{
		{`{"type":"OAUTH2","access_token":"at","raw":{}}`, `"at"`},
		{`{"type":"OAUTH1","oauth_token":"t","oauth_token_secret":"s"}`, `{"oAuthToken":"t","oAuthTokenSecret":"s"}`},
		{`{"type":"API_KEY","apiKey":"k"}`, `{"type":"API_KEY","apiKey":"k"}`},
		{`{"type":"BASIC","username":"u","password":"p"}`, `{"type":"BASIC","username":"u","password":"p"}`},
	}
	for _, tt := range tests {
		h := host{"connection.get": always(map[string]any{"credentials": rawJSON(t, tt.credentials)})}
		res := action(t, h, "await nango.getToken(); return nango.getToken()")
		wantOutput(t, res, tt.want)
		if n := len(res.of("connection.get")); n != 2 {
			t.Errorf("fetched %d times: a token must not be remembered", n)
		}
	}
}

func TestIntegrationIsRememberedPerIncludeList(t *testing.T) {
	t.Parallel()
	h := host{"integration.get": func(request map[string]any) any {
		return map[string]any{"unique_key": "github-dev", "include": request["include"], "webhook_url": "https://hook.example"}
	}}
	res := action(t, h, lines(
		"let now = 1e12; Date.now = () => now;",
		"await nango.getIntegration(); await nango.getIntegration({}); now += 599_999;",
		"const i = await nango.getIntegration({include: ['webhook', 'credentials']}); await nango.getIntegration();",
		"now += 1; await nango.getIntegration();",
		"return [i.include, await nango.getWebhookURL()];",
	))
	wantOutput(t, res, `[["webhook","credentials"],"https://hook.example"]`)
	wantEqual(t, res.of("integration.get"), `[{"include":[]},{"include":["webhook","credentials"]},{"include":[]},{"include":["webhook"]}]`)
}

func TestEnvironmentVariables(t *testing.T) {
	t.Parallel()
	h := host{"environment.variables": always([]any{map[string]any{"name": "A", "value": "1"}})}
	wantOutput(t, action(t, h, "return nango.getEnvironmentVariables()"), `[{"name":"A","value":"1"}]`)
}
