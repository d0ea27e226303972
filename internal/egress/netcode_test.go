package egress_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/egress"
)

func TestNetworkFaultsLookLikeNodes(t *testing.T) {
	t.Parallel()
	at := func(host string, port uint16) net.Addr {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port))
	}
	op := func(name string, errno syscall.Errno) error {
		syscallName := map[string]string{"dial": "connect"}[name]
		return &url.Error{Op: "Get", URL: "http://api.example/?key=secret", Err: &net.OpError{
			Op: name, Net: "tcp", Addr: at("2606:4700::1", 443), Err: os.NewSyscallError(syscallName, errno)}}
	}
	cases := []struct {
		err           error
		code, message string
	}{
		{nil, "", ""},
		{op("dial", syscall.ECONNREFUSED), "ECONNREFUSED", "connect ECONNREFUSED 2606:4700::1:443"},
		{op("dial", syscall.EHOSTUNREACH), "EHOSTUNREACH", "connect EHOSTUNREACH 2606:4700::1:443"},
		{op("dial", syscall.ENETUNREACH), "ENETUNREACH", "connect ENETUNREACH 2606:4700::1:443"},
		{op("dial", syscall.ETIMEDOUT), "ETIMEDOUT", "connect ETIMEDOUT 2606:4700::1:443"},
		{op("read", syscall.ECONNRESET), "ECONNRESET", "read ECONNRESET"},
		{op("read", syscall.ETIMEDOUT), "ETIMEDOUT", "read ETIMEDOUT"},
		{op("write", syscall.EPIPE), "ECONNRESET", "write ECONNRESET"},
		{op("read", syscall.ECONNABORTED), "ECONNABORTED", "timeout exceeded"},
		{&net.DNSError{Name: "gone.example", IsNotFound: true}, "ENOTFOUND", "getaddrinfo ENOTFOUND gone.example"},
		{&net.DNSError{Name: "a.example", IsTemporary: true}, "EAI_AGAIN", "getaddrinfo EAI_AGAIN a.example"},
		{&net.DNSError{Name: "a.example", IsTimeout: true}, "EAI_AGAIN", "getaddrinfo EAI_AGAIN a.example"},
		{&url.Error{Op: "Get", URL: "http://a/?key=secret", Err: io.EOF}, "ECONNRESET", "socket hang up"},
		{io.ErrUnexpectedEOF, "ECONNRESET", "socket hang up"},
		{context.DeadlineExceeded, "ECONNABORTED", "timeout exceeded"},
		{context.Canceled, "", "context canceled"},
		{&url.Error{Op: "Get", URL: "http://a/?key=secret", Err: errors.New("odd")}, "", "odd"},
		{&egress.DeniedError{Reason: egress.DeniedDNS, Host: "a", Address: netip.MustParseAddr("10.0.0.1")}, "",
			"request refused by the outbound policy: denied_dns"},
		{&egress.DeniedError{Reason: egress.TooManyRedirects}, "ERR_FR_TOO_MANY_REDIRECTS", "Maximum number of redirects exceeded"},
	}
	for _, c := range cases {
		if got := egress.Code(c.err); got != c.code {
			t.Errorf("Code(%v) = %q, want %q", c.err, got, c.code)
		}
		got := egress.NodeMessage(c.err)
		if got != c.message {
			t.Errorf("NodeMessage(%v) = %q, want %q", c.err, got, c.message)
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "10.0.0.1") {
			t.Errorf("NodeMessage(%v) = %q tells too much", c.err, got)
		}
	}
}

// The same, with faults made by a real kernel and a real server.
func TestRealNetworkFaults(t *testing.T) { //nolint:tparallel // the subtests share listeners that end with the test
	t.Parallel()
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()

	abort := listen(t, "tcp", "127.0.0.1:0")
	hangUp := listen(t, "tcp", "127.0.0.1:0")
	defer abort.Close()
	defer hangUp.Close()
	go func() {
		for {
			conn, err := abort.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1<<10))
			conn.(*net.TCPConn).SetLinger(0) // makes Close a reset
			conn.Close()
		}
	}()
	go func() {
		for {
			conn, err := hangUp.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1<<10))
			conn.Close()
		}
	}()
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	http2 := httptest.NewUnstartedServer(handler)
	http2.EnableHTTP2 = true
	http2.Config.ErrorLog = log.New(io.Discard, "", 0) // the failed handshakes are meant
	http2.StartTLS()
	defer http2.Close()

	cases := []struct {
		name, url     string
		tls           *tls.Config
		code, message string
	}{
		{"nothing listens", "http://" + closed.Addr().String(), nil, "ECONNREFUSED", "connect ECONNREFUSED " + closed.Addr().String()},
		{"reset", "http://" + abort.Addr().String(), nil, "ECONNRESET", "read ECONNRESET"},
		{"hang-up", "http://" + hangUp.Addr().String(), nil, "ECONNRESET", "socket hang up"},
		{"HTTP/2 stream reset", http2.URL, trusting(http2), "ECONNRESET", "socket hang up"},
		{"unknown authority", http2.URL, nil, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", ""},
		{"wrong name", "https://wrong.test:" + portOf(http2.Listener), trusting(http2), "ERR_TLS_CERT_ALTNAME_INVALID", ""},
		{"no such name", "http://gone.test/", nil, "ENOTFOUND", "getaddrinfo ENOTFOUND gone.test"},
	}
	door := egress.New(egress.Options{
		Policy: egress.Policy{Allow: entries(t, closed.Addr().String(), abort.Addr().String(), hangUp.Addr().String(),
			http2.Listener.Addr().String(), "wrong.test:"+portOf(http2.Listener))},
		Resolver: names{"wrong.test": {"127.0.0.1"}},
	})
	defer door.Close()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := door.Client(egress.ClientOptions{TLS: c.tls})
			defer client.CloseIdleConnections()
			// POST: net/http repeats a GET on a broken connection by itself.
			res, err := client.Post(c.url, "text/plain", strings.NewReader("x"))
			if err == nil {
				res.Body.Close()
			}
			if got := egress.Code(err); got != c.code {
				t.Errorf("code %q (%v), want %s", got, err, c.code)
			}
			if got := egress.NodeMessage(err); c.message != "" && got != c.message {
				t.Errorf("message %q, want %q", got, c.message)
			}
		})
	}
	t.Run("cancelled by the caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hangUp.Addr().String(), nil)
		res, err := following(door).Do(req)
		if err == nil {
			res.Body.Close()
		}
		if got := egress.Code(err); got != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("code %q (%v), want none", got, err)
		}
	})
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
