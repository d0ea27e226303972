package egress

import (
	"net/netip"
	"slices"
	"strings"
)

// rules is a Policy made ready to be asked. It is immutable and safe for concurrent use.
type rules struct {
	mode                    Mode
	allowPrivate, linkLocal bool
	deny, allow             entrySet
}

func newRules(p Policy) *rules {
	mode := p.Mode
	switch mode {
	case "":
		mode = Denylist
	case Denylist, Permissive:
	default:
		mode = Allowlist
	}
	return &rules{
		mode: mode, allowPrivate: p.AllowPrivate, linkLocal: p.AllowLinkLocal,
		deny: newEntrySet(p.Deny), allow: newEntrySet(p.Allow),
	}
}

// host judges what can be judged without DNS. The error is nil or a *DeniedError.
func (r *rules) host(t target) error {
	exact := r.allow.hasExact(t)
	if r.mode == Allowlist && !exact && !r.allow.hasName(t) && !r.allow.mayContain(t) {
		return &DeniedError{Reason: AllowlistMiss, Host: t.host, Address: t.addr}
	}
	if r.deny.hasExact(t) || r.deny.hasName(t) {
		return &DeniedError{Reason: DeniedHostname, Host: t.host, Address: t.addr}
	}
	if t.literal() {
		return r.address(t, t.addr)
	}
	if r.mode != Permissive && !exact && isBuiltInName(t.host) {
		return &DeniedError{Reason: DeniedHostname, Host: t.host}
	}
	return nil
}

// address judges one address that t stands for, or that its name resolved to, unmapped. The error is nil or a *DeniedError.
func (r *rules) address(t target, a netip.Addr) error {
	reason := DeniedDNS
	if t.literal() {
		reason = DeniedIP
	}
	class := Classify(a)
	if r.deny.contains(a) || r.deny.hasSocket(a, t.port) || (class != Global && !r.opened(t, a, class)) {
		return &DeniedError{Reason: reason, Host: t.host, Address: a}
	}
	if r.mode == Allowlist && !r.allow.hasExact(t) && !r.allow.hasName(t) && !r.allow.contains(a) {
		return &DeniedError{Reason: AllowlistMiss, Host: t.host, Address: a}
	}
	return nil
}

// opened tells whether the policy opens a, whose class is not Global, to t. The table in the package comment is this.
func (r *rules) opened(t target, a netip.Addr, class Class) bool {
	exact := r.allow.hasExact(t)
	if exact && t.literal() {
		return t.addr == a
	}
	if class == Loopback {
		return exact && (r.mode != Allowlist || isLocalhost(t.host))
	}
	if !class.openable() {
		return false
	}
	switch {
	case class == Private && r.allowPrivate, class == LinkLocal && r.linkLocal:
		return true
	case r.allow.opens(a):
		return true
	}
	return r.mode != Allowlist && (exact || r.allow.hasName(t))
}

type hostPort struct {
	host string
	port uint16
}

// entrySet is a list of entries by kind.
type entrySet struct {
	exact    map[hostPort]struct{}
	names    map[string]struct{}
	prefixes []netip.Prefix
}

func newEntrySet(entries []Entry) entrySet {
	s := entrySet{exact: map[hostPort]struct{}{}, names: map[string]struct{}{}}
	for _, e := range entries {
		switch {
		case e.prefix.IsValid():
			s.prefixes = append(s.prefixes, e.prefix)
		case e.port != 0:
			s.exact[hostPort{e.host, e.port}] = struct{}{}
		case e.host != "":
			s.names[e.host] = struct{}{}
		}
	}
	return s
}

func (s entrySet) hasExact(t target) bool {
	_, ok := s.exact[hostPort{t.host, t.port}]
	return ok
}

// hasSocket tells whether the address and port are listed, whatever name led there.
func (s entrySet) hasSocket(a netip.Addr, port uint16) bool {
	return len(s.exact) > 0 && s.hasExact(target{host: a.WithZone("").String(), port: port})
}

// hasName tells whether the name or one of its parent domains is listed.
func (s entrySet) hasName(t target) bool {
	if len(s.names) == 0 || t.literal() {
		return false
	}
	for name, more := t.host, true; more; _, name, more = strings.Cut(name, ".") {
		if _, ok := s.names[name]; ok {
			return true
		}
	}
	return false
}

// mayContain tells whether a range could admit t; for a name that is known only after DNS.
func (s entrySet) mayContain(t target) bool {
	if t.literal() {
		return s.contains(t.addr)
	}
	return len(s.prefixes) > 0
}

// contains tells whether a, or the IPv4 address inside it, lies in a listed range.
func (s entrySet) contains(a netip.Addr) bool {
	if s.has(a) {
		return true
	}
	inner, ok := embedded4(a)
	return ok && s.has(inner)
}

// opens is contains for openings: an address that carries a closed IPv4 address opens only if that one is listed, so
// 64:ff9b::/96 opens NAT64 without opening 10.0.0.0/8 behind it.
func (s entrySet) opens(a netip.Addr) bool {
	if inner, ok := embedded4(a); ok && Classify(inner) != Global {
		return s.has(inner)
	}
	return s.has(a)
}

func (s entrySet) has(a netip.Addr) bool {
	a = a.WithZone("") // netip.Prefix contains no zoned address
	return slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isLocalhost tells whether the name stands for the machine itself (RFC 6761 §6.3 and common hosts files).
func isLocalhost(host string) bool {
	switch host {
	case "localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return strings.HasSuffix(host, ".localhost")
}

// isBuiltInName tells whether the name is refused without looking it up: the machine itself and metadata services.
func isBuiltInName(host string) bool {
	switch host {
	case "metadata", "metadata.google.internal", "metadata.goog", // Google
		"instance-data", "instance-data.ec2.internal", // AWS
		"metadata.tencentyun.com": // Tencent
		return true
	}
	return isLocalhost(host)
}
