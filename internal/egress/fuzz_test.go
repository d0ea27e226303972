package egress_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// closedByHand is an opinion on addresses that shares nothing with Classify: the predicates of package net, asked about
// the address and about every IPv4 address that a tunnel or translator could find in it.
func closedByHand(a netip.Addr) bool {
	ip := net.IP(a.WithZone("").AsSlice())
	forms := []net.IP{ip}
	if len(ip) == net.IPv6len && ip.To4() == nil {
		switch {
		case ip[0] == 0x20 && ip[1] == 0x02: // 6to4
			forms = append(forms, ip[2:6])
		case ip[0] == 0x00, ip[8]&^3 == 0 && ip[9] == 0 && ip[10] == 0x5e && ip[11] == 0xfe: // compatible, NAT64, ISATAP
			forms = append(forms, ip[12:16])
		case ip[0] == 0x20 && ip[1] == 0x01 && ip[2] == 0 && ip[3] == 0: // Teredo
			return true
		}
	}
	for _, form := range forms {
		if !form.IsGlobalUnicast() || form.IsPrivate() || form.IsLoopback() || form.IsLinkLocalUnicast() {
			return true
		}
		if v4 := form.To4(); v4 != nil {
			if v4[0] == 0 || v4[0] >= 224 || (v4[0] == 100 && v4[1]&0xc0 == 64) {
				return true
			}
		}
		if form.Equal(net.IPv4(168, 63, 129, 16)) || form.Equal(net.IPv4(192, 0, 0, 192)) {
			return true
		}
	}
	return a.Zone() != ""
}

// Whatever the URL says and whatever the DNS answers, on the first request or after a redirect, the kernel is never asked
// to connect to a blocked address.
func FuzzNeverDialsABlockedAddress(f *testing.F) {
	tr := &trap{port: "80", socket: "/run/docker.sock"}
	answers := [][]byte{
		{127, 0, 0, 1}, {1, 1, 1, 1}, {10, 0, 0, 1}, {0, 0, 0, 0}, {169, 254, 169, 254},
		netip.MustParseAddr("::1").AsSlice(), netip.MustParseAddr("::ffff:127.0.0.1").AsSlice(),
		netip.MustParseAddr("64:ff9b::a00:1").AsSlice(), netip.MustParseAddr("2606:4700::1").AsSlice(),
		{1, 1, 1, 1, 127, 0, 0, 1},
	}
	for i, b := range bypasses {
		f.Add(tr.fill(b.url), answers[i%len(answers)])
	}
	for _, host := range []string{"api.example", "1.1.1.1", "[2606:4700::1]", "xn--bcher-kva.example", "134744072"} {
		for _, answer := range answers {
			f.Add("http://"+host+"/", answer)
		}
	}
	f.Fuzz(func(t *testing.T, text string, answer []byte) {
		addrs := addresses(answer)
		door := egress.New(egress.Options{Resolver: resolverFunc(func(context.Context, string) ([]netip.Addr, error) {
			return addrs, nil
		})})
		var kernel recorder
		egress.ReplaceConnect(door, kernel.connect)
		client := following(door)
		// As a whole URL, as a host, as a URL put together by hand, and as what a dialer is given.
		for _, raw := range []string{text, "http://" + text + "/", "https://" + text + ":8443/", "http://[" + text + "]/"} {
			if req, err := http.NewRequest(http.MethodGet, raw, nil); err == nil {
				if res, err := client.Do(req); err == nil {
					res.Body.Close()
					t.Errorf("%q was answered", raw)
				}
			}
		}
		req := &http.Request{Method: http.MethodGet, Header: http.Header{}, URL: &url.URL{Scheme: "http", Host: text, Path: "/"}}
		if res, err := client.Do(req.WithContext(t.Context())); err == nil {
			res.Body.Close()
			t.Errorf("host %q was answered", text)
		}
		if conn, err := door.DialContext(t.Context(), "tcp", text); err == nil {
			conn.Close()
			t.Errorf("dial %q was answered", text)
		}
		for _, a := range kernel.take() {
			if closedByHand(a.Addr()) {
				t.Errorf("%q with DNS answer %v dials %s", text, addrs, a)
			}
		}
	})
}

// addresses reads a DNS answer: 16-byte pieces, the rest as 4-byte pieces.
func addresses(b []byte) []netip.Addr {
	var list []netip.Addr
	for len(b) >= 16 {
		list = append(list, netip.AddrFrom16([16]byte(b[:16])))
		b = b[16:]
	}
	for len(b) >= 4 {
		list = append(list, netip.AddrFrom4([4]byte(b[:4])))
		b = b[4:]
	}
	return list
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"mode":"allowlist","allow":["corp.example","10.0.0.0/8","[::1]:80"],"deny":["x"],"max_redirects":3}`)
	f.Add(`{"allow":["0x7f.1:80"]}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		policy, err := egress.ParsePolicy(text)
		if err != nil {
			return
		}
		for _, e := range append(policy.Allow, policy.Deny...) {
			if again, err := egress.ParseEntry(e.String()); err != nil || again != e {
				t.Errorf("entry %q reads back as %q, %v", e, again, err)
			}
		}
		// No policy opens loopback or metadata without a port.
		_, err = egress.New(egress.Options{Policy: egress.Policy{Allow: policy.Allow}}).CheckURL("http://169.254.169.254:49321/")
		if err == nil && !containsEntry(policy.Allow, "169.254.169.254:49321") {
			t.Errorf("%s opens the metadata service", text)
		}
	})
}

func containsEntry(list []egress.Entry, text string) bool {
	for _, e := range list {
		if e.String() == text {
			return true
		}
	}
	return false
}
