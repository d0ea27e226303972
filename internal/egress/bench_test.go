package egress_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// BenchmarkDoor and BenchmarkPlain fetch 2 KB over one kept connection, through a Door and through net/http alone.
func BenchmarkDoor(b *testing.B) {
	server := pageServer()
	defer server.Close()
	door := egress.New(egress.Options{
		Policy:   egress.Policy{Allow: entries(b, "api.example:"+portOf(server.Listener))},
		Resolver: names{"*": {"127.0.0.1"}},
	})
	defer door.Close()
	client := door.Client(egress.ClientOptions{FollowRedirects: true, MaxResponseBytes: 1 << 20})
	fetch(b, client, "http://api.example:"+portOf(server.Listener))
}

func BenchmarkPlain(b *testing.B) {
	server := pageServer()
	defer server.Close()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	fetch(b, &http.Client{Transport: transport}, server.URL)
}

func pageServer() *httptest.Server {
	page := bytes.Repeat([]byte("x"), 2<<10)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) }))
}

func fetch(b *testing.B, client *http.Client, url string) {
	b.ReportAllocs()
	for b.Loop() {
		res, err := client.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != 2<<10 || err != nil {
			b.Fatal(n, err)
		}
		res.Body.Close()
	}
}

func BenchmarkDialDecision(b *testing.B) {
	door := egress.New(egress.Options{Resolver: names{"*": {"2606:4700::1", "1.1.1.1"}}})
	ours, _ := net.Pipe()
	egress.ReplaceConnect(door, func(_ context.Context, _ netip.AddrPort) (net.Conn, error) { return ours, nil })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := door.DialContext(b.Context(), "tcp", "api.example:443"); err != nil {
			b.Fatal(err)
		}
	}
}
