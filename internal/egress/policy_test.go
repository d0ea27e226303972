package egress_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func entries(t testing.TB, texts ...string) []egress.Entry {
	t.Helper()
	var list []egress.Entry
	for _, text := range texts {
		e, err := egress.ParseEntry(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	sameEntry := cmp.Comparer(func(a, b egress.Entry) bool { return a == b })
	cases := []struct {
		text string
		want egress.Policy
	}{
		{`{}`, egress.Policy{}},
		{`{"mode":"allowlist"}`, egress.Policy{Mode: egress.Allowlist}},
		{`{"mode":"permissive","allow_private":true,"allow_link_local":true,"max_redirects":3}`,
			egress.Policy{Mode: egress.Permissive, AllowPrivate: true, AllowLinkLocal: true, MaxRedirects: 3}},
		{`{"max_redirects":0}`, egress.Policy{MaxRedirects: -1}},
		{`{"deny":[".Bad.example","10.0.0.0/8","localhost"],"allow":["git.corp:8443","[::1]:3999","10.1.2.3"]}`,
			egress.Policy{
				Deny:  entries(t, "bad.example", "10.0.0.0/8", "localhost"),
				Allow: entries(t, "git.corp:8443", "[::1]:3999", "10.1.2.3/32"),
			}},
	}
	for _, c := range cases {
		got, err := egress.ParsePolicy(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, sameEntry); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestAPolicyThatDoesNotParseIsAnError(t *testing.T) {
	t.Parallel()
	cases := []struct{ text, says string }{
		{``, "EOF"},
		{`null`, "null"},
		{`[]`, "array"},
		{`{"mode":"off"}`, `"off"`},
		{`{"denylist":[]}`, `"denylist"`},
		{`{} {}`, "after"},
		{`{"mode":"allowlist"`, "EOF"},
		{`{"max_redirects":-1}`, "0 to 20"},
		{`{"max_redirects":21}`, "0 to 20"},
		{`{"allow_private":"yes"}`, "allow_private"},
		{`{"deny":["http://bad.example/"]}`, "not a URL"},
		{`{"deny":[""]}`, "no host"},
		{`{"deny":["10.0.0.1/8"]}`, "10.0.0.0/8"},
		{`{"deny":["::ffff:10.0.0.0/104"]}`, "IPv4"},
		{`{"allow":["*.corp.example"]}`, "not a host name"},
		{`{"allow":[".corp.example:80"]}`, "exact host"},
		{`{"allow":[".10.0.0.1"]}`, "no sub-domains"},
		{`{"allow":["corp.example:0"]}`, "port"},
		{`{"allow":["corp.example:http"]}`, "port"},
		{`{"allow":["corp.example:70000"]}`, "port"},
		{`{"allow":["fe80::1%eth0"]}`, "not a URL"},
		{`{"allow":["1.2.3.4.5"]}`, "not an IP address"},
		// These look like openings and could never open anything.
		{`{"allow":["localhost"]}`, "host:port"},
		{`{"allow":["metadata.google.internal"]}`, "host:port"},
		{`{"allow":["127.0.0.1"]}`, "host:port"},
		{`{"allow":["127.0.0.0/8"]}`, "host:port"},
		{`{"allow":["::1"]}`, "host:port"},
		{`{"allow":["169.254.169.254"]}`, "host:port"},
		{`{"allow":["0.0.0.0/8"]}`, "host:port"},
	}
	for _, c := range cases {
		if p, err := egress.ParsePolicy(c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParsePolicy(%s) = %+v, %v; want an error that says %q", c.text, p, err, c.says)
		}
	}
}

func TestEntryTextRoundTrips(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"corp.example": "corp.example", ".Corp.Example.": "corp.example", "GIT.corp:8443": "git.corp:8443",
		"[::1]:3999": "[::1]:3999", "0x7f.1:80": "127.0.0.1:80", "[::ffff:10.0.0.1]:80": "10.0.0.1:80",
		"10.1.2.3": "10.1.2.3/32", "fd00::/8": "fd00::/8", "bücher.example": "xn--bcher-kva.example",
	} {
		e, err := egress.ParseEntry(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if e.String() != want {
			t.Errorf("ParseEntry(%q) = %s, want %s", text, e, want)
		}
		if again, err := egress.ParseEntry(e.String()); err != nil || again != e {
			t.Errorf("ParseEntry(%q) again = %v, %v", e.String(), again, err)
		}
	}
}

// reasonOf gives the reason of a refusal, "" for nil, and fails on any other error.
func reasonOf(t testing.TB, err error) egress.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var denied *egress.DeniedError
	if !errors.As(err, &denied) {
		t.Fatalf("got %v, want a *DeniedError", err)
	}
	return denied.Reason
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	policies := map[string]egress.Policy{
		"default":    {},
		"deny":       {Deny: entries(t, "bad.example", "1.2.3.0/24", "ok.example:8080"), Allow: entries(t, "sub.bad.example")},
		"allowlist":  {Mode: egress.Allowlist, Allow: entries(t, "api.example", "one.example:8443", "localhost:3999", "127.0.0.1:3998")},
		"ranges":     {Mode: egress.Allowlist, Allow: entries(t, "10.1.0.0/16", "9.9.9.9")},
		"nothing":    {Mode: egress.Allowlist},
		"unknown":    {Mode: "of course"},
		"permissive": {Mode: egress.Permissive, Deny: entries(t, "bad.example")},
	}
	cases := []struct {
		policy, url string
		want        egress.Reason
	}{
		{"default", "https://api.example/v1?q=1#f", ""},
		{"default", "HTTPS://API.example.:8443", ""},
		{"default", "http://under_score.example", ""},
		{"default", "https://bücher.example/", ""},
		{"default", "https://1.1.1.1/", ""},
		{"default", "https://[2606:4700:4700::1111]/", ""},
		{"default", "https://1e100.net/", ""},
		{"default", "", egress.InvalidScheme},
		{"default", "api.example", egress.InvalidScheme},
		{"default", "//api.example/", egress.InvalidScheme},
		{"default", "ftp://api.example/", egress.InvalidScheme},
		{"default", "file:///etc/passwd", egress.InvalidScheme},
		{"default", "https:///path", egress.InvalidURL},
		{"default", "https:api.example", egress.InvalidURL},
		{"default", "https://user@api.example/", egress.InvalidURL},
		{"default", "https://user:secret@api.example/", egress.InvalidURL},
		{"default", "https://@api.example/", egress.InvalidURL},
		{"default", "https://api.example:0/", egress.InvalidURL},
		{"default", "https://api.example:65536/", egress.InvalidURL},
		{"default", "https://api.example:-1/", egress.InvalidURL},
		{"default", "https://api..example/", egress.InvalidURL},
		{"default", "https://./", egress.InvalidURL},
		{"default", "https://a b.example/", egress.InvalidURL},
		{"default", "https://" + strings.Repeat("a", 64) + ".example/", egress.InvalidURL},
		{"default", "https://" + strings.Repeat("a.", 130) + "example/", egress.InvalidURL},
		{"default", "https://1.2.3.4.5/", egress.InvalidURL},
		{"default", "https://256.1.1.1/", egress.InvalidURL},
		{"default", "https://08.8.8.8/", egress.InvalidURL},
		{"default", "http://localhost/", egress.DeniedHostname},
		{"default", "http://metadata.google.internal/", egress.DeniedHostname},
		{"deny", "https://good.example/", ""},
		{"deny", "https://notbad.example/", ""},
		{"deny", "https://bad.example/", egress.DeniedHostname},
		{"deny", "https://BAD.example./", egress.DeniedHostname},
		{"deny", "https://sub.bad.example/", egress.DeniedHostname},
		{"deny", "https://1.2.3.4/", egress.DeniedIP},
		{"deny", "https://[::ffff:1.2.3.4]/", egress.DeniedIP},
		{"deny", "https://[2002:102:304::]/", egress.DeniedIP},
		{"deny", "https://ok.example:8080/", egress.DeniedHostname},
		{"deny", "https://ok.example/", ""},
		{"allowlist", "https://api.example/", ""},
		{"allowlist", "https://eu.api.example:8443/", ""},
		{"allowlist", "https://evilapi.example/", egress.AllowlistMiss},
		{"allowlist", "https://api.example.evil.example/", egress.AllowlistMiss},
		{"allowlist", "https://one.example:8443/", ""},
		{"allowlist", "https://one.example/", egress.AllowlistMiss},
		{"allowlist", "https://sub.one.example:8443/", egress.AllowlistMiss},
		{"allowlist", "http://localhost:3999/", ""},
		{"allowlist", "http://localhost:3998/", egress.AllowlistMiss},
		{"allowlist", "http://127.1:3998/", ""},
		{"allowlist", "https://1.1.1.1/", egress.AllowlistMiss},
		{"ranges", "http://10.1.2.3/", ""},
		{"ranges", "http://10.2.2.3/", egress.AllowlistMiss},
		{"ranges", "http://9.9.9.9/", ""},
		{"ranges", "http://anything.example/", ""}, // judged when its addresses are known
		{"nothing", "https://api.example/", egress.AllowlistMiss},
		{"nothing", "https://1.1.1.1/", egress.AllowlistMiss},
		{"unknown", "https://api.example/", egress.AllowlistMiss},
		{"permissive", "http://metadata.google.internal/", ""}, // its address is refused when dialled
		{"permissive", "http://bad.example/", egress.DeniedHostname},
		{"permissive", "http://10.0.0.1/", egress.DeniedIP},
		{"permissive", "http://127.0.0.1/", egress.DeniedIP},
	}
	doors := map[string]*egress.Door{}
	for name, p := range policies {
		doors[name] = egress.New(egress.Options{Policy: p})
	}
	for _, c := range cases {
		u, err := doors[c.policy].CheckURL(c.url)
		if got := reasonOf(t, err); got != c.want {
			t.Errorf("%s: CheckURL(%q) = %v (%v), want %q", c.policy, c.url, got, err, c.want)
		}
		if (u == nil) != (err != nil) {
			t.Errorf("%s: CheckURL(%q) gives URL %v with error %v", c.policy, c.url, u, err)
		}
	}
}

func TestARefusalOfAURLDoesNotRepeatTheURL(t *testing.T) {
	t.Parallel()
	_, err := egress.New(egress.Options{}).CheckURL("https://user:hunter2\x7f@api.example/?key=hunter2")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error without the URL", err)
	}
}
