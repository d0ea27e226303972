package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func TestDialContext(t *testing.T) {
	t.Parallel()
	tr := newTrap(t)
	l := listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	var decisions []egress.Decision
	door := egress.New(egress.Options{
		Policy:     egress.Policy{Allow: entries(t, l.Addr().String())},
		Resolver:   hostile,
		OnDecision: func(d egress.Decision) { decisions = append(decisions, d) },
	})
	conn, err := door.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, c := range []struct {
		network, address string
		want             egress.Reason
	}{
		{"tcp", "127.0.0.1:" + tr.port, egress.DeniedIP},
		{"tcp4", "rebind.example:" + tr.port, egress.DeniedDNS},
		{"tcp", "[::1%lo]:" + tr.port, egress.DeniedIP},
		{"tcp", "localhost:" + tr.port, egress.DeniedHostname},
		{"tcp", "api.example", egress.InvalidURL},
		{"tcp", "api.example:http", egress.InvalidURL},
		{"tcp", ":80", egress.InvalidURL},
		{"unix", tr.socket, egress.InvalidURL},
		{"unix", l.Addr().String(), egress.InvalidURL},
		{"udp", l.Addr().String(), egress.InvalidURL},
		{"", l.Addr().String(), egress.InvalidURL},
	} {
		decisions = nil
		conn, err := door.DialContext(t.Context(), c.network, c.address)
		if got := reasonOf(t, err); got != c.want || conn != nil {
			t.Errorf("dial %s %s: %v, want %s", c.network, c.address, err, c.want)
		}
		if len(decisions) != 1 || decisions[0].Reason != c.want || decisions[0].Allowed {
			t.Errorf("dial %s %s counted as %+v", c.network, c.address, decisions)
		}
	}
	tr.mustBeUntouched(t)
}

// behaviour of one address in a race: "ok", "fail" and "hang", each after a time.
type behaviour struct {
	how   string
	after time.Duration
}

func TestASlowAddressDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	const (
		a = "2606:4700::1"
		b = "2606:4700::2"
		c = "1.1.1.1"
		d = "1.0.0.1"
	)
	cases := []struct {
		name   string
		answer []string
		how    map[string]behaviour
		order  []string // in which addresses are tried
		winner string   // "" when all fail
		after  time.Duration
	}{
		{"the first answers", []string{a, c}, map[string]behaviour{a: {"ok", 200 * time.Millisecond}},
			[]string{a}, a, 200 * time.Millisecond},
		{"the first hangs", []string{a, b, c}, map[string]behaviour{a: {"hang", 0}, c: {"ok", time.Millisecond}},
			[]string{a, c}, c, 251 * time.Millisecond},
		{"the first is refused", []string{c, d, a}, map[string]behaviour{c: {"fail", 5 * time.Millisecond}, a: {"ok", time.Millisecond}},
			[]string{c, a}, a, 6 * time.Millisecond},
		{"the slow one still wins", []string{a, c}, map[string]behaviour{a: {"ok", 300 * time.Millisecond}, c: {"ok", 400 * time.Millisecond}},
			[]string{a, c}, a, 300 * time.Millisecond},
		{"all refuse", []string{a, c, b, d}, map[string]behaviour{a: {"fail", 0}, b: {"fail", 0}, c: {"fail", 0}, d: {"fail", 0}},
			[]string{a, c, b, d}, "", 0},
		{"all hang", []string{a, c, d}, map[string]behaviour{a: {"hang", 0}, c: {"hang", 0}, d: {"hang", 0}},
			[]string{a, c, d}, "", 10 * time.Second},
		{"one refuses, one hangs", []string{a, c}, map[string]behaviour{a: {"hang", 0}, c: {"fail", 0}},
			[]string{a, c}, "", 10 * time.Second},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				door := egress.New(egress.Options{Resolver: names{"*": tc.answer}})
				var mu sync.Mutex
				var tried []string
				var open atomic.Int64
				egress.ReplaceConnect(door, func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
					ip := address.Addr().String()
					mu.Lock()
					tried = append(tried, ip)
					mu.Unlock()
					how := tc.how[ip]
					if how.how == "hang" {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					time.Sleep(how.after) // virtual time; deaf to ctx, as a connect that just succeeded is
					if how.how == "fail" {
						return nil, fmt.Errorf("%s: refused", ip)
					}
					open.Add(1)
					return &countedConn{ip: ip, open: &open}, nil
				})
				start := time.Now()
				conn, err := door.DialContext(t.Context(), "tcp", "api.example:443")
				if took := time.Since(start); took != tc.after {
					t.Errorf("took %s, want %s", took, tc.after)
				}
				switch {
				case tc.winner == "":
					if err == nil || errors.Is(err, context.Canceled) {
						t.Errorf("got %v, want the first failure", err)
					}
				case err != nil || conn.(*countedConn).ip != tc.winner:
					t.Errorf("connected to %v (%v), want %s", conn, err, tc.winner)
				default:
					conn.Close()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if diff := cmp.Diff(tc.order, tried); diff != "" {
					t.Errorf("order (-want +got):\n%s", diff)
				}
				if n := open.Load(); n != 0 {
					t.Errorf("%d connections of the losers stay open", n)
				}
			})
		})
	}
}

type countedConn struct {
	net.Conn
	ip   string
	open *atomic.Int64
}

func (c *countedConn) Close() error { c.open.Add(-1); return nil }

func TestAnAbsoluteNameIsLookedUpWithoutSearchDomains(t *testing.T) {
	t.Parallel()
	var asked []string
	door := egress.New(egress.Options{Resolver: resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		asked = append(asked, host)
		return nil, &net.DNSError{Name: host, IsNotFound: true}
	})})
	for _, host := range []string{"API.example", "api.example.", "bücher.example"} {
		if err := get(following(door), "http://"+host+"/"); egress.Code(err) != egress.CodeNotFound {
			t.Errorf("%s: %v", host, err)
		}
	}
	if diff := cmp.Diff([]string{"api.example", "api.example.", "xn--bcher-kva.example"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
