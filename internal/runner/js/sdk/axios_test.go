package sdk_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

// showError is appended to code that throws: it returns what a function author can see of the error.
const caught = `.then(() => 'no error', (e) => ({
	name: e.name, code: e.code, message: e.message, status: e.status, isAxiosError: e.isAxiosError,
	isError: e instanceof Error, response: e.response && {status: e.response.status, statusText: e.response.statusText, data: e.response.data},
}))`

func TestErrorsHaveTheShapeOfAxios(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		reply any
		want  string
	}{
		{
			"a 4xx is a bad request",
			map[string]any{"status": 404, "statusText": "Not Found", "body": `{"e":1}`},
			`{"name":"AxiosError","code":"ERR_BAD_REQUEST","message":"Request failed with status code 404","status":404,"isAxiosError":true,
			  "isError":true,"response":{"status":404,"statusText":"Not Found","data":{"e":1}}}`,
		},
		{
			"a 5xx is a bad response",
			map[string]any{"status": 503, "statusText": "Service Unavailable", "body": "down"},
			`{"name":"AxiosError","code":"ERR_BAD_RESPONSE","message":"Request failed with status code 503","status":503,"isAxiosError":true,
			  "isError":true,"response":{"status":503,"statusText":"Service Unavailable","data":"down"}}`,
		},
		{
			"so is a 304",
			map[string]any{"status": 304, "statusText": "Not Modified"},
			`{"name":"AxiosError","code":"ERR_BAD_RESPONSE","message":"Request failed with status code 304","status":304,"isAxiosError":true,
			  "isError":true,"response":{"status":304,"statusText":"Not Modified","data":""}}`,
		},
		{
			"a refused socket has no response",
			refusal{"code": "ECONNREFUSED", "message": "connect ECONNREFUSED 192.0.2.1:443"},
			`{"name":"Error","code":"ECONNREFUSED","message":"connect ECONNREFUSED 192.0.2.1:443","isAxiosError":true,"isError":true}`,
		},
		{
			"an unknown host has no response",
			refusal{"code": "ENOTFOUND", "message": "getaddrinfo ENOTFOUND api.invalid"},
			`{"name":"Error","code":"ENOTFOUND","message":"getaddrinfo ENOTFOUND api.invalid","isAxiosError":true,"isError":true}`,
		},
		{
			"a redirect loop has no response",
			refusal{"code": "ERR_FR_TOO_MANY_REDIRECTS", "message": "Maximum number of redirects exceeded"},
			`{"name":"Error [ERR_FR_TOO_MANY_REDIRECTS]","code":"ERR_FR_TOO_MANY_REDIRECTS",
			  "message":"Maximum number of redirects exceeded","isAxiosError":true,"isError":true}`,
		},
		{
			"a configuration mistake is no Axios error",
			refusal{"code": "missing_api_url", "message": ""},
			`{"name":"Error","code":"missing_api_url","message":"missing_api_url","isError":true}`,
		},
		{
			"an unavailable connection is answered as the platform's API would",
			refusal{"status": 424, "body": map[string]any{"error": map[string]any{"code": "connection_refresh_backoff"}}},
			`{"name":"AxiosError","code":"ERR_BAD_REQUEST","message":"Request failed with status code 424","status":424,"isAxiosError":true,
			  "isError":true,"response":{"status":424,"statusText":"","data":{"error":{"code":"connection_refresh_backoff"}}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := action(t, host{"http": always(tt.reply)}, "return nango.get({endpoint: '/x'})"+caught)
			wantOutput(t, res, tt.want)
		})
	}
}

func TestAnErrorDescribesItselfWithoutItsResponse(t *testing.T) {
	t.Parallel()
	h := host{"http": always(map[string]any{"status": 404, "body": "x"})}
	res := action(t, h, lines(
		"const e = await nango.get({endpoint: '/x', headers: {'X-A': 'b'}}).catch((e) => e);",
		"const json = e.toJSON();",
		"return {own: Object.keys(e), json: Object.keys(json), code: json.code, url: json.config.url, method: json.config.method,",
		"  header: json.config.headers['x-a'], text: String(e), where: e.stack.includes('fn-github-dev.cjs')};",
	))
	wantOutput(t, res, `{
		"own": ["message","name","isAxiosError","code","config","request","response","status"],
		"json": ["message","name","description","number","fileName","lineNumber","columnNumber","stack","config","code","status"],
		"code": "ERR_BAD_REQUEST", "url": "/x", "method": "get", "header": "b",
		"text": "AxiosError: Request failed with status code 404", "where": true}`)
}

func TestResponseBodyIsReadAsAxiosReadsIt(t *testing.T) {
	t.Parallel()
	bytes := func(s string) map[string]any {
		return map[string]any{"status": 200, "bodyBase64": base64.StdEncoding.EncodeToString([]byte(s))}
	}
	body := func(s string) map[string]any {
		return map[string]any{"status": 200, "headers": map[string]any{"content-type": "text/plain"}, "body": s}
	}
	tests := []struct {
		name         string
		reply        any
		responseType string
		want         string
	}{
		{"JSON text is parsed whatever its content type", body(`{"a":1}`), "", `{"a":1}`},
		{"a bare number is JSON too", body("12"), "", `12`},
		{"text that is not JSON stays text", body("{oops"), "", `"{oops"`},
		{"json asks for the same, leniently", body("{oops"), "json", `"{oops"`},
		{"json parses", body("[1]"), "json", `[1]`},
		{"text is never parsed", body(`{"a":1}`), "text", `"{\"a\":1}"`},
		{"blob is text here", body(`{"a":1}`), "blob", `"{\"a\":1}"`},
		{"no body is the empty string", map[string]any{"status": 204}, "", `""`},
		{"a byte order mark is not content", body("\ufeff{\"a\":1}"), "", `{"a":1}`},
		{"bytes become text when text is wanted", bytes(`{"a":"é"}`), "", `{"a":"é"}`},
		{"arraybuffer is a Buffer", bytes("h\u00e9"), "arraybuffer", `"Buffer 3 hé"`},
		{"arraybuffer of nothing is an empty Buffer", map[string]any{"status": 204}, "arraybuffer", `"Buffer 0 "`},
		{"stream can be iterated", bytes("abc"), "stream", `"chunks abc"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code := lines(
				"const {data} = await nango.get({endpoint: '/x', responseType: input});",
				"if (Buffer.isBuffer(data)) return `Buffer ${data.length} ${data.toString('utf8')}`;",
				"if (data && data[Symbol.asyncIterator]) { let s = 'chunks '; for await (const c of data) s += c.toString('utf8'); return s; }",
				"return data;",
			)
			code = strings.ReplaceAll(code, "input", `"`+tt.responseType+`" || undefined`)
			wantOutput(t, action(t, host{"http": always(tt.reply)}, code), tt.want)
		})
	}
}

