package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// Every name that is not listed resolves to the trap, so a spelling that is taken for a name would reach it too.
var hostile = names{
	"cname.example":     {"10.0.0.5"}, // what a CNAME to an internal name comes to
	"mixed.example":     {"1.1.1.1", "127.0.0.1"},
	"mapped.example":    {"::ffff:127.0.0.1"},
	"compat.example":    {"::127.0.0.1"},
	"nat64.example":     {"64:ff9b::7f00:1"},
	"sixtofour.example": {"2002:7f00:1::"},
	"teredo.example":    {"2001:0:4136:e378:8000:63bf:80ff:fffe"},
	"zone.example":      {"fe80::1%lo"},
	"v6.example":        {"::1"},
	"zero.example":      {"0.0.0.0"},
	"meta.example":      {"169.254.169.254"},
	"meta6.example":     {"fd00:ec2::254"},
	"nothing.example":   {},
	"*":                 {"127.0.0.1"},
}

// PORT is the trap's port and SOCKET its Unix socket.
var bypasses = []struct {
	url  string
	want egress.Reason
}{
	// The machine itself, in plain and odd spellings.
	{"http://127.0.0.1:PORT/", egress.DeniedIP},
	{"http://127.0.0.2:PORT/", egress.DeniedIP},
	{"http://127.1:PORT/", egress.DeniedIP},
	{"http://127.0.1:PORT/", egress.DeniedIP},
	{"http://127.0.0.1.:PORT/", egress.DeniedIP},
	{"http://0.0.0.0:PORT/", egress.DeniedIP},
	{"http://0:PORT/", egress.DeniedIP},
	{"http://0.1.2.3:PORT/", egress.DeniedIP},
	{"http://2130706433:PORT/", egress.DeniedIP},
	{"http://017700000001:PORT/", egress.DeniedIP},
	{"http://0177.0.0.1:PORT/", egress.DeniedIP},
	{"http://0177.0.0.01:PORT/", egress.DeniedIP},
	{"http://00000177.0.0.1:PORT/", egress.DeniedIP},
	{"http://0x7f000001:PORT/", egress.DeniedIP},
	{"http://0x7F.0x0.0x0.0x1:PORT/", egress.DeniedIP},
	{"http://0x7f.1:PORT/", egress.DeniedIP},
	{"http://127.0x1:PORT/", egress.DeniedIP},
	{"http://4294967296127.0.0.1:PORT/", egress.InvalidURL},
	{"http://127.0.0.1.1:PORT/", egress.InvalidURL},
	{"http://127.0.0.09:PORT/", egress.InvalidURL},
	{"http://[::1]:PORT/", egress.DeniedIP},
	{"http://[::]:PORT/", egress.DeniedIP},
	{"http://[0:0:0:0:0:0:0:1]:PORT/", egress.DeniedIP},
	{"http://[0000::0001]:PORT/", egress.DeniedIP},
	{"http://localhost:PORT/", egress.DeniedHostname},
	{"http://localhost.:PORT/", egress.DeniedHostname},
	{"http://LOCALHOST:PORT/", egress.DeniedHostname},
	{"http://a.b.localhost:PORT/", egress.DeniedHostname},
	{"http://localhost.localdomain:PORT/", egress.DeniedHostname},
	{"http://ip6-localhost:PORT/", egress.DeniedHostname},
	{"https://localhost:PORT/", egress.DeniedHostname},
	// IPv4 inside IPv6.
	{"http://[::ffff:127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[::ffff:7f00:1]:PORT/", egress.DeniedIP},
	{"http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[::ffff:0.0.0.0]:PORT/", egress.DeniedIP},
	{"http://[::127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[::ffff:0:127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[64:ff9b::127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[64:ff9b:1::127.0.0.1]:PORT/", egress.DeniedIP},
	{"http://[2002:7f00:1::]:PORT/", egress.DeniedIP},
	{"http://[2002:a9fe:a9fe::1]:PORT/", egress.DeniedIP},
	{"http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:PORT/", egress.DeniedIP},
	// Zone ids.
	{"http://[::1%25lo]:PORT/", egress.DeniedIP},
	{"http://[fe80::1%25lo]:PORT/", egress.DeniedIP},
	{"http://[fe80::1]:PORT/", egress.DeniedIP},
	{"http://[::ffff:127.0.0.1%25lo]:PORT/", egress.DeniedIP},
	// Names whose DNS points inside.
	{"http://rebind.example:PORT/", egress.DeniedDNS},
	{"http://rebind.example.:PORT/", egress.DeniedDNS},
	{"http://127.0.0.1.nip.example:PORT/", egress.DeniedDNS},
	{"http://cname.example:PORT/", egress.DeniedDNS},
	{"http://mixed.example:PORT/", egress.DeniedDNS},
	{"http://mapped.example:PORT/", egress.DeniedDNS},
	{"http://compat.example:PORT/", egress.DeniedDNS},
	{"http://nat64.example:PORT/", egress.DeniedDNS},
	{"http://sixtofour.example:PORT/", egress.DeniedDNS},
	{"http://teredo.example:PORT/", egress.DeniedDNS},
	{"http://zone.example:PORT/", egress.DeniedDNS},
	{"http://v6.example:PORT/", egress.DeniedDNS},
	{"http://zero.example:PORT/", egress.DeniedDNS},
	{"http://db:PORT/", egress.DeniedDNS},
	// Alternate ports.
	{"http://127.0.0.1:22/", egress.DeniedIP},
	{"http://127.0.0.1:6379/", egress.DeniedIP},
	{"http://10.0.0.1:8080/", egress.DeniedIP},
	{"http://192.168.0.1/", egress.DeniedIP},
	{"http://127.0.0.1:0PORT/", egress.DeniedIP},
	// User information.
	{"http://api.example@127.0.0.1:PORT/", egress.InvalidURL},
	{"http://api.example:80@127.0.0.1:PORT/", egress.InvalidURL},
	{"http://127.0.0.1:PORT@api.example/", egress.InvalidURL},
	{"http://api.example:80#@127.0.0.1:PORT/", egress.DeniedDNS},
	{`http://api.example\@127.0.0.1:PORT/`, egress.InvalidURL},
	{`http://127.0.0.1:PORT\@api.example/`, egress.InvalidURL},
	{"http://127.0.0.1:PORT%2f@api.example/", egress.InvalidURL},
	// Compatibility characters: full-width digits and dots, circled digits, ideographic full stop.
	{"http://１２７.０.０.１:PORT/", egress.DeniedIP},
	{"http://127。0。0。1:PORT/", egress.DeniedIP},
	{"http://①②⑦.⓪.⓪.①:PORT/", egress.DeniedIP},
	{"http://０ｘ７ｆ.1:PORT/", egress.DeniedIP},
	{"http://ｌｏｃａｌｈｏｓｔ:PORT/", egress.DeniedHostname},
	{"http://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:PORT/", egress.DeniedIP},
	{"http://127%2e0%2e0%2e1:PORT/", egress.InvalidURL},
	{"http://loc\u00adalhost:PORT/", egress.DeniedHostname},
	// Metadata services.
	{"http://169.254.169.254/latest/meta-data/", egress.DeniedIP},
	{"http://0xa9fea9fe/", egress.DeniedIP},
	{"http://2852039166/", egress.DeniedIP},
	{"http://0251.0376.0251.0376/", egress.DeniedIP},
	{"http://[::ffff:a9fe:a9fe]/", egress.DeniedIP},
	{"http://[fd00:ec2::254]/", egress.DeniedIP},
	{"http://[fd20:ce::254]/", egress.DeniedIP},
	{"http://100.100.100.200/", egress.DeniedIP},
	{"http://168.63.129.16/", egress.DeniedIP},
	{"http://metadata.google.internal/", egress.DeniedHostname},
	{"http://Metadata.Google.Internal./", egress.DeniedHostname},
	{"http://metadata/", egress.DeniedHostname},
	{"http://instance-data/", egress.DeniedHostname},
	{"http://meta.example/", egress.DeniedDNS},
	{"http://meta6.example/", egress.DeniedDNS},
	// Not HTTP, and Unix sockets.
	{"unix://SOCKET", egress.InvalidScheme},
	{"unix:SOCKET", egress.InvalidScheme},
	{"http+unix://%2ftmp%2fs/", egress.InvalidURL},
	{"http://unix:SOCKET:/", egress.DeniedDNS},
	{"http://SOCKET/", egress.InvalidURL},
	{"file:///etc/passwd", egress.InvalidScheme},
	{"gopher://127.0.0.1:PORT/_GET", egress.InvalidScheme},
	{"//127.0.0.1:PORT/", egress.InvalidScheme},
	{"http:127.0.0.1:PORT", egress.InvalidURL},
	{"http:///127.0.0.1:PORT/", egress.InvalidURL},
}

