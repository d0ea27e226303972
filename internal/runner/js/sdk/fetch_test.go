package sdk_test

import (
	"testing"
)

func redirectTo(status int, location string) map[string]any {
	return map[string]any{"status": status, "headers": map[string]any{"location": location}}
}

func TestUncontrolledFetchGivesAResponse(t *testing.T) {
	t.Parallel()
	h := host{"fetch": always(map[string]any{
		"status": 201, "statusText": "Created", "headers": map[string]any{"X-A": []string{"1", "2"}, "set-cookie": []string{"a", "b"}}, "body": `{"é":1}`,
	})}
	res := action(t, h, lines(
		"const r = await nango.uncontrolledFetch({url: new URL('https://a.example/p?q=1'), method: 'post', headers: {'X-H': 'v', Skip: undefined}, body: 'b'});",
		"const copy = r.clone();",
		"const again = await r.text().then(() => r.json()).catch((e) => e.name);",
		"return {ok: r.ok, status: r.status, text: r.statusText, url: r.url, redirected: r.redirected, used: r.bodyUsed, again,",
		"  header: r.headers.get('X-a'), none: r.headers.get('nope'), all: [...r.headers], cookies: r.headers.getSetCookie(),",
		"  json: await copy.json()};",
	))
	wantOutput(t, res, `{"ok":true,"status":201,"text":"Created","url":"https://a.example/p?q=1","redirected":false,"used":true,"again":"TypeError",
		"header":"1, 2","none":null,"all":[["set-cookie","a, b"],["x-a","1, 2"]],"cookies":["a","b"],"json":{"é":1}}`)
	wantEqual(t, res.of("fetch"), `[{"method":"POST","url":"https://a.example/p?q=1","headers":{"x-h":"v","content-type":"text/plain;charset=UTF-8"},"body":"b"}]`)
}

func TestUncontrolledFetchReadsBytes(t *testing.T) {
	t.Parallel()
	h := host{"fetch": always(map[string]any{"status": 404, "bodyBase64": "AAH/"})}
	res := action(t, h, lines(
		"const r = await nango.uncontrolledFetch({url: 'https://a.example/'});",
		"const c = r.clone();",
		"return [r.ok, [...new Uint8Array(await r.arrayBuffer())], [...(await c.bytes())]];",
	))
	wantOutput(t, res, `[false,[0,1,255],[0,1,255]]`)
}

func TestUncontrolledFetchFollowsRedirectsAsTheStandardSays(t *testing.T) {
	t.Parallel()
	const post = `{url: 'https://a.example/', method: 'POST', headers: {Authorization: 't', Cookie: 'c', 'Content-Type': 'x/y', 'X-K': 'k'}, body: 'b'}`
	tests := []struct {
		name, options string
		reply         map[string]any
		want          string
	}{
		{"302 turns POST into GET", post, redirectTo(302, "/next"), `{"method":"GET","url":"https://a.example/next","headers":{"authorization":"t","cookie":"c","x-k":"k"}}`},
		{"307 repeats the request", post, redirectTo(307, "/next"), `{"method":"POST","url":"https://a.example/next","headers":{"authorization":"t","cookie":"c","content-type":"x/y","x-k":"k"},"body":"b"}`},
		{"another origin gets no credentials", post, redirectTo(308, "https://b.example/"), `{"method":"POST","url":"https://b.example/","headers":{"content-type":"x/y","x-k":"k"},"body":"b"}`},
		{"303 turns PUT into GET", `{url: 'https://a.example/', method: 'PUT', body: 'b'}`, redirectTo(303, "/next"), `{"method":"GET","url":"https://a.example/next","headers":{}}`},
		{"301 leaves PUT alone", `{url: 'https://a.example/', method: 'PUT', body: 'b'}`, redirectTo(301, "/next"), `{"method":"PUT","url":"https://a.example/next","headers":{"content-type":"text/plain;charset=UTF-8"},"body":"b"}`},
		{"303 leaves HEAD alone", `{url: 'https://a.example/', method: 'HEAD'}`, redirectTo(303, "/next"), `{"method":"HEAD","url":"https://a.example/next","headers":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := host{"fetch": replies(tt.reply, map[string]any{"status": 200, "body": "end"})}
			res := action(t, h, "const r = await nango.uncontrolledFetch("+tt.options+"); return [r.redirected, await r.text()]")
			wantOutput(t, res, `[true,"end"]`)
			wantEqual(t, res.of("fetch")[1], tt.want)
		})
	}
}

func TestARedirectWithoutATargetIsTheAnswer(t *testing.T) {
	t.Parallel()
	h := host{"fetch": replies(map[string]any{"status": 302})}
	wantOutput(t, action(t, h, "return (await nango.uncontrolledFetch({url: 'https://a.example/'})).status"), `302`)
}

func TestUncontrolledFetchFailures(t *testing.T) {
	t.Parallel()
	loop := redirectTo(302, "/again")
	tests := []struct {
		name    string
		options string
		host    host
		typ     string
		payload string
		calls   int
	}{
		{"refused by policy", `{url: 'https://a.example/'}`, host{"fetch": always(refusal{"code": "url_not_allowed", "message": "private address"})},
			"action_script_runtime_error", `{"code":"url_not_allowed","message":"private address"}`, 1},
		{"six redirects", `{url: 'https://a.example/'}`, host{"fetch": always(loop)},
			"action_script_runtime_error", `{"code":"too_many_redirects","message":"more than 5 redirects"}`, 6},
		{"redirect to a file", `{url: 'https://a.example/'}`, host{"fetch": always(redirectTo(302, "file:///etc/passwd"))},
			"action_script_runtime_error", `{"code":"invalid_redirect","message":"a redirect to file: is not followed"}`, 1},
		{"redirect to nonsense", `{url: 'https://a.example/'}`, host{"fetch": always(redirectTo(302, "http://[bad"))},
			"action_script_runtime_error", `{"code":"invalid_redirect","message":"the redirect target is not a URL"}`, 1},
		{"no answer", `{url: 'https://a.example/'}`, host{"fetch": always(refusal{"code": "ENOTFOUND", "message": "getaddrinfo ENOTFOUND a.example"})},
			"script_internal_error", `{"name":"TypeError","message":"fetch failed"}`, 1},
		{"cancelled", `{url: 'https://a.example/'}`, host{"fetch": always(refusal{"code": "execution_timeout"})}, "execution_timeout", `{}`, 1},
		{"a body with GET", `{url: 'https://a.example/', body: 'b'}`, nil,
			"script_internal_error", `{"name":"TypeError","message":"Request with GET/HEAD method cannot have body."}`, 0},
		{"no URL", `{url: 'nonsense'}`, nil, "script_internal_error", `{"name":"TypeError","code":"ERR_INVALID_URL","message":"Invalid URL"}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := action(t, tt.host, "return nango.uncontrolledFetch("+tt.options+")")
			wantFailure(t, res, tt.typ, tt.payload)
			if n := len(res.of("fetch")); n != tt.calls {
				t.Errorf("%d hops, want %d", n, tt.calls)
			}
		})
	}
}
