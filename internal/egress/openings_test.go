package egress_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func TestANamedEntryOpensOneHostAndPortAndNotItsNeighbour(t *testing.T) {
	t.Parallel()
	tr := newTrap(t)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	door := egress.New(egress.Options{
		Policy:   egress.Policy{Allow: entries(t, "127.0.0.1:"+port)},
		Resolver: hostile,
	})
	defer door.Close()
	client := following(door)
	for _, host := range []string{"127.0.0.1", "127.1", "[::ffff:127.0.0.1]"} { // the same socket, spelled otherwise
		if err := get(client, "http://"+host+":"+port); err != nil {
			t.Errorf("the named entry: %v", err)
		}
	}
	for _, neighbour := range []string{
		"http://127.0.0.1:" + tr.port, "http://localhost:" + tr.port, "http://[::1]:" + tr.port, "http://rebind.example:" + tr.port,
		"http://127.0.0.2:" + port, "http://0.0.0.0:" + port, "http://[::1]:" + port, "http://localhost:" + port,
		"http://rebind.example:" + port, "http://[::127.0.0.1]:" + port, "http://127.0.0.1",
	} {
		if reasonOf(t, get(client, neighbour)) == "" {
			t.Errorf("%s was opened along with the entry", neighbour)
		}
	}
	tr.mustBeUntouched(t)
}

