package egress

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// attemptDelay is when the next address is tried beside a slow one: RFC 8305 §5 recommends 250 ms.
const attemptDelay = 250 * time.Millisecond

// DialContext opens a TCP connection under the policy, for protocols that are not plain HTTP requests (WebSocket). The
// address is "host:port". Refusals are *DeniedError, failed look-ups *net.DNSError, everything else *net.OpError.
func (d *Door) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	host, _, _ := net.SplitHostPort(address)
	d.report(host, err)
	return conn, err
}

// dial is the one place where a name becomes a connection.
func (d *Door) dial(ctx context.Context, network, address string) (net.Conn, error) {
	t, err := targetOfAddress(address)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(network, "tcp") {
		return nil, &DeniedError{Reason: InvalidURL, Host: t.host, cause: errNotTCP}
	}
	if err := d.rules.host(t); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.dialTimeout)
	defer cancel()
	addrs, err := d.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	return d.race(ctx, t, addrs)
}

// resolve gives the addresses of t, all of them checked: one bad address in the answer spoils it.
func (d *Door) resolve(ctx context.Context, t target) ([]netip.Addr, error) {
	if t.literal() {
		return []netip.Addr{t.addr}, nil // judged by rules.host
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", t.lookupName())
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: t.host, IsNotFound: true}
	}
	checked := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap()
		if err := d.rules.address(t, a); err != nil {
			return nil, err
		}
		checked = append(checked, a) // a copy: the resolver may keep its slice
	}
	return interleave(checked), nil
}

// interleave alternates the address families, beginning with the resolver's favourite (RFC 8305 §4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := addrs[:0]
	for i := range max(len(first), len(second)) {
		mixed = append(mixed, first[min(i, len(first)):min(i+1, len(first))]...)
		mixed = append(mixed, second[min(i, len(second)):min(i+1, len(second))]...)
	}
	return mixed
}

// race connects to the first address that answers. The next address is tried when the one before failed or took longer
// than attemptDelay. The error is that of the first failure.
func (d *Door) race(ctx context.Context, t target, addrs []netip.Addr) (net.Conn, error) {
	if len(addrs) == 1 {
		return d.connect(ctx, t, addrs[0])
	}
	type outcome struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that lost
	outcomes, decided := make(chan outcome), make(chan struct{})
	defer close(decided)
	pending := 0
	try := func() {
		a := addrs[0]
		addrs = addrs[1:]
		pending++
		go func() {
			conn, err := d.connect(ctx, t, a)
			select {
			case outcomes <- outcome{conn, err}:
			case <-decided:
				if conn != nil {
					conn.Close()
				}
			}
		}()
	}
	try()
	next := time.NewTicker(attemptDelay)
	defer next.Stop()
	var failure error
	for {
		select {
		case o := <-outcomes:
			if o.err == nil {
				return o.conn, nil
			}
			if failure == nil {
				failure = o.err
			}
			pending--
		case <-next.C:
		}
		if len(addrs) > 0 && ctx.Err() == nil {
			try()
			next.Reset(attemptDelay)
		} else if pending == 0 {
			return nil, failure
		}
	}
}

// connectTCP opens one socket. The control hook sees the address the kernel is about to be given.
func (d *Door) connectTCP(ctx context.Context, t target, a netip.Addr) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: keepAlive, Control: d.control(t, a)}
	return dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, t.port).String())
}

// control refuses every socket address but the checked one, and checks that one again.
func (d *Door) control(t target, checked netip.Addr) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		socket, err := netip.ParseAddrPort(address)
		if err != nil || socket.Addr() != checked || socket.Port() != t.port {
			return &DeniedError{Reason: DeniedIP, Host: t.host, Address: socket.Addr(), cause: err}
		}
		return d.rules.address(t, socket.Addr())
	}
}