func (tr *trap) fill(text string) string {
	return strings.NewReplacer("PORT", tr.port, "SOCKET", tr.socket).Replace(text)
}

func TestNoBypassReachesAListener(t *testing.T) {
	t.Parallel()
	for _, mode := range []egress.Mode{egress.Denylist, egress.Permissive} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			tr := newTrap(t)
			door := egress.New(egress.Options{Policy: egress.Policy{Mode: mode}, Resolver: hostile})
			defer door.Close()
			client := following(door)
			for _, b := range bypasses {
				url, want := tr.fill(b.url), b.want
				if mode == egress.Permissive && want == egress.DeniedHostname {
					want = egress.DeniedDNS // the built-in names go, the addresses behind them stay closed
				}
				_, staticErr := door.CheckURL(url)
				err := get(client, url)
				if err == nil {
					t.Errorf("GET %s was answered", url)
				}
				var denied *egress.DeniedError
				if !errors.As(err, &denied) {
					// net/http parses the URL before the door sees it, and says so in its own words.
					if want == egress.InvalidURL && reasonOf(t, staticErr) == want {
						continue
					}
					t.Errorf("GET %s: %v, want %s", url, err, want)
					continue
				}
				if denied.Reason != want {
					t.Errorf("GET %s: %s (%v), want %s", url, denied.Reason, err, want)
				}
				if got := reasonOf(t, staticErr); want != egress.DeniedDNS && got != want {
					t.Errorf("CheckURL(%s) = %q, want %s", url, got, want)
				}
			}
			if err := get(client, "http://nothing.example/"); egress.Code(err) != egress.CodeNotFound {
				t.Errorf("a name without addresses: %v, want %s", err, egress.CodeNotFound)
			}
			tr.mustBeUntouched(t)
		})
	}
}

