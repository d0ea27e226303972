package sandbox_test

import (
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"

	"github.com/patchbay-dev/patchbay/internal/sandbox"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAContactLivesAndDies(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	var made, got contact
	res := a.keyed("POST", "/v1/contacts", map[string]string{"first_name": "Nia", "email": "nia@acme.example"}).into(t, 201, &made)
	if made.FirstName != "Nia" || !made.CreatedAt.Equal(a.clock.Now()) || res.header.Get("Location") != "/v1/contacts/"+made.ID {
		t.Errorf("created %+v at %q", made, res.header.Get("Location"))
	}
	a.keyed("GET", "/v1/contacts/"+made.ID, nil).into(t, 200, &got)
	if got != made {
		t.Errorf("read back %+v", got)
	}
	a.clock.advance(time.Second)
	for _, method := range []string{"PATCH", "POST"} {
		a.keyed(method, "/v1/contacts/"+made.ID, map[string]string{"phone": "1" + method}).into(t, 200, &got)
		if got.Phone != "1"+method || got.FirstName != "Nia" || !got.UpdatedAt.After(made.UpdatedAt) || !got.CreatedAt.Equal(made.CreatedAt) {
			t.Errorf("%s made it %+v", method, got)
		}
	}
	a.keyed("DELETE", "/v1/contacts/"+made.ID, nil).want(t, 204)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		if code := a.keyed(method, "/v1/contacts/"+made.ID, map[string]string{}).want(t, 404).code(t); code != "not_found" {
			t.Errorf("%s: %s", method, code)
		}
	}
}

