package egress

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// target is one host and port as the door understood it. The same reading is used for the check and for the dial, so
// there is no second parser to disagree with.
type target struct {
	host     string     // lower-case ASCII name without a trailing dot, or the address in its usual form
	addr     netip.Addr // valid when the host is an address in any spelling
	port     uint16
	absolute bool // the name ended in a dot: no search domains
}

func (t target) literal() bool { return t.addr.IsValid() }

// lookupName is what the resolver is asked.
func (t target) lookupName() string {
	if t.absolute {
		return t.host + "."
	}
	return t.host
}

var (
	errNoHost    = errors.New("no host")
	errHostName  = errors.New("not a host name")
	errAddress   = errors.New("not an IP address")
	errPort      = errors.New("port is not between 1 and 65535")
	errUserInfo  = errors.New("user name and password are not accepted in a URL")
	errNotTCP    = errors.New("only TCP is dialled")
	errNotScheme = errors.New("scheme is not http or https")
)

// targetOf reads a URL. The error is always a *DeniedError.
func targetOf(u *url.URL) (target, error) {
	var defaultPort uint16
	switch u.Scheme {
	case "http":
		defaultPort = 80
	case "https":
		defaultPort = 443
	default:
		return target{}, &DeniedError{Reason: InvalidScheme, Host: u.Hostname(), cause: errNotScheme}
	}
	if u.User != nil {
		return target{}, &DeniedError{Reason: InvalidURL, Host: u.Hostname(), cause: errUserInfo}
	}
	t, err := parseTarget(u.Hostname(), u.Port(), defaultPort)
	if err != nil {
		return target{}, &DeniedError{Reason: InvalidURL, Host: u.Hostname(), cause: err}
	}
	return t, nil
}

// targetOfAddress reads the "host:port" a dialer is given. The error is always a *DeniedError.
func targetOfAddress(address string) (target, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		var t target
		if t, err = parseTarget(host, port, 0); err == nil {
			return t, nil
		}
	}
	return target{}, &DeniedError{Reason: InvalidURL, Host: host, cause: err}
}

func parseTarget(host, port string, defaultPort uint16) (target, error) {
	t, err := parseHost(host)
	if err != nil {
		return target{}, err
	}
	t.port = defaultPort
	if port != "" {
		if t.port, err = parsePort(port); err != nil {
			return target{}, err
		}
	}
	if t.port == 0 {
		return target{}, errPort
	}
	return t, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, errPort
	}
	return uint16(n), nil
}

// parseHost reads a host without brackets and port, the way browsers do (WHATWG URL, "host parsing"): full-width and
// other compatibility characters become ASCII, and a name whose last label is a number is an IPv4 address in decimal,
// octal or hexadecimal, with one to four parts, or nothing at all.
func parseHost(raw string) (target, error) {
	if raw == "" {
		return target{}, errNoHost
	}
	if strings.IndexByte(raw, ':') >= 0 {
		addr, err := netip.ParseAddr(raw)
		if err != nil {
			return target{}, errAddress
		}
		return literalTarget(addr), nil
	}
	host := raw
	if !isASCII(host) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return target{}, errHostName
		}
		host = ascii
	}
	host, absolute := strings.CutSuffix(strings.ToLower(host), ".")
	if !isHostName(host) {
		return target{}, errHostName
	}
	if endsInNumber(host) {
		addr, ok := parseIPv4(host)
		if !ok {
			return target{}, errAddress
		}
		return literalTarget(addr), nil
	}
	return target{host: host, absolute: absolute}, nil
}

func literalTarget(addr netip.Addr) target {
	if addr.Is4In6() {
		addr = addr.WithZone("").Unmap() // the socket is an IPv4 socket
	}
	return target{host: addr.String(), addr: addr}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isHostName checks length (RFC 1035 §2.3.4) and characters. Underscores are no host name by the letter of RFC 952, but
// they are in use.
func isHostName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}

// endsInNumber tells whether a resolver might read the host as an IPv4 address.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// parseIPv4 reads every spelling that inet_aton(3) takes: 127.1, 0x7f.0.0.1, 017700000001, 2130706433.
func parseIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, ok := parseIPv4Part(part)
		if !ok {
			return netip.Addr{}, false
		}
		bytes := 1
		if i == len(parts)-1 {
			bytes = 4 - i // the last part fills what the others left
		}
		if n >= 1<<(8*bytes) {
			return netip.Addr{}, false
		}
		value = value<<(8*bytes) | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

func parseIPv4Part(part string) (uint64, bool) {
	base := 10
	if digits, hex := strings.CutPrefix(part, "0x"); hex {
		if digits == "" {
			return 0, true // "0x" alone is zero, as in inet_aton
		}
		part, base = digits, 16
	} else if len(part) > 1 && part[0] == '0' {
		part, base = part[1:], 8
	}
	n, err := strconv.ParseUint(part, base, 64)
	return n, err == nil
}
