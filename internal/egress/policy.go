package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Mode is how host names are judged. The address rules are the same in every mode.
type Mode string

// The modes. The zero value means Denylist; an unknown value behaves as Allowlist.
const (
	Denylist   Mode = "denylist"   // every name but the denied and the built-in ones (localhost, metadata services)
	Allowlist  Mode = "allowlist"  // only what an allow entry admits; without entries nothing
	Permissive Mode = "permissive" // the built-in names are not refused by name, only by the addresses behind them
)

// DefaultMaxRedirects is how many redirects are followed: what browsers' fetch and HTTP clients need in practice is two.
const DefaultMaxRedirects = 5

// maxMaxRedirects bounds the setting; 20 is the limit of the Fetch standard.
const maxMaxRedirects = 20

// Policy says which connections may be opened. The zero value is the safe default: every public host, nothing else.
type Policy struct {
	Mode  Mode
	Deny  []Entry // win over Allow, in every mode
	Allow []Entry

	// AllowPrivate opens RFC 1918, carrier-grade NAT and unique-local addresses to every name. Prefer an Allow entry.
	AllowPrivate bool
	// AllowLinkLocal opens 169.254.0.0/16 and fe80::/10, except metadata addresses.
	AllowLinkLocal bool

	// MaxRedirects is the number of redirects followed; 0 means DefaultMaxRedirects, -1 none.
	MaxRedirects int
}

// ParsePolicy reads the operator's setting, a JSON object:
//
//	{"mode": "denylist", "deny": ["bad.example"], "allow": ["git.corp.example", "10.1.0.0/16", "127.0.0.1:3999"],
//	 "allow_private": false, "allow_link_local": false, "max_redirects": 5}
//
// Every key is optional. Unknown keys, unknown modes and entries without effect are errors, and so is an empty text: a
// policy that does not parse must stop the start, never count as absent.
func ParsePolicy(text string) (Policy, error) {
	var raw *struct {
		Mode           Mode    `json:"mode"`
		Deny           []Entry `json:"deny"`
		Allow          []Entry `json:"allow"`
		AllowPrivate   bool    `json:"allow_private"`
		AllowLinkLocal bool    `json:"allow_link_local"`
		MaxRedirects   *int    `json:"max_redirects"`
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return Policy{}, fmt.Errorf("outbound policy: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, errors.New("outbound policy: text after the JSON object")
	}
	if raw == nil {
		return Policy{}, errors.New("outbound policy: null, want a JSON object")
	}
	switch raw.Mode {
	case "", Denylist, Allowlist, Permissive:
	default:
		return Policy{}, fmt.Errorf("outbound policy: mode %q, want denylist, allowlist or permissive", raw.Mode)
	}
	policy := Policy{
		Mode: raw.Mode, Deny: raw.Deny, Allow: raw.Allow,
		AllowPrivate: raw.AllowPrivate, AllowLinkLocal: raw.AllowLinkLocal,
	}
	for _, e := range policy.Allow {
		if err := e.opensSomething(); err != nil {
			return Policy{}, fmt.Errorf("outbound policy: allow entry %q: %w", e, err)
		}
	}
	if n := raw.MaxRedirects; n != nil {
		if *n < 0 || *n > maxMaxRedirects {
			return Policy{}, fmt.Errorf("outbound policy: max_redirects %d, want 0 to %d", *n, maxMaxRedirects)
		}
		policy.MaxRedirects = *n
		if *n == 0 {
			policy.MaxRedirects = -1
		}
	}
	return policy, nil
}

func (p Policy) maxRedirects() int {
	switch {
	case p.MaxRedirects < 0:
		return 0
	case p.MaxRedirects == 0:
		return DefaultMaxRedirects
	}
	return p.MaxRedirects
}

// Entry names one thing the policy speaks of: a host name with its sub-domains, one host and port, or a range of
// addresses. The zero Entry matches nothing. Make one with ParseEntry.
type Entry struct {
	host   string       // canonical name or address text; empty for a range
	port   uint16       // 0: the name and its sub-domains on any port
	prefix netip.Prefix // valid for a range
}

// ParseEntry reads an entry in one of its spellings: "corp.example" or ".corp.example" (the name and its sub-domains),
// "git.corp.example:8443", "127.0.0.1:3999", "[::1]:3999" (exactly this), "10.1.0.0/16" or "10.1.2.3" (addresses).
func ParseEntry(text string) (Entry, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		if prefix != prefix.Masked() {
			return Entry{}, fmt.Errorf("entry %q: bits are set after the mask, want %s", text, prefix.Masked())
		}
		if prefix.Addr().Is4In6() {
			return Entry{}, fmt.Errorf("entry %q: write the range as IPv4", text)
		}
		return Entry{prefix: prefix}, nil
	}
	if strings.ContainsAny(text, "/@?#% ") {
		return Entry{}, fmt.Errorf("entry %q: want a host name, host:port or a CIDR range, not a URL", text)
	}
	host, port, hasPort := text, "", false
	if strings.HasPrefix(text, "[") || strings.Count(text, ":") == 1 {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return Entry{}, fmt.Errorf("entry %q: %w", text, err)
		}
		hasPort = true
	}
	suffix, dotted := strings.CutPrefix(host, ".")
	if dotted && hasPort {
		return Entry{}, fmt.Errorf("entry %q: a port needs one exact host", text)
	}
	t, err := parseHost(suffix)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %q: %w", text, err)
	}
	if dotted && t.literal() {
		return Entry{}, fmt.Errorf("entry %q: an address has no sub-domains", text)
	}
	if hasPort {
		n, err := parsePort(port)
		if err != nil {
			return Entry{}, fmt.Errorf("entry %q: %w", text, err)
		}
		return Entry{host: t.host, port: n}, nil
	}
	if t.literal() {
		return Entry{prefix: netip.PrefixFrom(t.addr, t.addr.BitLen())}, nil
	}
	return Entry{host: t.host}, nil
}

// String gives the spelling that ParseEntry reads.
func (e Entry) String() string {
	switch {
	case e.prefix.IsValid():
		return e.prefix.String()
	case e.port != 0:
		return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
	}
	return e.host
}

// MarshalText is String.
func (e Entry) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseEntry.
func (e *Entry) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEntry(string(text))
	return err
}

// opensSomething refuses an allow entry that looks as if it opened loopback or metadata but can not.
func (e Entry) opensSomething() error {
	never := false
	switch {
	case e.prefix.IsValid():
		first, last := Classify(e.prefix.Addr()), Classify(lastAddr(e.prefix))
		never = first == last && first != Global && !first.openable()
	case e.port == 0:
		never = isBuiltInName(e.host)
	}
	if never {
		return errors.New("loopback, unspecified and metadata targets are opened only by host:port")
	}
	return nil
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