func TestBadContactsAreRefused(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{Contacts: 1})
	for name, tc := range map[string]struct {
		body   string
		kind   string
		status int
		code   string
	}{
		"no JSON":         {"last_name=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"},
		"broken":          {`{"last_name":`, "application/json", 400, "invalid_body"},
		"two values":      {`{"last_name":"x"}{}`, "application/json", 400, "invalid_body"},
		"unknown field":   {`{"last_name":"x","id":"con_1"}`, "application/json", 400, "invalid_body"},
		"wrong type":      {`{"last_name":1}`, "application/json", 400, "invalid_body"},
		"too large":       {`{"last_name":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", 400, "invalid_body"},
		"empty":           {`{}`, "application/json; charset=utf-8", 422, "validation_failed"},
		"no mail address": {`{"email":"nia"}`, "application/json", 422, "validation_failed"},
	} {
		got := a.keyed("POST", "/v1/contacts", tc.body, "Content-Type", tc.kind)
		if got.status != tc.status || got.code(t) != tc.code {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := byCursor(t, a, "/v1/contacts?"); len(got) != 1 {
		t.Errorf("%d contacts, want the seeded one", len(got))
	}
}

type echoed struct {
	Method, Path, Query, Host string
	RawPath                   string `json:"raw_path"`
	Headers                   http.Header
	ContentLength             int64  `json:"content_length"`
	BodySHA256                string `json:"body_sha256"`
	BodySize                  int    `json:"body_size"`
	BodyBase64                string `json:"body_base64"`
	BodyText                  string `json:"body_text"`
	BodyTruncated             bool   `json:"body_truncated"`
}

func TestAnythingShowsTheRequestAsItCame(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	body := "a\x00\xffb"
	var got echoed
	a.do("PURGE", "http://acme.test/v1/anything/a%2Fb//../c?x=1&x=%20&y", body, "X-Custom", "1").into(t, 200, &got)
	sum := sha256.Sum256([]byte(body))
	if got.Method != "PURGE" || got.RawPath != "/v1/anything/a%2Fb//../c" || got.Path != "/v1/anything/a/b//../c" || got.Query != "x=1&x=%20&y" || got.Host != "acme.test" {
		t.Errorf("request line %+v", got)
	}
	if got.Headers.Get("X-Custom") != "1" || got.BodySHA256 != hex.EncodeToString(sum[:]) || got.BodySize != 4 || got.BodyBase64 != base64Of(body) || got.BodyText != "" {
		t.Errorf("headers or body %+v", got)
	}

	large := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB, more than is remembered and echoed
	sum = sha256.Sum256([]byte(large))
	a.do("POST", "/v1/echo", large).into(t, 200, &got)
	if got.BodySHA256 != hex.EncodeToString(sum[:]) || got.BodySize != 2<<20 || !got.BodyTruncated || got.BodyText != large[:1<<20] {
		t.Errorf("large body: size %d, truncated %v, text of %d", got.BodySize, got.BodyTruncated, len(got.BodyText))
	}
	a.do("GET", "/v1/anything", nil).into(t, 200, &got)
	if got.BodySize != 0 {
		t.Errorf("no body became %d bytes", got.BodySize)
	}
	a.do("GET", "/v1/anythingelse", nil).want(t, 404)
}

func TestBytesAreSeededAndChunked(t *testing.T) {
	t.Parallel()
	a, other := start(t, sandbox.Options{}), start(t, sandbox.Options{Seed: 2})
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	for _, n := range []int{0, 1, 32 << 10, 100_001} {
		res, err := server.Client().Get(fmt.Sprintf("%s/v1/bytes/%d", server.URL, n))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || len(body) != n || res.ContentLength != -1 {
			t.Errorf("%d bytes: got %d, announced %d, %v", n, len(body), res.ContentLength, err)
		}
		path := fmt.Sprintf("/v1/bytes/%d", n)
		if again := a.do("GET", path, nil).body; string(again) != string(body) {
			t.Errorf("%d bytes differ the second time", n)
		}
		if foreign := other.do("GET", path, nil).body; n > 8 && string(foreign) == string(body) {
			t.Errorf("%d bytes are the same for another seed", n)
		}
	}
	for _, n := range []string{"-1", "x", "1073741825"} {
		a.do("GET", "/v1/bytes/"+n, nil).want(t, 400)
	}
	if got := a.do("HEAD", "/v1/bytes/1073741824", nil); got.status != 200 || len(got.body) != 0 {
		t.Errorf("HEAD gave %d bytes", len(got.body))
	}
}

func TestEncodingsDecode(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	for encoding, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":      func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
	} {
		got := a.do("GET", "/v1/encoded/"+encoding, nil, "Accept-Encoding", "identity").want(t, 200)
		plain, err := open(strings.NewReader(string(got.body)))
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			Encoding string
			Data     []contact
		}
		if err := json.NewDecoder(plain).Decode(&document); err != nil || document.Encoding != encoding || len(document.Data) != 20 {
			t.Errorf("%s: %+v, %v", encoding, document, err)
		}
		if got.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: headers %v", encoding, got.header)
		}
	}
	a.do("GET", "/v1/encoded/rot13", nil).want(t, 404)
}

func TestSlowWaitsOutTheTimeOrTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := start(t, sandbox.Options{})
		begin := time.Now()
		a.do("GET", "/v1/slow?ms=90000", nil).want(t, 200)
		if took := time.Since(begin); took != 90*time.Second {
			t.Errorf("took %s", took)
		}
		for _, ms := range []string{"-1", "600001", "x"} {
			a.do("GET", "/v1/slow?ms="+ms, nil).want(t, 400)
		}
		r := httptest.NewRequestWithContext(cancelledAfter(t, time.Second), "GET", "/v1/slow?ms=90000", nil)
		w := httptest.NewRecorder()
		begin = time.Now()
		a.ServeHTTP(w, r)
		if took := time.Since(begin); took != time.Second || w.Body.Len() != 0 {
			t.Errorf("a client that left was served for %s with %q", took, w.Body)
		}
	})
}

func TestStatusAndRedirect(t *testing.T) {
	t.Parallel()
	a := start(t, sandbox.Options{})
	for _, code := range []int{200, 204, 304, 404, 418, 429, 503, 599} {
		got := a.do("DELETE", fmt.Sprintf("/v1/status/%d", code), nil).want(t, code)
		if empty := code == 204 || code == 304; empty != (len(got.body) == 0) {
			t.Errorf("%d has the body %q", code, got.body)
		}
	}
	for _, code := range []string{"100", "600", "x"} {
		a.do("GET", "/v1/status/"+code, nil).want(t, 400)
	}

	if got := a.do("GET", "/v1/redirect", nil).want(t, 302).header.Get("Location"); got != "me" {
		t.Errorf("redirected to %q", got)
	}
	if got := a.do("GET", "/v1/redirect?status=307&to=http://169.254.169.254/x", nil).want(t, 307).header.Get("Location"); got != "http://169.254.169.254/x" {
		t.Errorf("redirected to %q", got)
	}
	a.do("GET", "/v1/redirect?status=304", nil).want(t, 400)
	closed, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for to, ok := range map[string]bool{
		"/v1/me": true, "me?x=1": true, "http://evil.example/": false, "//evil.example": false, `/\evil.example`: false, `\\evil.example`: false,
		"javascript:alert(1)": false, "%zz": false,
	} {
		got := acme{Server: closed}.do("GET", "/v1/redirect?to="+url.QueryEscape(to), nil)
		if ok != (got.status == 302) || ok != (got.header.Get("Location") == to) {
			t.Errorf("to %q: %d %q", to, got.status, got.header.Get("Location"))
		}
	}
}
