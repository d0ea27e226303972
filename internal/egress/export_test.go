package egress

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// ReplaceConnect makes the door hand checked addresses to connect instead of the kernel.
func ReplaceConnect(d *Door, connect func(ctx context.Context, address netip.AddrPort) (net.Conn, error)) {
	d.connect = func(ctx context.Context, t target, a netip.Addr) (net.Conn, error) {
		return connect(ctx, netip.AddrPortFrom(a, t.port))
	}
}

// SameParty is the judgement on redirects.
var SameParty = sameParty

// Connect opens a socket for hostPort as if a had passed the first check.
func Connect(ctx context.Context, d *Door, hostPort string, a netip.Addr) (net.Conn, error) {
	t, err := targetOfAddress(hostPort)
	if err != nil {
		return nil, err
	}
	return d.connect(ctx, t, a)
}

// ControlHook is the second check for a socket that was dialled for hostPort after checked had passed.
func ControlHook(d *Door, hostPort string, checked netip.Addr) func(network, address string, _ syscall.RawConn) error {
	t, err := targetOfAddress(hostPort)
	if err != nil {
		panic(err)
	}
	return d.control(t, checked)
}
