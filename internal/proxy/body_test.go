package proxy_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
)

const (
	form = "application/x-www-form-urlencoded"
	js   = "application/json"
)

func TestWhatArrivesOfABody(t *testing.T) {
	t.Parallel()
	const sdkForm = form + ";charset=utf-8"
	const formProvider = plainRules + "  headers: {content-type: " + form + "}\n"
	const merging = plainRules + "  body: {key: '${apiKey}', auth: {tenant: '${connectionConfig.tenant}', gone: '${credentials.apiKey}'}}\n"
	cases := []struct {
		name, rules, method string
		own, asked          string // the caller's own type, and the one it wants sent
		body                string
		want, wantType      string
	}{
		{"json keeps its bytes", plainRules, "POST", js, "", ` {"b":12345678901234567890, "a":1.0}`, ` {"b":12345678901234567890, "a":1.0}`, js},
		{"any other type passes", plainRules, "PUT", "text/csv; header=present", "", "a,b\n", "a,b\n", "text/csv; header=present"},
		{"a type that was asked for wins", plainRules, "PATCH", js, "application/merge-patch+json", "{}", "{}", "application/merge-patch+json"},
		{"no type, no type", plainRules, "POST", "", "", "x", "x", ""},
		{"webdav", plainRules, "PROPFIND", "application/xml", "", "<a/>", "<a/>", "application/xml"},
		{"delete with a body", plainRules, "DELETE", js, "", `{"a":1}`, `{"a":1}`, js},
		{"get sends none", plainRules, "GET", js, "", `{"a":1}`, "", ""},

		{"the SDK's empty post", plainRules, "POST", form, "", "", "{}", js},
		{"the SDK's empty put", plainRules, "PUT", form, "", "", "{}", js},
		{"the SDK's empty delete", plainRules, "DELETE", form, "", "", "", ""},
		{"the SDK's string", plainRules, "POST", form, "", "abc", `{"abc":""}`, js},
		{"the SDK's string that is a form", plainRules, "POST", form, "", "b=1&a=x+y&b=2&c", `{"b":["1","2"],"a":"x y","c":""}`, js},
		{"the SDK's string that is JSON", plainRules, "POST", form, "", `{"a": 12345678901234567890}`, `{"a": 12345678901234567890}`, js},
		{"a form that says so", plainRules, "POST", form, form, "b=1&a=%20", "b=1&a=%20", form},
		{"URLSearchParams", plainRules, "POST", sdkForm, "", "b=1&a=%20", "b=1&a=%20", sdkForm},
		{"an empty form that says so", plainRules, "POST", form, form, "", "", form},
		{"an empty form from a patch in JSON", plainRules, "PATCH", form, js, "", "{}", js},
		{"form to JSON", plainRules, "POST", form, js, "a=1", `{"a":"1"}`, js},
		{"JSON to form", plainRules, "POST", js, form, `{"b":{"x":1.50,"y":[true,{"z":"&"}]},"n":null,"a":"é"}`, "b%5Bx%5D=1.50&b%5By%5D%5B%5D=true&b%5By%5D%5B1%5D%5Bz%5D=%26&a=%C3%A9", form},
		{"a provider of forms", formProvider, "POST", js, "", `{"a":1}`, "a=1", form},
		{"a provider of forms and a form", formProvider, "POST", form, "", `a=1`, "a=1", form},
		{"multipart keeps its boundary", plainRules, "POST", "multipart/form-data; boundary=xyz", "multipart/form-data", "--xyz--", "--xyz--", "multipart/form-data; boundary=xyz"},

		{"merged into JSON", merging, "POST", js, "", `{"z":1e3,"auth":{"mine":1,"tenant":"x"},"a":[]}`, `{"z":1e3,"auth":{"mine":1,"tenant":"T1","gone":"key-1"},"a":[],"key":"key-1"}`, js},
		{"merged into a form", merging, "POST", form, form, "z=1&key=mine", "z=1&auth%5Bgone%5D=key-1&auth%5Btenant%5D=T1&key=key-1", form},
		{"merged into nothing", merging, "POST", form, "", "", `{"auth":{"gone":"key-1","tenant":"T1"},"key":"key-1"}`, js},
		{"not merged into text", merging, "POST", "text/plain", "", "hello", "hello", "text/plain"},
		{"not merged into a get", merging, "GET", "", "", "", "", ""},
	}
	for _, c := range cases {
		for _, chunked := range []bool{false, true} {
			if chunked && c.body == "" {
				continue
			}
			var s seen
			mode := provider.None
			if strings.Contains(c.rules, "apiKey") {
				mode = provider.APIKey
			}
			w := newWorld(t, mode, c.rules, map[string]any{"apiKey": "key-1"}, record(&s))
			call := withBody(w.call(c.method, "/"), c.body)
			call.ContentType = c.own
			if c.asked != "" {
				call = withHeader(call, "Content-Type", c.asked)
			}
			if chunked {
				call.ContentLength = -1
			}
			w.do(call)
			g := s.last()
			if g.body != c.want || g.header.Get("Content-Type") != c.wantType {
				t.Errorf("%s (chunked %t): %q as %q, want %q as %q", c.name, chunked, g.body, g.header.Get("Content-Type"), c.want, c.wantType)
			}
			if !chunked && g.length != int64(len(c.want)) {
				t.Errorf("%s: announced as %d bytes", c.name, g.length)
			}
		}
	}
}

