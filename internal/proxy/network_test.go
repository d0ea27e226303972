package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
)

func TestNoAnswerIsANetworkErrorWithItsCode(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	w := newWorld(t, provider.None, plainRules, nil, hangUp)
	var network *proxy.NetworkError

	call := w.call("GET", "/")
	call.Retries = 2
	if _, err := w.service.Do(t.Context(), call); !errors.As(err, &network) || network.Code != "ECONNRESET" {
		t.Errorf("a reset is %v", err)
	}
	if diff := cmp.Diff([]time.Duration{3 * time.Second, 6 * time.Second}, w.waits()); diff != "" {
		t.Errorf("waits after resets (-want +got)\n%s", diff)
	}
	if n := len(w.log.http()); n != 3 {
		t.Errorf("%d attempts are logged, want 3", n)
	}
	if r, _ := w.log.operation(); r.State != "failed" || r.Error.Type != "ECONNRESET" {
		t.Errorf("the operation is %+v", r)
	}

	w.upstream.Close()
	call.Retries = 0
	if _, err := w.service.Do(t.Context(), call); !errors.As(err, &network) || network.Code != "ECONNREFUSED" || !strings.HasPrefix(network.Message, "connect ECONNREFUSED 127.0.0.1:") {
		t.Errorf("a refused connection is %v", err)
	}

	call.Retries = 5
	call.BaseURL = "http://does-not-exist.invalid"
	w.slept = nil
	w.options.Door = nil
	w.open()
	if _, err := w.service.Do(t.Context(), call); !errors.As(err, &network) || network.Code != "ENOTFOUND" && network.Code != "EAI_AGAIN" {
		t.Errorf("an unknown name is %v", err)
	} else if network.Code == "ENOTFOUND" && len(w.waits()) != 0 {
		t.Error("a name that does not exist was tried again")
	}
}

