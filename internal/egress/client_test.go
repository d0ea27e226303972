package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// serve runs a server and a door that opens it.
func serve(t testing.TB, o egress.Options, handler http.HandlerFunc) (*egress.Door, string) {
	t.Helper()
	server := httptest.NewServer(handler)
	o.Policy.Allow = append(o.Policy.Allow, entries(t, server.Listener.Addr().String())...)
	door := egress.New(o)
	t.Cleanup(func() {
		door.Close()
		door.Close() // twice is allowed
		server.Close()
	})
	return door, server.URL
}

func TestBodiesPassUntouched(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write([]byte("hello"))
	zip.Close()
	var asked string
	door, url := serve(t, egress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	})
	res, err := following(door).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if !bytes.Equal(body, packed.Bytes()) || res.Header.Get("Content-Encoding") != "gzip" || res.Uncompressed {
		t.Errorf("got %q with encoding %q, want the bytes that were sent", body, res.Header.Get("Content-Encoding"))
	}
	if asked != "" {
		t.Errorf("Accept-Encoding %q was added", asked)
	}
}

func TestUserAgent(t *testing.T) {
	t.Parallel()
	var got string
	handler := func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("User-Agent") }
	plain, plainURL := serve(t, egress.Options{}, handler)
	named, namedURL := serve(t, egress.Options{UserAgent: "Acme/1"}, handler)
	cases := []struct {
		door   *egress.Door
		url    string
		header http.Header
		want   string
	}{
		{plain, plainURL, nil, "Patchbay"},
		{named, namedURL, http.Header{}, "Acme/1"},
		{named, namedURL, http.Header{"User-Agent": {"caller"}}, "caller"},
		{named, namedURL, http.Header{"User-Agent": {""}}, ""},
	}
	for _, c := range cases {
		req, _ := http.NewRequest(http.MethodGet, c.url, nil)
		req.Header = c.header
		res, err := following(c.door).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got != c.want {
			t.Errorf("with header %v: User-Agent %q, want %q", c.header, got, c.want)
		}
		if len(req.Header) != len(c.header) {
			t.Errorf("the caller's request was changed: %v", req.Header)
		}
	}
}

func TestResponseLimit(t *testing.T) {
	t.Parallel()
	door, url := serve(t, egress.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		w.Write(bytes.Repeat([]byte("x"), 1000))
	})
	for _, path := range []string{"/", "/chunked"} {
		for _, c := range []struct {
			limit   int64
			tooLong bool
		}{{0, false}, {1, true}, {999, true}, {1000, false}, {1001, false}, {1<<63 - 1, false}} {
			res, err := door.Client(egress.ClientOptions{MaxResponseBytes: c.limit}).Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_, again := res.Body.Read(make([]byte, 1))
			res.Body.Close()
			var tooLarge *egress.TooLargeError
			if !c.tooLong {
				if err != nil || len(body) != 1000 {
					t.Errorf("%s limit %d: %d bytes and %v, want all", path, c.limit, len(body), err)
				}
				continue
			}
			if !errors.As(err, &tooLarge) || tooLarge.Limit != c.limit || int64(len(body)) != c.limit {
				t.Errorf("%s limit %d: %d bytes and %v, want the limit and a *TooLargeError", path, c.limit, len(body), err)
			}
			if !errors.As(again, &tooLarge) {
				t.Errorf("%s limit %d: reading on gives %v", path, c.limit, again)
			}
		}
	}
}

// closing notes that it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestARefusedRequestClosesItsBody(t *testing.T) {
	t.Parallel()
	body := &closing{Reader: strings.NewReader("x")}
	req, _ := http.NewRequest(http.MethodPost, "http://10.0.0.1/", body)
	if _, err := following(egress.New(egress.Options{})).Do(req); reasonOf(t, err) != egress.DeniedIP {
		t.Errorf("got %v", err)
	}
	if !body.closed {
		t.Error("the body stayed open")
	}
}

func TestConnectionsAreReusedAcrossClients(t *testing.T) {
	t.Parallel()
	remotes := map[string]bool{}
	door, url := serve(t, egress.Options{}, func(_ http.ResponseWriter, r *http.Request) { remotes[r.RemoteAddr] = true })
	for range 5 {
		if err := get(following(door), url); err != nil {
			t.Fatal(err)
		}
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections for five requests, want one", len(remotes))
	}
}

// A server that accepts and never says a word.
func silent(context.Context, netip.AddrPort) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		io.Copy(io.Discard, theirs) // ends when our side is closed
		theirs.Close()
	}()
	return ours, nil
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	hang := resolverFunc(func(ctx context.Context, host string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	})
	public := names{"*": {"1.1.1.1"}}
	unanswered := func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(a), Err: context.Cause(ctx)}
	}
	cases := []struct {
		name    string
		options egress.Options
		client  egress.ClientOptions
		connect func(context.Context, netip.AddrPort) (net.Conn, error)
		url     string
		after   time.Duration
		code    string
		message string
	}{
		{"DNS", egress.Options{Resolver: hang}, egress.ClientOptions{}, silent, "http://slow.example/",
			10 * time.Second, egress.CodeTryAgain, "getaddrinfo EAI_AGAIN slow.example"},
		{"connect", egress.Options{Resolver: public, DialTimeout: 3 * time.Second}, egress.ClientOptions{}, unanswered, "http://slow.example/",
			3 * time.Second, egress.CodeTimedOut, "connect ETIMEDOUT 1.1.1.1:80"},
		{"handshake", egress.Options{Resolver: public}, egress.ClientOptions{}, silent, "https://slow.example/",
			10 * time.Second, egress.CodeAborted, "timeout exceeded"},
		{"response header", egress.Options{Resolver: public}, egress.ClientOptions{}, silent, "http://slow.example/",
			2 * time.Minute, egress.CodeAborted, "timeout exceeded"},
		{"all of it", egress.Options{Resolver: public, ResponseHeaderTimeout: -1}, egress.ClientOptions{Timeout: time.Hour}, silent,
			"http://slow.example/", time.Hour, egress.CodeAborted, "timeout exceeded"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				door := egress.New(c.options)
				egress.ReplaceConnect(door, c.connect)
				start := time.Now()
				err := get(door.Client(c.client), c.url)
				if took := time.Since(start); took != c.after {
					t.Errorf("gave up after %s, want %s", took, c.after)
				}
				if code := egress.Code(err); code != c.code {
					t.Errorf("code %q (%v), want %s", code, err, c.code)
				}
				if message := egress.NodeMessage(err); message != c.message {
					t.Errorf("message %q, want %q", message, c.message)
				}
				door.Close()
				synctest.Wait()
			})
		})
	}
}
