package vm

import (
	"fmt"
	"net/url"
	"strings"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// nativeURLParse (input, base, "base" if there is one) returns the parts of a URL, or null if it is none: href, origin,
// protocol, username, password, host, hostname, port, pathname, search, hash, joined by newlines (no part can hold one).
func nativeURLParse(args []string) (any, error) {
	parse := func() (*whatwg.Url, error) { return whatwg.Parse(arg(args, 0)) }
	if arg(args, 2) == "base" {
		parse = func() (*whatwg.Url, error) { return whatwg.ParseRef(arg(args, 1), arg(args, 0)) }
	}
	if u, err := parse(); err == nil {
		return urlParts(u), nil
	}
	return nil, nil
}

// nativeURLSet (href, property, value) returns the parts of href after the property was set, which changes nothing if the
// value does not fit.
func nativeURLSet(args []string) (any, error) {
	u, err := whatwg.Parse(arg(args, 0))
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	value := arg(args, 2)
	switch arg(args, 1) {
	case "protocol":
		u.SetProtocol(value)
	case "username":
		u.SetUsername(value)
	case "password":
		u.SetPassword(value)
	case "host":
		u.SetHost(value)
	case "hostname":
		u.SetHostname(value)
	case "port":
		u.SetPort(value)
	case "pathname":
		u.SetPathname(value)
	case "search":
		u.SetSearch(value)
	case "hash":
		u.SetHash(value)
	default:
		return nil, fmt.Errorf("url: no property %q", arg(args, 1))
	}
	return urlParts(u), nil
}

func urlParts(u *whatwg.Url) string {
	return strings.Join([]string{
		u.Href(false), origin(u), u.Protocol(), u.Username(), u.Password(), u.Host(), u.Hostname(), u.Port(), u.Pathname(),
		u.Search(), u.Hash(),
	}, "\n")
}

// origin is "null" for everything without a tuple origin; a blob URL has that of the URL in its path, if that is http(s).
func origin(u *whatwg.Url) string {
	switch u.Scheme() {
	case "http", "https", "ws", "wss", "ftp":
		return u.Protocol() + "//" + u.Host()
	case "blob":
		if inner, err := whatwg.Parse(u.Pathname()); err == nil && (inner.Scheme() == "http" || inner.Scheme() == "https") {
			return origin(inner)
		}
	}
	return "null"
}

// nativeURLForm (text) decodes one name or value of application/x-www-form-urlencoded: "+" is a space, a stray "%" stays,
// broken UTF-8 becomes U+FFFD.
func nativeURLForm(args []string) (any, error) {
	s := arg(args, 0)
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	raw := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			raw = append(raw, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b, _ := url.PathUnescape(s[i : i+3])
			raw = append(raw, b...)
			i += 2
		default:
			raw = append(raw, s[i])
		}
	}
	return repairUTF8(raw), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