func TestABodyThatIsNotWhatItSaysIsRefused(t *testing.T) {
	t.Parallel()
	var s seen
	w := newWorld(t, provider.APIKey, plainRules+"  body: {key: '${apiKey}'}\n", map[string]any{"apiKey": "key-1"}, record(&s))
	for _, body := range []string{"{", "[1]", `"x"`, `{"a":}`} {
		call := withBody(w.call("POST", "/"), body)
		call.ContentType = js
		wantCode(t, w, call, 400, "invalid_body")
	}
	call := w.call("POST", "/")
	call.Body, call.ContentLength, call.ContentType = io.LimitReader(zeros{}, 17<<20), -1, js
	wantCode(t, w, call, 413, "body_too_large")
	if len(s.all()) != 0 {
		t.Error("something was sent")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestBodiesArriveByteForByte: whatever the bytes and the type, both ways, announced or chunked, once or after a retry.
func TestBodiesArriveByteForByte(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var failures int
	var body []byte
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ = io.ReadAll(r.Body)
		if failures > 0 {
			failures--
			res.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		res.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = res.Write(body)
	})
	rapid.Check(t, func(t *rapid.T) {
		contentType := rapid.SampledFrom([]string{js, "application/json; charset=utf-8", "multipart/form-data; boundary=b", form + "; charset=utf-8", "application/octet-stream", "text/plain"}).Draw(t, "type")
		data := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 1, 5000),
			rapid.Custom(func(t *rapid.T) []byte {
				return []byte(`{"id":` + rapid.StringMatching(`[1-9][0-9]{15,40}`).Draw(t, "n") + `, "f":1.0e2, "b":"\u00e9", "a":1, "b":2}`)
			}),
			rapid.Custom(func(t *rapid.T) []byte {
				return []byte("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\xff\"\r\n\r\n" + rapid.String().Draw(t, "part") + "\r\n--b--\r\n")
			}),
		).Draw(t, "body")
		retries := rapid.IntRange(0, 2).Draw(t, "retries")
		call := w.call(rapid.SampledFrom([]string{"POST", "PUT", "PATCH", "DELETE"}).Draw(t, "method"), "/")
		call.Body, call.ContentLength, call.ContentType, call.Retries = bytes.NewReader(data), int64(len(data)), contentType, retries
		if rapid.Bool().Draw(t, "chunked") {
			call.ContentLength = -1
		}
		mu.Lock()
		failures = rapid.IntRange(0, retries).Draw(t, "failures")
		mu.Unlock()
		res, err := w.service.Do(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		back, err := io.ReadAll(res.Body)
		if err != nil || res.Status != 200 {
			t.Fatal(res.Status, err)
		}
		if !bytes.Equal(body, data) || !bytes.Equal(back, data) {
			t.Fatalf("sent %q, arrived %q, came back %q", data, body, back)
		}
		if res.Header.Get("Content-Type") != contentType {
			t.Fatalf("content type %q became %q", contentType, res.Header.Get("Content-Type"))
		}
	})
}

// TestTheFirstBytesPassBeforeTheLast, in both directions at once: each side waits for the other's bytes before it sends more.
func TestTheFirstBytesPassBeforeTheLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(res)
		_ = control.EnableFullDuplex()
		buffer := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, buffer); err != nil {
				return
			}
			_, _ = res.Write(bytes.ToUpper(buffer))
			_ = control.Flush()
		}
	})
	reader, writer := io.Pipe()
	call := w.call("POST", "/")
	call.Body, call.ContentLength, call.ContentType = reader, -1, "text/plain"
	var res *proxy.Response
	for i, letter := range "abc" {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = writer.Write([]byte(string(letter)))
		}()
		if i == 0 {
			var err error
			if res, err = w.service.Do(t.Context(), call); err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		}
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != strings.ToUpper(string(letter)) {
			t.Fatalf("sent %c, got %q, %v", letter, got, err)
		}
		<-sent
	}
	writer.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

// TestALargeStreamIsNotHeld sends 256 MB each way; 32 MB is eight times what a replay keeps.
func TestALargeStreamIsNotHeld(t *testing.T) { //nolint:paralleltest // it measures the heap
	const size = 256 << 20
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(res).EnableFullDuplex()
		_, _ = io.Copy(res, r.Body)
	})
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	call := w.call("POST", "/")
	call.Body, call.ContentLength, call.ContentType, call.Retries = io.LimitReader(rand.NewChaCha8([32]byte{}), size), -1, "application/octet-stream", 3
	res, err := w.service.Do(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var read int64
	for buffer := make([]byte, 64<<10); ; {
		n, err := res.Body.Read(buffer)
		if read += int64(n); read == size/2 || read/(64<<20) != (read-int64(n))/(64<<20) {
			runtime.GC()
			runtime.ReadMemStats(&during)
			if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
				t.Fatalf("after %d MB the heap is %d MB larger", read>>20, grown>>20)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if read != size {
		t.Errorf("%d bytes came back, want %d", read, size)
	}
}