// TestACallInWhichNothingMovesEnds, whether the answer does not begin or breaks off.
func TestACallInWhichNothingMovesEnds(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/begun" {
			_, _ = io.WriteString(res, "first")
			_ = http.NewResponseController(res).Flush()
		}
		<-release
	})
	defer close(release)
	w.options.Idle = 50 * time.Millisecond
	w.open()
	var network *proxy.NetworkError
	if _, err := w.service.Do(t.Context(), w.call("GET", "/never")); !errors.As(err, &network) || network.Code != "ECONNABORTED" {
		t.Errorf("got %v", err)
	}
	res, err := w.service.Do(t.Context(), w.call("GET", "/begun"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if string(body) != "first" || !errors.As(err, &network) || network.Code != "ECONNABORTED" {
		t.Errorf("got %q, %v", body, err)
	}
	res.Body.Close()
	if r, _ := w.log.operation(); r.State != "failed" || r.Error.Type != "ECONNABORTED" {
		t.Errorf("an answer that broke off is logged as %s %+v", r.State, r.Error)
	}
}

func TestTheThirdPartyIsToldWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	arrived, left := make(chan struct{}), make(chan struct{})
	w := newWorld(t, provider.None, plainRules, nil, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := w.service.Do(ctx, w.call("GET", "/")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left
	if r, _ := w.log.operation(); r.State != "cancelled" {
		t.Errorf("the operation is %s", r.State)
	}
}

func TestRedirectsTakeCredentialsOnlyAlongToTheSameParty(t *testing.T) {
	t.Parallel()
	var here, there seen
	other := httptest.NewServer(record(&there))
	t.Cleanup(other.Close)
	w := newWorld(t, provider.APIKey, plainRules+"  headers: {x-api-key: '${apiKey}'}\n", map[string]any{"apiKey": "key-123"}, func(res http.ResponseWriter, r *http.Request) {
		here.add(r)
		switch r.URL.Path {
		case "/api/same":
			http.Redirect(res, r, "/final", http.StatusFound)
		case "/api/away":
			http.Redirect(res, r, other.URL+"/file", http.StatusTemporaryRedirect)
		case "/api/loop":
			http.Redirect(res, r, "/api/loop", http.StatusFound)
		case "/api/inside":
			http.Redirect(res, r, "http://169.254.169.254/latest", http.StatusFound)
		}
	})
	w.policy.Allow = append(w.policy.Allow, entry(t, other))
	w.open()

	w.do(w.call("GET", "/same"))
	if g := here.last(); g.target != "/final" || g.header.Get("X-Api-Key") != "key-123" {
		t.Errorf("same party: %s with %q", g.target, g.header.Get("X-Api-Key"))
	}
	post := withBody(withHeader(w.call("POST", "/away"), "X-Mine", "1", "Authorization", "Bearer mine"), "data")
	post.ContentType = "text/plain"
	res := w.do(post)
	if g := there.last(); g.method != "POST" || g.body != "data" || g.header.Get("X-Api-Key")+g.header.Get("X-Mine")+g.header.Get("Authorization") != "" {
		t.Errorf("another party: %s %q with %v", g.method, g.body, g.header)
	}
	if res.URL() != other.URL+"/file" {
		t.Errorf("the final URL is %s", res.URL())
	}
	yes := true
	post = withBody(post, "data")
	post.ForwardHeadersOnRedirect = &yes
	w.do(post)
	if g := there.last(); g.header.Get("X-Api-Key") != "key-123" || g.header.Get("X-Mine") != "1" {
		t.Errorf("forwarding: %v", g.header)
	}

	var network *proxy.NetworkError
	if _, err := w.service.Do(t.Context(), w.call("GET", "/loop")); !errors.As(err, &network) || network.Code != "ERR_FR_TOO_MANY_REDIRECTS" {
		t.Errorf("a loop is %v", err)
	}
	wantCode(t, w, w.call("GET", "/inside"), 400, "base_url_override_not_allowed")
}

func TestStatusAndHeadersAreMirrored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
		h := res.Header()
		for _, name := range []string{"X-Own", "Set-Cookie", "Link", "Etag"} {
			h[name] = []string{"a", "b"}
		}
		for _, name := range []string{"Access-Control-Allow-Origin", "X-Hop", "Keep-Alive", "Strict-Transport-Security", "Alt-Svc", "Proxy-Authenticate"} {
			h.Set(name, "1")
		}
		h.Set("Connection", "x-hop")
		switch r.URL.Path {
		case "/api/created":
			res.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(res, "made")
		case "/api/empty":
			res.WriteHeader(http.StatusNoContent)
		case "/api/teapot":
			res.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(res, "short and stout")
		case "/api/moved":
			res.WriteHeader(http.StatusNotModified)
		case "/api/head":
			h.Set("Content-Length", "1234")
		}
	})
	for _, c := range []struct {
		method, path string
		status       int
		body         string
		length       int64
	}{
		{"POST", "/created", 201, "made", 4},
		{"GET", "/empty", 204, "", 0},
		{"GET", "/teapot", 418, "short and stout", 15},
		{"GET", "/moved", 304, "", 0},
		{"HEAD", "/head", 200, "", 1234},
		{"REPORT", "/created", 201, "made", 4},
	} {
		res := w.do(w.call(c.method, c.path))
		if res.Status != c.status || res.body != c.body || res.ContentLength != c.length {
			t.Errorf("%s: %d %q of %d bytes", c.path, res.Status, res.body, res.ContentLength)
		}
		if len(res.Header["X-Own"]) != 2 || len(res.Header["Set-Cookie"]) != 2 || len(res.Header["Link"]) != 2 {
			t.Errorf("%s: headers are missing: %v", c.path, res.Header)
		}
		for _, name := range []string{"Access-Control-Allow-Origin", "X-Hop", "Keep-Alive", "Strict-Transport-Security", "Alt-Svc", "Proxy-Authenticate", "Connection"} {
			if res.Header.Get(name) != "" {
				t.Errorf("%s: %s was passed on", c.path, name)
			}
		}
	}
}

