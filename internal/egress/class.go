package egress

import (
	"net/netip"
	"slices"
)

// Class says what kind of network an address belongs to. Only Global is reachable without an opening in the policy.
type Class uint8

// The classes. Invalid is the zero value, so that a forgotten address is never taken for a public one.
const (
	Invalid     Class = iota // the zero netip.Addr
	Global                   // public unicast
	Unspecified              // 0.0.0.0/8 and ::, which operating systems route to the machine itself
	Loopback                 // 127.0.0.0/8 and ::1
	Metadata                 // an address on which a cloud hands credentials to whoever asks
	LinkLocal                // 169.254.0.0/16 and fe80::/10
	Private                  // RFC 1918, carrier-grade NAT, unique-local, site-local
	Multicast                // 224.0.0.0/4 and ff00::/8
	Reserved                 // documentation, benchmark, broadcast, tunnels, and everything not handed out
)

// String is the name used in logs.
func (c Class) String() string {
	switch c {
	case Global:
		return "global"
	case Unspecified:
		return "unspecified"
	case Loopback:
		return "loopback"
	case Metadata:
		return "metadata"
	case LinkLocal:
		return "link-local"
	case Private:
		return "private"
	case Multicast:
		return "multicast"
	case Reserved:
		return "reserved"
	default:
		return "invalid"
	}
}

// openable tells whether a range entry or a name entry may open the class. The others take an exact host and port.
func (c Class) openable() bool { return c == Private || c == LinkLocal || c == Reserved }

// Classify tells the class of an address. It is pure and total.
//
// IPv4-mapped addresses are the IPv4 address they hold. Other forms that carry an IPv4 address for a translator or a
// tunnel (IPv4-compatible, NAT64, 6to4, ISATAP) are at least as closed as that address. A zone never makes an address
// more open: a zoned address that would be Global is Reserved, since public addresses have no zone.
func Classify(a netip.Addr) Class {
	if !a.IsValid() {
		return Invalid
	}
	zoned := a.Zone() != ""
	a = a.WithZone("").Unmap()
	var class Class
	if a.Is4() {
		class = classify4(a)
	} else {
		class = classify6(a)
	}
	if zoned && class == Global {
		return Reserved
	}
	return class
}

func classify4(a netip.Addr) Class {
	if isMetadata(a) {
		return Metadata
	}
	for _, s := range special4 {
		if s.prefix.Contains(a) {
			return s.class
		}
	}
	return Global
}

func classify6(a netip.Addr) Class {
	if isMetadata(a) {
		return Metadata
	}
	for _, s := range special6 {
		if s.prefix.Contains(a) {
			return s.class
		}
	}
	if inner, ok := embedded4(a); ok {
		if class := classify4(inner); class != Global {
			return class
		}
	}
	if globalUnicast6.Contains(a) {
		return Global
	}
	return Reserved
}

// embedded4 gives the IPv4 address inside an IPv6 address that a translator or tunnel would send the packet to.
// Mapped addresses are not among them: the kernel takes them for IPv4, so they are unmapped before they come here.
func embedded4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), compatible.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP interface id, RFC 5214 §6.1
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// The prefixes below are tables, never written to.
var (
	globalUnicast6 = netip.MustParsePrefix("2000::/3")     // RFC 4291 §2.4: all that is handed out
	compatible     = netip.MustParsePrefix("::/96")        // IPv4-compatible, deprecated by RFC 4291 §2.5.5.1
	nat64          = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1
	sixToFour      = netip.MustParsePrefix("2002::/16")    // RFC 3056, deprecated by RFC 7526
)

type special struct {
	prefix netip.Prefix
	class  Class
}

// special4 is the IANA IPv4 special-purpose registry (RFC 6890) without the few entries that are globally reachable.
var special4 = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), Unspecified},
	{netip.MustParsePrefix("127.0.0.0/8"), Loopback},
	{netip.MustParsePrefix("10.0.0.0/8"), Private},
	{netip.MustParsePrefix("172.16.0.0/12"), Private},
	{netip.MustParsePrefix("192.168.0.0/16"), Private},
	{netip.MustParsePrefix("100.64.0.0/10"), Private}, // carrier-grade NAT, RFC 6598
	{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal},
	{netip.MustParsePrefix("192.0.0.0/24"), Reserved},    // IETF protocol assignments
	{netip.MustParsePrefix("192.0.2.0/24"), Reserved},    // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), Reserved},  // 6to4 relay anycast, RFC 7526
	{netip.MustParsePrefix("198.18.0.0/15"), Reserved},   // benchmarks, RFC 2544
	{netip.MustParsePrefix("198.51.100.0/24"), Reserved}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), Reserved},  // documentation
	{netip.MustParsePrefix("224.0.0.0/4"), Multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), Reserved}, // with 255.255.255.255
}

// special6 is its IPv6 counterpart. What lies outside 2000::/3 is Reserved anyway and needs no row.
var special6 = []special{
	{netip.MustParsePrefix("::/128"), Unspecified},
	{netip.MustParsePrefix("::1/128"), Loopback},
	{netip.MustParsePrefix("fe80::/10"), LinkLocal},
	{netip.MustParsePrefix("fec0::/10"), Private}, // site-local, deprecated by RFC 3879 but still routed by some
	{netip.MustParsePrefix("fc00::/7"), Private},
	{netip.MustParsePrefix("ff00::/8"), Multicast},
	{netip.MustParsePrefix("64:ff9b:1::/48"), Reserved}, // local-use NAT64, RFC 8215: the IPv4 address may sit anywhere
	{netip.MustParsePrefix("2001::/23"), Reserved},      // protocol assignments: Teredo, ORCHID, benchmarks
	{netip.MustParsePrefix("2001:db8::/32"), Reserved},  // documentation
	{netip.MustParsePrefix("3fff::/20"), Reserved},      // documentation, RFC 9637
}

// metadataAddrs are the addresses on which clouds serve instance data and credentials without authentication.
var metadataAddrs = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"),    // AWS, Google, Azure, OpenStack, Oracle, DigitalOcean, Hetzner
	netip.MustParseAddr("169.254.170.2"),      // AWS ECS task credentials
	netip.MustParseAddr("169.254.170.23"),     // AWS EKS pod identity
	netip.MustParseAddr("169.254.0.23"),       // Tencent
	netip.MustParseAddr("169.254.42.42"),      // Scaleway
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("168.63.129.16"),      // Azure wire server: a public address that never leaves the host
	netip.MustParseAddr("192.0.0.192"),        // Oracle classic
	netip.MustParseAddr("fd00:ec2::254"),      // AWS
	netip.MustParseAddr("fd00:ec2::23"),       // AWS EKS pod identity
	netip.MustParseAddr("fd20:ce::254"),       // Google
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
	netip.MustParseAddr("fd00:a9fe:a9fe::1"),  // Linode
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
}

func isMetadata(a netip.Addr) bool {
	return slices.Contains(metadataAddrs, a)
}
