package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// web is a plain and a TLS server that stand for every host: connections to port 80 and to any other port than 443 reach
// the plain one. Each request is noted; a path "/to/<URL>" redirects there with 302, "/307/<URL>" with 307.
type web struct {
	plain, secure *httptest.Server

	mu   sync.Mutex
	seen []seen
}

type seen struct {
	URL, Method, Body string
	Header            http.Header
}

func newWeb(t testing.TB) *web {
	w := &web{}
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		scheme := "http://"
		if r.TLS != nil {
			scheme = "https://"
		}
		w.mu.Lock()
		w.seen = append(w.seen, seen{scheme + r.Host + r.URL.Path, r.Method, string(body), r.Header.Clone()})
		w.mu.Unlock()
		if to, ok := strings.CutPrefix(r.URL.Path, "/to/"); ok {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusFound)
		} else if to, ok := strings.CutPrefix(r.URL.Path, "/307/"); ok {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	w.plain, w.secure = httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(func() { w.plain.Close(); w.secure.Close() })
	return w
}

func (w *web) client(t testing.TB, policy egress.Policy, o egress.ClientOptions) *http.Client {
	door := egress.New(egress.Options{Policy: policy, Resolver: names{"*": {"1.1.1.1"}}})
	egress.ReplaceConnect(door, func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		server := w.plain
		if a.Port() == 443 {
			server = w.secure
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	o.TLS = trusting(w.secure)
	client := door.Client(o)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// last gives the latest request, and forgets all.
func (w *web) last() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[len(w.seen)-1]
	w.seen = nil
	return s
}

var sent = http.Header{
	"Authorization": {"Bearer secret"}, "X-Api-Key": {"secret"}, "Cookie": {"session=secret"}, "X-Trace": {"1"},
	"Accept": {"text/plain"}, "Accept-Encoding": {"br"}, "User-Agent": {"tests"}, "Content-Type": {"text/csv"},
}

func headerNames(h http.Header) []string {
	var list []string
	for name := range h {
		if name != "Content-Length" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func TestHeadersOnRedirects(t *testing.T) {
	t.Parallel()
	all := headerNames(sent)
	safe := []string{"Accept", "Accept-Encoding", "Content-Type", "User-Agent"}
	marked := []string{"Accept", "Accept-Encoding", "Content-Type", "User-Agent", "X-Trace"}
	marking := egress.ClientOptions{SensitiveHeaders: []string{"x-api-key"}}
	forwarding := egress.ClientOptions{ForwardHeaders: true}
	cases := []struct {
		name    string
		options egress.ClientOptions
		path    string // from https://example.com unless from says otherwise
		from    string
		want    []string
	}{
		{"same host", egress.ClientOptions{}, "/307/https://example.com/", "", all},
		{"relative", egress.ClientOptions{}, "/307//elsewhere", "", all},
		{"sub-domain", egress.ClientOptions{}, "/307/https://eu.example.com/", "", all},
		{"same host, usual step to https", egress.ClientOptions{}, "/307/https://example.com/", "http://example.com", all},
		{"other host", egress.ClientOptions{}, "/307/http://evil.test/", "", safe},
		{"parent domain", egress.ClientOptions{}, "/307/https://example.com/", "https://eu.example.com", safe},
		{"sibling domain", egress.ClientOptions{}, "/307/https://us.example.com/", "https://eu.example.com", safe},
		{"name that only ends alike", egress.ClientOptions{}, "/307/http://evilexample.com/", "http://example.com", safe},
		{"https to http on the same host", egress.ClientOptions{}, "/307/http://example.com/", "", safe},
		{"https to http on a sub-domain", egress.ClientOptions{}, "/307/http://eu.example.com/", "", safe},
		{"other port", egress.ClientOptions{}, "/307/http://example.com:8080/", "http://example.com", safe},
		{"http on another port to https", egress.ClientOptions{}, "/307/https://example.com/", "http://example.com:8080", safe},
		{"there and back", egress.ClientOptions{}, "/307/http://evil.test/307/http://example.com/", "http://example.com", safe},
		{"address to sub-domain of digits", egress.ClientOptions{}, "/307/http://1.1.1.1.nip.test/", "http://1.1.1.1", safe},
		{"other host, marked", marking, "/307/http://evil.test/", "", marked},
		{"same host, marked", marking, "/307/https://example.com/", "", all},
		{"other port, marked", marking, "/307/http://example.com:8080/", "http://example.com", marked},
		{"https to http, marked", marking, "/307/http://example.com/", "", marked},
		{"other host, forwarding", forwarding, "/307/http://evil.test/", "", all},
		{"https to http, forwarding", forwarding, "/307/http://example.com/", "", all},
		{"there and back, forwarding", forwarding, "/307/http://evil.test/307/https://example.com/", "", all},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWeb(t)
			c.options.FollowRedirects = true
			from := c.from
			if from == "" {
				from = "https://example.com"
			}
			req, err := http.NewRequest(http.MethodGet, from+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = sent.Clone()
			res, err := w.client(t, egress.Policy{}, c.options).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if diff := cmp.Diff(c.want, headerNames(w.last().Header)); diff != "" {
				t.Errorf("headers at the end of the chain (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(sent, req.Header); diff != "" {
				t.Errorf("the caller's headers were changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSameParty(t *testing.T) {
	t.Parallel()
	cases := []struct {
		origin, next string
		want         bool
	}{
		{"https://a.example", "https://a.example:443/x?y", true},
		{"https://a.example", "https://A.EXAMPLE./", true},
		{"https://a.example", "https://b.a.example", true},
		{"https://a.example:8443", "https://a.example:8443", true},
		{"http://a.example", "http://a.example", true},
		{"http://a.example", "https://a.example", true},
		{"http://a.example:80", "https://b.a.example:443", true},
		{"http://127.0.0.1:80", "http://0x7f.1", true},
		{"https://a.example", "http://a.example", false},
		{"https://a.example:8080", "http://a.example:8080", false},
		{"https://a.example:80", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"http://a.example", "https://a.example:8443", false},
		{"http://a.example:8080", "https://a.example", false},
		{"https://b.a.example", "https://a.example", false},
		{"https://a.example", "https://ba.example", false},
		{"https://a.example", "https://a.example.b.example", false},
		{"http://1.1.1.1", "http://1.1.1.2", false},
		{"http://a.example", "ftp://a.example", false},
		{"http://a.example", "http://user@a.example", false},
		{"http://user@a.example", "http://a.example", false},
	}
	for _, c := range cases {
		origin, err1 := url.Parse(c.origin)
		next, err2 := url.Parse(c.next)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if got := egress.SameParty(origin, next); got != c.want {
			t.Errorf("%s to %s: %v, want %v", c.origin, c.next, got, c.want)
		}
	}
}

func TestARedirectDoesNotTellWhereItCameFrom(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	client := w.client(t, egress.Policy{}, egress.ClientOptions{FollowRedirects: true, SensitiveHeaders: []string{}})
	if err := get(client, "http://example.com/to/http://evil.test/?api_key=secret"); err != nil {
		t.Fatal(err)
	}
	if got := w.last(); got.Header.Get("Referer") != "" {
		t.Errorf("Referer %q was sent", got.Header.Get("Referer"))
	}
	req, _ := http.NewRequest(http.MethodGet, "http://example.com/to/http://example.com/", nil)
	req.Header.Set("Referer", "https://own.example/")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := w.last().Header.Get("Referer"); got != "https://own.example/" {
		t.Errorf("the caller's own Referer became %q", got)
	}
}

func TestBodiesOnRedirects(t *testing.T) {
	t.Parallel()
	cases := []struct {
		path    string
		forward bool
		want    seen
	}{
		{"/to/http://evil.test/", false, seen{URL: "http://evil.test/", Method: "GET"}},
		{"/to/http://evil.test/", true, seen{URL: "http://evil.test/", Method: "GET"}},
		{"/307/http://evil.test/", false, seen{URL: "http://evil.test/", Method: "POST", Body: "payload"}},
		{"/307/http://evil.test/to/http://evil.test/", false, seen{URL: "http://evil.test/", Method: "GET"}},
	}
	for _, c := range cases {
		w := newWeb(t)
		client := w.client(t, egress.Policy{}, egress.ClientOptions{FollowRedirects: true, ForwardHeaders: c.forward})
		req, _ := http.NewRequest(http.MethodPost, "http://example.com"+c.path, strings.NewReader("payload"))
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Content-Encoding", "identity")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got := w.last()
		for _, name := range []string{"Content-Type", "Content-Encoding"} {
			if has := got.Header.Get(name) != ""; has != (c.want.Body != "") {
				t.Errorf("%s: %s sent: %v, with body %q", c.path, name, has, got.Body)
			}
		}
		got.Header = nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
	}
}

func TestABodyThatCanNotBeRepeatedIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	client := w.client(t, egress.Policy{}, egress.ClientOptions{FollowRedirects: true})
	req, _ := http.NewRequest(http.MethodPost, "http://example.com/307/http://evil.test/", io.MultiReader(strings.NewReader("stream")))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusTemporaryRedirect || len(w.seen) != 1 {
		t.Errorf("status %d after %d requests, want the 307 itself", res.StatusCode, len(w.seen))
	}
}

func TestRedirectLimit(t *testing.T) {
	t.Parallel()
	cases := []struct {
		setting, hops int
		follows       bool
	}{{0, 5, true}, {0, 6, false}, {2, 2, true}, {2, 3, false}, {-1, 0, true}, {-1, 1, false}}
	for _, c := range cases {
		w := newWeb(t)
		client := w.client(t, egress.Policy{MaxRedirects: c.setting}, egress.ClientOptions{FollowRedirects: true})
		url := "http://example.com/" + strings.Repeat("to/http://example.com/", c.hops)
		err := get(client, url)
		if c.follows && err != nil {
			t.Errorf("setting %d, %d hops: %v", c.setting, c.hops, err)
		}
		if !c.follows {
			if reasonOf(t, err) != egress.TooManyRedirects || egress.Code(err) != egress.CodeTooManyRedirects {
				t.Errorf("setting %d, %d hops: %v, want %s", c.setting, c.hops, err, egress.TooManyRedirects)
			}
			if len(w.seen) != c.hops {
				t.Errorf("setting %d, %d hops: %d requests were sent, want %d", c.setting, c.hops, len(w.seen), c.hops)
			}
		}
	}
}

func TestWithoutFollowRedirectsTheRedirectIsTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	res, err := w.client(t, egress.Policy{}, egress.ClientOptions{}).Get("http://example.com/to/http://127.0.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "http://127.0.0.1/" || len(w.seen) != 1 {
		t.Errorf("status %d, Location %q after %d requests", res.StatusCode, res.Header.Get("Location"), len(w.seen))
	}
}

func TestEachHopIsOneDecision(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(r.URL.Path[1:]); n > 0 {
			w.Header().Set("Location", "/"+strconv.Itoa(n-1))
			w.WriteHeader(http.StatusFound)
		} else if r.URL.Path != "/0" {
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	var decisions []egress.Decision
	door := egress.New(egress.Options{
		Policy:     egress.Policy{Allow: entries(t, address, closed.Addr().String()), MaxRedirects: 2},
		Resolver:   names{"inside.example": {"10.0.0.1"}},
		OnDecision: func(d egress.Decision) { decisions = append(decisions, d) },
	})
	defer door.Close()
	client := following(door)
	yes := egress.Decision{Allowed: true, Host: "127.0.0.1"}
	cases := []struct {
		url  string
		want []egress.Decision
	}{
		{"http://" + address + "/0", []egress.Decision{yes}},
		{"http://" + address + "/2", []egress.Decision{yes, yes, yes}},
		{"http://" + address + "/3", []egress.Decision{yes, yes, yes, {Reason: egress.TooManyRedirects, Host: "127.0.0.1"}}},
		{"http://" + closed.Addr().String(), []egress.Decision{yes}}, // refused by the network, not by the policy
		{"http://localhost/", []egress.Decision{{Reason: egress.DeniedHostname, Host: "localhost"}}},
		{"http://Inside.example/", []egress.Decision{{Reason: egress.DeniedDNS, Host: "inside.example"}}},
		{"http://gone.example/", []egress.Decision{{Reason: egress.DNSFailed, Host: "gone.example"}}},
		{"ftp://a.example/", []egress.Decision{{Reason: egress.InvalidScheme, Host: "a.example"}}},
		{"http://" + address + "/x?to=http://10.0.0.1/", []egress.Decision{yes, {Reason: egress.RedirectDenied, Host: "10.0.0.1"}}},
		{"http://" + address + "/x?to=http://inside.example/",
			[]egress.Decision{yes, {Reason: egress.RedirectDenied, Host: "inside.example"}}},
	}
	for _, c := range cases {
		decisions = nil
		res, err := client.Get(c.url)
		if err == nil {
			res.Body.Close()
		}
		if diff := cmp.Diff(c.want, decisions); diff != "" {
			t.Errorf("GET %s (-want +got):\n%s", c.url, diff)
		}
	}
	if _, err := door.CheckURL("http://localhost/"); err == nil || len(decisions) != 2 {
		t.Errorf("CheckURL gave %v and counted as a request", err)
	}
}
