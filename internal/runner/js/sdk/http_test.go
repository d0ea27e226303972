package sdk_test

import (
	"encoding/base64"
	"regexp"
	"testing"
)

// sent runs one HTTP call written in JavaScript and returns the op it became.
func sent(t *testing.T, code string, more ...map[string]any) map[string]any {
	t.Helper()
	res := action(t, host{"http": always(page("{}"))}, code, more...)
	if !res.OK {
		t.Fatalf("%s: %v", res.Error.Type, res.Error.Payload)
	}
	return res.of("http")[0]
}

func TestVerbsBecomeOneHTTPOp(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, code, want string }{
		{
			"get, with everything a call may carry",
			`await nango.get({endpoint: '/x', baseUrlOverride: 'https://b.example', headers: {'X-A': 1, 'X-B': ['p', 'q'], 'X-C': undefined, 'X-D': null},
				params: {q: 'a b', n: 1, list: [1, 2], none: undefined, nil: null, yes: true}, retries: 3, retryOn: [404], responseType: 'json',
				decompress: 'true', forwardHeadersOnRedirect: false, retryHeader: {at: 'x'}, paginate: {type: 'cursor'}, data: {ignored: 1}})`,
			`{"method":"GET","endpoint":"/x","baseUrlOverride":"https://b.example","providerConfigKey":"github-dev","connectionId":"conn-1",
				"headers":{"x-a":"1","x-b":"p, q"},"params":[["q","a b"],["n","1"],["list","1,2"],["nil","null"],["yes","true"]],
				"retries":3,"retryOn":[404],"responseType":"json","decompress":true,"forwardHeadersOnRedirect":false}`,
		},
		{
			"proxy defaults to GET and takes any case",
			`await nango.proxy({endpoint: 'x', params: '?a=1'})`,
			`{"method":"GET","endpoint":"x","providerConfigKey":"github-dev","connectionId":"conn-1","headers":{},"params":"?a=1","retries":0}`,
		},
		{
			"another connection",
			`await nango.proxy({endpoint: '/x', method: 'delete', providerConfigKey: 'other', connectionId: 'c2'})`,
			`{"method":"DELETE","endpoint":"/x","providerConfigKey":"other","connectionId":"c2","headers":{},"retries":0}`,
		},
		{
			"methods work without their object",
			`const {post} = nango; await post({endpoint: '/x', data: {a: 1, u: undefined, d: new Date(0)}})`,
			`{"method":"POST","endpoint":"/x","providerConfigKey":"github-dev","connectionId":"conn-1","retries":0,
				"headers":{"content-type":"application/json"},"data":"{\"a\":1,\"d\":\"1970-01-01T00:00:00.000Z\"}"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantEqual(t, sent(t, tt.code), tt.want)
		})
	}
}

func TestRequestBodyIsEncodedAsAxiosEncodesIt(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	type want struct{ data, contentType string }
	tests := []struct {
		name, method, data, contentType string
		want                            want
	}{
		{"object", "post", `{a: 1}`, "", want{`{"a":1}`, "application/json"}},
		{"list", "post", `[1]`, "", want{`[1]`, "application/json"}},
		{"object with DELETE", "delete", `{a: 1}`, "", want{`{"a":1}`, "application/json"}},
		{"object under another type is JSON all the same", "post", `{a: 1}`, "text/plain", want{`{"a":1}`, "text/plain"}},
		{"object under a vendor type", "patch", `{a: 1}`, "application/vnd.api+json", want{`{"a":1}`, "application/vnd.api+json"}},
		{"string", "post", `'hello'`, "", want{"hello", form}},
		{"string with DELETE gets no type", "delete", `'hello'`, "", want{"hello", ""}},
		{"string that is JSON is trimmed", "post", `' {"a":1} '`, "application/json", want{`{"a":1}`, "application/json"}},
		{"string that is not JSON is quoted", "post", `'hello'`, "application/json; charset=utf-8", want{`"hello"`, "application/json; charset=utf-8"}},
		{"string under a vendor type is left alone", "post", `'x'`, "application/vnd.api+json", want{"x", "application/vnd.api+json"}},
		{"number under JSON", "post", `5`, "application/json", want{"5", "application/json"}},
		{"null under JSON", "post", `null`, "application/json", want{"null", "application/json"}},
		{"nothing", "post", `undefined`, "", want{"", form}},
		{"nothing under JSON", "put", `undefined`, "application/json", want{"", "application/json"}},
		{"nothing with DELETE", "delete", `undefined`, "", want{"", ""}},
		{"false is nothing", "post", `false`, "", want{"", form}},
		{"form string", "post", `'a=b c'`, form, want{"a=b c", form}},
		{"form list of scalars", "post", `{c: [1, 2]}`, form, want{"c%5B%5D=1&c%5B%5D=2", form}},
		{"form name that says list", "post", `{'x[]': [1, 2]}`, form, want{"x%5B%5D=1&x%5B%5D=2", form}},
		{"form list inside an object is indexed", "post", `{a: {b: 1, c: [1, 2]}}`, form, want{"a%5Bb%5D=1&a%5Bc%5D%5B0%5D=1&a%5Bc%5D%5B1%5D=2", form}},
		{"form list of objects is indexed", "post", `{d: [{x: 1}]}`, form, want{"d%5B0%5D%5Bx%5D=1", form}},
		{"form leaves nulls out", "post", `{e: null, f: undefined, c: [null, 1], g: []}`, form, want{"c%5B%5D=1", form}},
		{"form scalars", "post", `{g: 'x y&', h: true, i: new Date(0), j: 1.5}`, form, want{"g=x+y%26&h=true&i=1970-01-01T00%3A00%3A00.000Z&j=1.5", form}},
		{"form JSON field", "post", `{'o{}': {z: 1}}`, form, want{"o%7B%7D=%7B%22z%22%3A1%7D", form}},
		{"form with DELETE", "delete", `{a: {b: 1}}`, form, want{"a%5Bb%5D=1", form}},
		{"URLSearchParams", "post", `new URLSearchParams({a: 'b c'})`, "", want{"a=b+c", form + ";charset=utf-8"}},
		{"URLSearchParams under JSON", "post", `new URLSearchParams({a: 'b c'})`, "application/json", want{"a=b+c", "application/json"}},
		{"GET sends none", "get", `{a: 1}`, "", want{"", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			headers := "{}"
			if tt.contentType != "" {
				headers = "{'Content-Type': '" + tt.contentType + "'}"
			}
			op := sent(t, "await nango."+tt.method+"({endpoint: '/x', headers: "+headers+", data: "+tt.data+"})")
			got := want{}
			got.data, _ = op["data"].(string)
			got.contentType, _ = op["headers"].(map[string]any)["content-type"].(string)
			if got != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
			if op["dataBase64"] != nil {
				t.Errorf("sent bytes %v as well", op["dataBase64"])
			}
		})
	}
}

func TestProviderContentTypeDecidesUnlessTheCallerDoes(t *testing.T) {
	t.Parallel()
	ctx := map[string]any{"providerContentType": "application/x-www-form-urlencoded"}
	op := sent(t, "await nango.post({endpoint: '/x', data: {a: {b: 1}}})", ctx)
	if op["data"] != "a%5Bb%5D=1" {
		t.Errorf("data %q", op["data"])
	}
	op = sent(t, "await nango.post({endpoint: '/x', headers: {'content-type': 'application/json'}, data: {a: 1}})", ctx)
	if op["data"] != `{"a":1}` {
		t.Errorf("data %q", op["data"])
	}
}

func TestBytesTravelAsBase64(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`Buffer.from('hi')`, `new Uint8Array([104, 105])`, `new Uint8Array([104, 105]).buffer`, `new Uint8Array([0, 104, 105, 0]).subarray(1, 3)`} {
		op := sent(t, "await nango.put({endpoint: '/x', headers: {'content-type': 'application/pdf'}, data: "+data+"})")
		if op["dataBase64"] != "aGk=" || op["data"] != nil {
			t.Errorf("%s: sent %v %v", data, op["dataBase64"], op["data"])
		}
	}
}

func TestMultipartForm(t *testing.T) {
	t.Parallel()
	op := sent(t, `await nango.post({endpoint: '/x', headers: {'content-type': 'multipart/form-data'},
		data: {f: Buffer.from('hi'), b: {c: 'x'}, d: ['p', 'q'], 'n"': 1, none: null}})`)
	contentType, _ := op["headers"].(map[string]any)["content-type"].(string)
	boundary := regexp.MustCompile(`^multipart/form-data; boundary=(-{26}[0-9a-f]{24})$`).FindStringSubmatch(contentType)
	if boundary == nil {
		t.Fatalf("content type %q", contentType)
	}
	body, err := base64.StdEncoding.DecodeString(op["dataBase64"].(string))
	if err != nil {
		t.Fatal(err)
	}
	part := func(name, more, value string) string {
		return "--" + boundary[1] + "\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n" + value + "\r\n"
	}
	want := part("f", "\r\nContent-Type: application/octet-stream", "hi") + part("b[c]", "", "x") + part("d[]", "", "p") +
		part("d[]", "", "q") + part("n%22", "", "1") + "--" + boundary[1] + "--\r\n"
	if string(body) != want {
		t.Errorf("body\n%s\nwant\n%s", body, want)
	}
}

func TestABodyThatCanNotBeSentIsRefusedBeforeTheCall(t *testing.T) {
	t.Parallel()
	res := action(t, host{}, "return nango.post({endpoint: '/x', data: 5})"+caught)
	wantOutput(t, res, `{"name":"AxiosError","code":"ERR_BAD_REQUEST","isAxiosError":true,"isError":true,
		"message":"Data after transformation must be a string, an ArrayBuffer, a Buffer, or a Stream"}`)
}

func TestA401DuringRetriesDropsTheMemoOfTheConnection(t *testing.T) {
	t.Parallel()
	h := host{
		"connection.get": always(map[string]any{"id": 1}),
		"http":           replies(page("1"), map[string]any{"status": 200, "body": "1", "connectionStale": true}),
	}
	res := action(t, h, lines(
		"await nango.getConnection(); await nango.get({endpoint: '/x'}); await nango.getConnection();",
		"await nango.get({endpoint: '/x'}); await nango.getConnection();",
	))
	wantOutput(t, res, `null`)
	if n := len(res.of("connection.get")); n != 2 {
		t.Errorf("connection fetched %d times, want 2", n)
	}
}
