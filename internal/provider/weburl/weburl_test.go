package weburl_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/provider/weburl"
)

func TestParseNormalisesWithoutLosingBytes(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, in, want string }{
		{"a bare host gets a path", "https://x.test", "https://x.test/"},
		{"scheme and host are case-insensitive", "HTTPS://X.Test/A", "https://x.test/A"},
		{"a default port disappears", "https://x.test:443/a", "https://x.test/a"},
		{"another port stays", "http://x.test:8080/a", "http://x.test:8080/a"},
		{"spaces are escaped in path and query", "https://x.test/a b?c d", "https://x.test/a%20b?c%20d"},
		{"an escaped slash stays escaped beside a bar", "https://x.test/a%2Fb|c", "https://x.test/a%2Fb%7Cc"},
		{"a stray percent sign is escaped", "https://x.test/100%/b", "https://x.test/100%25/b"},
		{"braces are escaped in the path and kept in the query", "https://x.test/{a}?{b}", "https://x.test/%7Ba%7D?{b}"},
		{"bars in the query are the caller's", "https://x.test/s?q=a||b", "https://x.test/s?q=a||b"},
		{"dot segments are resolved", "https://x.test/a/./b/../c/%2E%2e/d/", "https://x.test/a/d/"},
		{"dot segments do not climb above the root", "https://x.test/../../a/..", "https://x.test/"},
		{"double slashes are kept", "https://x.test//a//b", "https://x.test//a//b"},
		{"back slashes are slashes", `https://x.test\a\b`, "https://x.test/a/b"},
		{"the fragment is dropped", "https://x.test/a#b?c", "https://x.test/a"},
		{"an empty query is kept", "https://x.test/a?", "https://x.test/a?"},
		{"letters beyond ASCII are escaped", "https://x.test/né?ü", "https://x.test/n%C3%A9?%C3%BC"},
		{"an international host becomes ASCII", "https://bücher.test/", "https://xn--bcher-kva.test/"},
		{"an escaped host is read", "https://%78.test/", "https://x.test/"},
		{"IPv6 literals", "https://[2001:DB8::1]:8443/a", "https://[2001:db8::1]:8443/a"},
		{"line breaks inside disappear", "https://x.test/a\nb\t", "https://x.test/ab"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u, err := weburl.Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseRefusesWhatMustNotBeDialledAndDoesNotRepeatIt(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "x.test/s3cr3t", "ftp://x.test/s3cr3t", "https:///s3cr3t", "https://a b.test/s3cr3t", "https://${sub}.x.test/s3cr3t",
		"https://user:s3cr3t@x.test/", "https://x.test:s3cr3t/", "https://x.test:99999/s3cr3t", "https://a%2Fb.test/s3cr3t",
		"https://[::1/s3cr3t", "https://[fe80::1%25eth0]/s3cr3t", "https://.x.test/s3cr3t", "https://a..test/s3cr3t",
		"javascript://x.test/s3cr3t", "https://x.test%00.evil.test/s3cr3t",
	} {
		u, err := weburl.Parse(in)
		if !errors.Is(err, weburl.ErrInvalid) {
			t.Errorf("%q: got %v, %v; want ErrInvalid", in, u, err)
			continue
		}
		if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

// The property: what Parse accepts is stable, keeps its raw path and is understood the same way by net/url.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://x.test/a%2Fb|c?d=%", "http://a:80/../%2e", "https://[::1]/", "https://ü.test/\\?#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := weburl.Parse(in)
		if err != nil {
			return
		}
		if u.EscapedPath() != u.RawPath {
			t.Fatalf("net/url rewrites the path %q to %q", u.RawPath, u.EscapedPath())
		}
		again, err := weburl.Parse(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q parsed again gives %v, %v", u, again, err)
		}
		std, err := url.Parse(u.String())
		if err != nil || std.Host != u.Host || std.User != nil || std.Path != u.Path {
			t.Fatalf("net/url reads %q as %#v, %v", u, std, err)
		}
	})
}