func TestPrivateAndLinkLocalSwitchesDoNotOpenLoopbackOrMetadata(t *testing.T) {
	t.Parallel()
	tr := newTrap(t)
	door := egress.New(egress.Options{
		Policy:   egress.Policy{AllowPrivate: true, AllowLinkLocal: true, Allow: entries(t, "0.0.0.0/0", "::/0", "example")},
		Resolver: hostile,
	})
	defer door.Close()
	var kernel recorder
	egress.ReplaceConnect(door, kernel.connect)
	client := following(door)
	for _, b := range bypasses {
		if err := get(client, tr.fill(b.url)); err == nil {
			t.Errorf("GET %s was answered", b.url)
		}
		for _, a := range kernel.take() {
			switch c := egress.Classify(a.Addr()); c {
			case egress.Private, egress.LinkLocal, egress.Reserved:
			default:
				t.Errorf("GET %s would dial %s (%s)", b.url, a, c)
			}
		}
	}
	tr.mustBeUntouched(t)
}

func TestRedirectsDoNotLeadPastThePolicy(t *testing.T) {
	t.Parallel()
	tr := newTrap(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run("from "+scheme, func(t *testing.T) {
			t.Parallel()
			entrance := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", r.Header.Get("To"))
				w.WriteHeader(http.StatusTemporaryRedirect)
			}))
			if scheme == "https" {
				entrance.StartTLS()
			} else {
				entrance.Start()
			}
			defer entrance.Close()
			address := entrance.Listener.Addr().String()
			door := egress.New(egress.Options{Policy: egress.Policy{Allow: entries(t, address)}, Resolver: hostile})
			client := door.Client(egress.ClientOptions{FollowRedirects: true, ForwardHeaders: true, TLS: trusting(entrance)})
			defer client.CloseIdleConnections()
			for _, b := range bypasses {
				if strings.HasPrefix(b.url, "//") {
					continue // relative to the entrance's scheme: a good URL there, and covered by the others
				}
				req, _ := http.NewRequest(http.MethodGet, scheme+"://"+address+"/", nil)
				req.Header.Set("To", tr.fill(b.url))
				res, err := client.Do(req)
				if err == nil {
					res.Body.Close()
					t.Errorf("redirect to %s was followed", b.url)
					continue
				}
				var hop *egress.DeniedError
				if !errors.As(err, &hop) {
					if b.want != egress.InvalidURL { // net/http could not parse the Location
						t.Errorf("redirect to %s: %v, want a refusal", b.url, err)
					}
					continue
				}
				if hop.Reason != egress.RedirectDenied {
					t.Errorf("redirect to %s: %s, want %s", b.url, hop.Reason, egress.RedirectDenied)
				}
				if inner := reasonOf(t, errors.Unwrap(hop)); inner != b.want {
					t.Errorf("redirect to %s: cause %s, want %s", b.url, inner, b.want)
				}
			}
		})
	}
	t.Cleanup(func() { tr.mustBeUntouched(t) })
}

// trusting accepts the test server's certificate, which names example.com, its sub-domains, 127.0.0.1 and ::1.
func trusting(s *httptest.Server) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if s.TLS != nil {
		config.RootCAs.AddCert(s.Certificate())
	}
	return config
}
