package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

// names is a resolver: a name to its addresses. "*" answers for all other names; without it they do not exist.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	texts, ok := n[strings.TrimSuffix(host, ".")]
	if !ok {
		texts, ok = n["*"]
	}
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

// resolverFunc is a resolver made of a function.
type resolverFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, host)
}

// errNotDialled is what recorder answers instead of a connection.
var errNotDialled = errors.New("recorded, not dialled")

// recorder stands in for the kernel and keeps what would have been dialled.
type recorder struct {
	mu     sync.Mutex
	dialed []netip.AddrPort
}

func (r *recorder) connect(_ context.Context, address netip.AddrPort) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialed = append(r.dialed, address)
	return nil, errNotDialled
}

func (r *recorder) take() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	dialed := r.dialed
	r.dialed = nil
	return dialed
}

// trap listens where no connection may arrive: 127.0.0.1 and ::1 on one port, and a Unix socket.
type trap struct {
	port      string
	socket    string
	addresses []string // of the TCP listeners
	accepts   atomic.Int64
}

func newTrap(t testing.TB) *trap {
	t.Helper()
	tr := &trap{socket: filepath.Join(t.TempDir(), "s")}
	v4 := listen(t, "tcp4", "127.0.0.1:0")
	_, tr.port, _ = net.SplitHostPort(v4.Addr().String())
	unix := listen(t, "unix", tr.socket)
	listeners := []net.Listener{v4, unix}
	tr.addresses = []string{v4.Addr().String()}
	if v6, err := net.Listen("tcp6", "[::1]:"+tr.port); err == nil { // a machine without IPv6 has nothing to reach there
		listeners = append(listeners, v6)
		tr.addresses = append(tr.addresses, v6.Addr().String())
	}
	var served sync.WaitGroup
	for _, l := range listeners {
		served.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				tr.accepts.Add(1)
				conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntrapped"))
				conn.Close()
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range listeners {
			l.Close()
		}
		served.Wait()
	})
	return tr
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mustBeUntouched fails if anything connected. Accept queues are served in order, so when the trap has answered our own
// connection it has also counted all earlier ones.
func (tr *trap) mustBeUntouched(t testing.TB) {
	t.Helper()
	before := int64(0)
	for _, address := range tr.addresses {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 1 {
			t.Fatalf("the trap does not work: %v", err)
		}
		conn.Close()
		before++
	}
	if n := tr.accepts.Add(-before); n != 0 {
		t.Fatalf("%d connections reached a listener that must not be reached", n)
	}
}

// get sends a GET and gives the error; a response is closed.
func get(client *http.Client, url string) error {
	res, err := client.Get(url)
	if err == nil {
		res.Body.Close()
	}
	return err
}

// following is the client that most tests use.
func following(d *egress.Door) *http.Client {
	return d.Client(egress.ClientOptions{FollowRedirects: true})
}