func TestWhatEntriesOpen(t *testing.T) {
	t.Parallel()
	const refused = ""
	dns := names{
		"git.corp.example": {"10.1.2.3"}, "corp.example": {"10.1.2.4"}, "sub.git.corp.example": {"10.1.2.3"}, "dev.test": {"127.0.0.1"}, "localhost": {"127.0.0.1"},
		"v6.corp.example": {"fd12::1"}, "ll.corp.example": {"169.254.7.7"}, "meta.corp.example": {"169.254.169.254"},
		"lo.corp.example": {"127.0.0.1"}, "nat64.corp.example": {"64:ff9b::10.1.2.3"}, "nat64.example": {"64:ff9b::8.8.8.8"},
		"api.example": {"1.1.1.1"}, "turncoat.example": {"10.1.2.3"}, "both.example": {"10.1.2.3", "10.9.9.9"}, "mapped.example": {"::ffff:1.1.1.1"},
	}
	cases := []struct {
		policy string
		url    string
		dials  string
	}{
		{`{}`, "http://git.corp.example/", refused},
		{`{}`, "http://api.example/", "1.1.1.1:80"},
		{`{}`, "https://api.example/", "1.1.1.1:443"},
		{`{"allow":["corp.example"]}`, "http://git.corp.example/", "10.1.2.3:80"},
		{`{"allow":["corp.example"]}`, "http://corp.example:8080/", "10.1.2.4:8080"},
		{`{"allow":["corp.example"]}`, "http://v6.corp.example/", "[fd12::1]:80"},
		{`{"allow":["corp.example"]}`, "http://ll.corp.example/", "169.254.7.7:80"},
		{`{"allow":["corp.example"]}`, "http://meta.corp.example/", refused},
		{`{"allow":["corp.example"]}`, "http://lo.corp.example/", refused},
		{`{"allow":["corp.example"]}`, "http://turncoat.example/", refused},
		{`{"allow":["corp.example"]}`, "http://10.1.2.3/", refused},
		{`{"allow":["git.corp.example:8443"]}`, "http://git.corp.example:8443/", "10.1.2.3:8443"},
		{`{"allow":["git.corp.example:8443"]}`, "http://git.corp.example/", refused},
		{`{"allow":["git.corp.example:80"]}`, "http://sub.git.corp.example/", refused},
		{`{"allow":["meta.corp.example:80"]}`, "http://meta.corp.example/", refused},
		{`{"allow":["169.254.169.254:80"]}`, "http://169.254.169.254/", "169.254.169.254:80"},
		{`{"allow":["169.254.169.254:80"]}`, "http://meta.corp.example/", refused},
		{`{"allow":["dev.test:3000"]}`, "http://dev.test:3000/", "127.0.0.1:3000"},
		{`{"allow":["localhost:3000"]}`, "http://localhost:3000/", "127.0.0.1:3000"},
		{`{"allow":["localhost:3000"]}`, "http://127.0.0.1:3000/", refused},
		{`{"allow":["10.1.0.0/16"]}`, "http://git.corp.example/", "10.1.2.3:80"},
		{`{"allow":["10.1.0.0/16"]}`, "http://10.1.2.3:99/", "10.1.2.3:99"},
		{`{"allow":["10.1.0.0/16"]}`, "http://10.2.0.1/", refused},
		{`{"allow":["10.1.0.0/16"]}`, "http://both.example/", refused},
		{`{"allow":["10.1.0.0/16"]}`, "http://api.example/", "1.1.1.1:80"},
		{`{"allow":["64:ff9b::/96"]}`, "http://nat64.example/", "[64:ff9b::808:808]:80"},
		{`{"allow":["64:ff9b::/96"]}`, "http://nat64.corp.example/", refused},
		{`{"allow_private":true}`, "http://git.corp.example/", "10.1.2.3:80"},
		{`{"allow_private":true}`, "http://ll.corp.example/", refused},
		{`{"allow_link_local":true}`, "http://ll.corp.example/", "169.254.7.7:80"},
		{`{"allow_link_local":true}`, "http://git.corp.example/", refused},
		{`{"allow_private":true,"deny":["10.1.2.0/24"]}`, "http://git.corp.example/", refused},
		{`{"allow_private":true,"deny":["10.1.2.3:80"]}`, "http://git.corp.example/", refused},
		{`{"allow_private":true,"deny":["10.1.2.3:80"]}`, "http://git.corp.example:81/", "10.1.2.3:81"},
		{`{"allow":["git.corp.example:80"],"deny":["corp.example"]}`, "http://git.corp.example/", refused},
		{`{"deny":["1.1.1.1"]}`, "http://api.example/", refused},
		{`{"deny":["1.1.1.1:80"]}`, "http://mapped.example/", refused},
		{`{"deny":["1.1.0.0/16"]}`, "http://mapped.example/", refused},
		{`{}`, "http://mapped.example/", "1.1.1.1:80"},
		{`{"allow":["fe80::/10"]}`, "http://[fe80::1%25eth0]/", "[fe80::1%eth0]:80"},
		{`{"allow":["fe80::/10"],"deny":["fe80::1"]}`, "http://[fe80::1%25eth0]/", refused},
		{`{"allow":["fe80::/10"],"deny":["[fe80::1]:80"]}`, "http://[fe80::1%25eth0]/", refused},
		// Allowlist mode: names admit, addresses open.
		{`{"mode":"allowlist","allow":["api.example"]}`, "http://api.example/", "1.1.1.1:80"},
		{`{"mode":"allowlist","allow":["turncoat.example"]}`, "http://turncoat.example/", refused},
		{`{"mode":"allowlist","allow":["turncoat.example:80"]}`, "http://turncoat.example/", refused},
		{`{"mode":"allowlist","allow":["dev.test:3000"]}`, "http://dev.test:3000/", refused},
		{`{"mode":"allowlist","allow":["localhost:3000"]}`, "http://localhost:3000/", "127.0.0.1:3000"},
		{`{"mode":"allowlist","allow":["127.0.0.1:3000"]}`, "http://127.0.0.1:3000/", "127.0.0.1:3000"},
		{`{"mode":"allowlist","allow":["corp.example","10.1.0.0/16"]}`, "http://git.corp.example/", "10.1.2.3:80"},
		{`{"mode":"allowlist","allow":["10.1.0.0/16"]}`, "http://git.corp.example/", "10.1.2.3:80"},
		{`{"mode":"allowlist","allow":["10.1.0.0/16"]}`, "http://both.example/", refused},
		{`{"mode":"allowlist","allow":["10.1.0.0/16"]}`, "http://api.example/", refused},
		{`{"mode":"allowlist","allow":["1.1.1.1"]}`, "http://api.example/", "1.1.1.1:80"},
		{`{"mode":"allowlist"}`, "http://api.example/", refused},
	}
	for _, c := range cases {
		policy, err := egress.ParsePolicy(c.policy)
		if err != nil {
			t.Fatalf("%s: %v", c.policy, err)
		}
		door := egress.New(egress.Options{Policy: policy, Resolver: dns})
		var kernel recorder
		egress.ReplaceConnect(door, kernel.connect)
		err = get(following(door), c.url)
		var dialed []string
		for _, a := range kernel.take() {
			dialed = append(dialed, a.String())
		}
		var want []string
		if c.dials != refused {
			want = []string{c.dials}
		} else if reasonOf(t, err) == "" {
			t.Errorf("%s: GET %s is not refused", c.policy, c.url)
		}
		if diff := cmp.Diff(want, dialed); diff != "" {
			t.Errorf("%s: GET %s dials (-want +got):\n%s", c.policy, c.url, diff)
		}
	}
}