func TestErrorBodyAskedForAsBytesIsABuffer(t *testing.T) {
	t.Parallel()
	h := host{"http": always(map[string]any{"status": 400, "bodyBase64": "bm8="})}
	res := action(t, h, lines(
		"const e = await nango.get({endpoint: '/x', responseType: 'arraybuffer'}).catch((e) => e);",
		"return [Buffer.isBuffer(e.response.data), e.response.data.toString('utf8')];",
	))
	wantOutput(t, res, `[true, "no"]`)
}

func TestStreamTellsItsDataBeforeItsEnd(t *testing.T) {
	t.Parallel()
	h := host{"http": always(map[string]any{"status": 200, "bodyBase64": "YWJj"})}
	res := action(t, h, lines(
		"const {data} = await nango.get({endpoint: '/x', responseType: 'stream'});",
		"const seen = [];",
		"await new Promise((done) => data.on('end', () => { seen.push('end'); done(); }).on('data', (c) => seen.push(c.toString('utf8'))));",
		"return seen;",
	))
	wantOutput(t, res, `["abc", "end"]`)
}

func TestResponseHeadersAreLowerCase(t *testing.T) {
	t.Parallel()
	h := host{"http": always(map[string]any{
		"status": 200, "statusText": "OK", "url": "https://api.example.com/x",
		"headers": map[string]any{"X-Multi": []string{"a", "b"}, "set-cookie": "c=1", "Link": "<x>"},
	})}
	res := action(t, h, lines(
		"const r = await nango.get({endpoint: '/x'});",
		"return {keys: Object.keys(r), headers: r.headers, get: r.headers.get('X-MULTI'), has: r.headers.has('nope'),",
		"  status: r.status, text: r.statusText, url: r.config.url, from: r.request.responseURL};",
	))
	wantOutput(t, res, `{"keys":["status","statusText","headers","config","request","data"],
		"headers":{"x-multi":"a, b","set-cookie":["c=1"],"link":"<x>"},"get":"a, b","has":false,
		"status":200,"text":"OK","url":"https://api.example.com/x","from":"https://api.example.com/x"}`)
}