func compress(t *testing.T, coding, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "bare":
		w, _ = flate.NewWriter(&out, 5)
	case "br":
		w = brotli.NewWriter(&out)
	default:
		return []byte(text)
	}
	_, _ = io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestABodyIsDecodedUnlessItsReceiverDoesIt(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("the same text again and again ", 50)
	yes, no := true, false
	cases := []struct {
		name       string
		coding     string // what the third party answers with
		accepted   string // what the receiver decodes
		decompress *bool
		headers    []string
		asked      string // what the third party is asked for
		decoded    bool
	}{
		{"curl without anything", "gzip", "", nil, nil, "identity", true},
		{"axios", "gzip", "gzip, compress, deflate, br", nil, nil, "gzip, compress, deflate, br", false},
		{"a browser", "br", "gzip, deflate, br, zstd", nil, nil, "gzip, deflate, br, zstd", false},
		{"a receiver of gzip gets br", "br", "gzip", nil, nil, "gzip", true},
		{"a receiver that refuses", "gzip", "gzip;q=0, br", nil, nil, "gzip;q=0, br", true},
		{"anything", "br", "*", nil, nil, "*", false},
		{"told to decompress", "gzip", "gzip, br", &yes, nil, "gzip, deflate, br", true},
		{"told not to", "gzip", "gzip", &no, nil, "gzip", false},
		{"x-gzip", "x-gzip", "", nil, nil, "identity", true},
		{"deflate", "deflate", "", &yes, nil, "gzip, deflate, br", true},
		{"bare deflate", "bare", "", &yes, nil, "gzip, deflate, br", true},
		{"asked for by the caller", "gzip", "", nil, []string{"Accept-Encoding", "gzip"}, "gzip", false},
		{"a coding that nobody knows", "zzz", "", nil, nil, "identity", false},
		{"a range", "gzip", "", &yes, []string{"Range", "bytes=0-9"}, "identity", false},
		{"not coded", "", "gzip", nil, nil, "gzip", true},
	}
	for _, c := range cases {
		var s seen
		raw := compress(t, c.coding, text)
		w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, r *http.Request) {
			s.add(r)
			if coding := strings.Replace(c.coding, "bare", "deflate", 1); coding != "" {
				res.Header().Set("Content-Encoding", coding)
			}
			if r.Header.Get("Range") != "" {
				res.WriteHeader(http.StatusPartialContent)
			}
			_, _ = res.Write(raw)
		})
		call := withHeader(w.call("GET", "/"), c.headers...)
		call.AcceptEncoding, call.Decompress = c.accepted, c.decompress
		res := w.do(call)
		if g := s.last().header.Get("Accept-Encoding"); g != c.asked {
			t.Errorf("%s: asked for %q, want %q", c.name, g, c.asked)
		}
		plain := res.body == text && res.Header.Get("Content-Encoding") == ""
		untouched := res.body == string(raw) && res.ContentLength == int64(len(raw))
		if c.decoded != plain || !c.decoded && !untouched {
			t.Errorf("%s: decoded %t, untouched %t, %v", c.name, plain, untouched, res.Header)
		}
	}
}

func TestABrokenCodingIsAnErrorAndNoEndOfTheBody(t *testing.T) {
	t.Parallel()
	raw := compress(t, "gzip", strings.Repeat("x", 5000))
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, _ *http.Request) {
		res.Header().Set("Content-Encoding", "gzip")
		_, _ = res.Write(raw[:len(raw)/2])
	})
	res, err := w.service.Do(t.Context(), w.call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half a body passed for a whole one")
	}
}

func TestAnAnswerThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, provider.None, plainRules, nil, func(res http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(res).Hijack()
		if err != nil {
			return
		}
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		_ = buffered.Flush()
		_ = conn.(*net.TCPConn).CloseWrite()
		conn.Close()
	})
	res, err := w.service.Do(t.Context(), w.call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	var network *proxy.NetworkError
	if string(body) != "half" || !errors.As(err, &network) || network.Code != "ECONNRESET" {
		t.Errorf("got %q, %v", body, err)
	}
	res.Body.Close()
	if r, _ := w.log.operation(); r.State != "failed" {
		t.Errorf("the operation is %s", r.State)
	}
}
