package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func TestDNSThatChangesItsAnswerBetweenCheckAndDialGainsNothing(t *testing.T) {
	t.Parallel()
	tr := newTrap(t)
	answers := []string{"1.1.1.1", "127.0.0.1", "1.0.0.1", "127.0.0.1"}
	var lookups atomic.Int64
	door := egress.New(egress.Options{Resolver: resolverFunc(func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(answers[lookups.Add(1)-1])}, nil
	})})
	var kernel recorder
	egress.ReplaceConnect(door, kernel.connect)
	client := following(door)
	for i, want := range answers {
		err := get(client, "http://rebind.example:"+tr.port+"/")
		if n := lookups.Load(); n != int64(i)+1 {
			t.Fatalf("%d look-ups after %d dials, want one each", n, i+1)
		}
		dialed := kernel.take()
		if want == "127.0.0.1" {
			if reasonOf(t, err) != egress.DeniedDNS || len(dialed) != 0 {
				t.Errorf("dial %d: %v and dialled %v, want a refusal", i, err, dialed)
			}
			continue
		}
		if !errors.Is(err, errNotDialled) || len(dialed) != 1 || dialed[0].Addr().String() != want {
			t.Errorf("dial %d: %v and dialled %v, want exactly the checked address %s", i, err, dialed, want)
		}
	}
	tr.mustBeUntouched(t)
}

func TestOneBadAddressSpoilsTheAnswer(t *testing.T) {
	t.Parallel()
	for _, answer := range [][]string{
		{"1.1.1.1", "10.0.0.1"}, {"10.0.0.1", "1.1.1.1"}, {"2606:4700::1", "1.1.1.1", "::1"}, {"1.1.1.1", "fe80::1%eth0"},
	} {
		door := egress.New(egress.Options{Resolver: names{"*": answer}})
		var kernel recorder
		egress.ReplaceConnect(door, kernel.connect)
		err := get(following(door), "http://api.example/")
		if reasonOf(t, err) != egress.DeniedDNS {
			t.Errorf("%v: %v, want %s", answer, err, egress.DeniedDNS)
		}
		if dialed := kernel.take(); len(dialed) != 0 {
			t.Errorf("%v: dialled %v", answer, dialed)
		}
	}
}

func TestTheSocketAddressIsCheckedASecondTime(t *testing.T) {
	t.Parallel()
	door := egress.New(egress.Options{Policy: egress.Policy{Allow: entries(t, "127.0.0.1:3999")}})
	public := netip.MustParseAddr("1.1.1.1")
	cases := []struct {
		host    string
		checked netip.Addr
		socket  string
		want    egress.Reason
	}{
		{"api.example:443", public, "1.1.1.1:443", ""},
		{"api.example:443", public, "1.1.1.2:443", egress.DeniedIP},
		{"api.example:443", public, "1.1.1.1:80", egress.DeniedIP},
		{"api.example:443", public, "127.0.0.1:443", egress.DeniedIP},
		{"api.example:443", public, "/run/docker.sock", egress.DeniedIP},
		{"api.example:443", netip.MustParseAddr("10.0.0.1"), "10.0.0.1:443", egress.DeniedDNS}, // had the first check been skipped
		{"127.0.0.1:3999", netip.MustParseAddr("127.0.0.1"), "127.0.0.1:3999", ""},
		{"127.0.0.1:3999", netip.MustParseAddr("10.0.0.1"), "10.0.0.1:3999", egress.DeniedIP},
		{"127.0.0.1:4000", netip.MustParseAddr("127.0.0.1"), "127.0.0.1:4000", egress.DeniedIP},
	}
	for _, c := range cases {
		err := egress.ControlHook(door, c.host, c.checked)("tcp4", c.socket, nil)
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("socket to %s for %s: %v, want %q", c.socket, c.host, err, c.want)
		}
	}

	tr := newTrap(t)
	conn, err := egress.Connect(t.Context(), door, "api.example:"+tr.port, netip.MustParseAddr("127.0.0.1"))
	if reasonOf(t, err) != egress.DeniedDNS || conn != nil {
		t.Errorf("a socket that only the second check could stop: %v", err)
	}
	tr.mustBeUntouched(t)
}

// The certificate is good for both names and both resolve to one address: a client that coalesced HTTP/2 connections by
// certificate would send the second request over the first connection and never ask the policy.
func TestHTTP2ConnectionsAreNotSharedAcrossNames(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		fmt.Fprint(w, r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	door := egress.New(egress.Options{
		Policy:   egress.Policy{Allow: entries(t, "a.example.com:"+port)},
		Resolver: names{"*": {"127.0.0.1"}},
	})
	client := door.Client(egress.ClientOptions{TLS: trusting(server)})
	defer client.CloseIdleConnections()
	res, err := client.Get("https://a.example.com:" + port)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "HTTP/2.0" {
		t.Errorf("spoke %s, want HTTP/2.0", body)
	}
	if got := reasonOf(t, get(client, "https://b.example.com:"+port)); got != egress.DeniedDNS {
		t.Errorf("the other name: %q, want %s", got, egress.DeniedDNS)
	}
	if n := served.Load(); n != 1 {
		t.Errorf("%d requests served, want 1", n)
	}
}

// net/http reads the variables once per process, so the check runs in a process of its own.
func TestProxyEnvironmentVariablesAreIgnored(t *testing.T) {
	if url := os.Getenv("EGRESS_TEST_URL"); url != "" {
		host := strings.TrimPrefix(url, "http://")
		door := egress.New(egress.Options{
			Policy:   egress.Policy{Allow: entries(t, host)},
			Resolver: names{"api.example": {"127.0.0.1"}},
		})
		if err := get(following(door), url); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	tr := newTrap(t)
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	child := exec.Command(os.Args[0], "-test.run=^TestProxyEnvironmentVariablesAreIgnored$")
	proxy := "http://127.0.0.1:" + tr.port
	child.Env = append(os.Environ(), "EGRESS_TEST_URL=http://api.example:"+port,
		"HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy, "ALL_PROXY="+proxy, "http_proxy="+proxy, "https_proxy="+proxy, "NO_PROXY=")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if served.Load() != 1 {
		t.Errorf("the server was asked %d times, want 1", served.Load())
	}
	tr.mustBeUntouched(t)
}
