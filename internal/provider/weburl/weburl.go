// Package weburl reads a URL that was put together from pieces (a base, a caller's path, values a user typed) the way
// HTTP clients built on the WHATWG URL standard do, and refuses what must not be dialled.
//
// It promises: the path and query that come back are exactly what will be sent (url.URL keeps them as RawPath and
// RawQuery); existing percent escapes are kept byte for byte; only what may not stand there is escaped; dot segments are
// resolved; the fragment is dropped. Parsing the result again changes nothing.
//
// It is stricter than the standard where leniency only hides a mistake: http and https only, a non-empty host of letters,
// digits, "-", "_" and "." (or an IP literal), no user name or password, no empty label in the host.
package weburl

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// ErrInvalid is wrapped by every error of Parse. The message names the fault and never repeats the URL, which may hold a
// credential.
var ErrInvalid = errors.New("invalid URL")

func invalid(reason string) error { return fmt.Errorf("%w: %s", ErrInvalid, reason) }

// Parse reads text as an absolute http or https URL.
func Parse(text string) (*url.URL, error) {
	text = strings.TrimFunc(text, func(r rune) bool { return r <= ' ' })
	text = lineBreaks.Replace(text)

	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, invalid("it does not begin with https://")
	}
	scheme = strings.ToLower(scheme)
	if scheme != "https" && scheme != "http" {
		return nil, invalid("the scheme is neither https nor http")
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, `/\?`)
	if end < 0 {
		end = len(rest)
	}
	host, err := parseHost(scheme, rest[:end])
	if err != nil {
		return nil, err
	}
	path, query, hasQuery := strings.Cut(rest[end:], "?")
	rawPath := resolveDots(escape(strings.ReplaceAll(path, `\`, "/"), pathMayNotHold))
	decoded, err := url.PathUnescape(rawPath)
	if err != nil { // cannot happen: escape leaves only whole escapes
		return nil, invalid("its path is not escaped properly")
	}
	return &url.URL{
		Scheme: scheme, Host: host, Path: decoded, RawPath: rawPath,
		RawQuery: escape(query, queryMayNotHold), ForceQuery: hasQuery && query == "",
	}, nil
}

var lineBreaks = strings.NewReplacer("\t", "", "\r", "", "\n", "")

// parseHost checks and normalises "host:port": lower case, IDNA, no default port.
func parseHost(scheme, authority string) (string, error) {
	if strings.Contains(authority, "@") {
		return "", invalid("it holds a user name or password")
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:i], authority[i+1:]
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return "", invalid("the port is not a number up to 65535")
		}
		port = ":" + strconv.FormatUint(n, 10)
		if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			port = ""
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(host, "]") {
			return "", invalid("the host is not an IPv6 address")
		}
		return "[" + addr.String() + "]" + port, nil
	}
	host, err := url.PathUnescape(host)
	if err != nil {
		return "", invalid("the host is not escaped properly")
	}
	if host, err = toASCII(host); err != nil {
		return "", err
	}
	return host + port, nil
}

func toASCII(host string) (string, error) {
	ascii := true
	for i := range len(host) {
		ascii = ascii && host[i] < 0x80
	}
	if !ascii {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", invalid("the host is not an international domain name")
		}
	}
	host = strings.ToLower(host)
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" {
			return "", invalid("the host is empty or has an empty label")
		}
	}
	if i := strings.IndexFunc(host, func(r rune) bool { return !isHostRune(r) }); i >= 0 {
		return "", invalid("the host holds a character that no host name has")
	}
	return host, nil
}

func isHostRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// What may not stand in a path or a query and is therefore escaped. "|", "^" and "`" are allowed by the standard, but
// net/url would re-escape the whole path because of them and lose the difference between "/" and "%2F".
const (
	pathMayNotHold  = " \"#<>?`{}|^\\"
	queryMayNotHold = " \"#<>'"
)

// escape percent-encodes control characters, bytes beyond ASCII, the characters of set, and a "%" that begins no escape.
func escape(text, set string) string {
	const hex = "0123456789ABCDEF"
	bad := func(i int) bool {
		c := text[i]
		if c == '%' {
			return i+2 >= len(text) || !isHex(text[i+1]) || !isHex(text[i+2])
		}
		return c < ' ' || c >= 0x7f || strings.IndexByte(set, c) >= 0
	}
	var out []byte // nil while nothing had to be escaped
	for i := range len(text) {
		switch {
		case !bad(i):
			if out != nil {
				out = append(out, text[i])
			}
		case out == nil:
			out = append(make([]byte, 0, len(text)+16), text[:i]...)
			fallthrough
		default:
			out = append(out, '%', hex[text[i]>>4], hex[text[i]&15])
		}
	}
	if out == nil {
		return text
	}
	return string(out)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// resolveDots removes "." and ".." segments, escaped ones included, and makes the path begin with "/".
func resolveDots(path string) string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
		case ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}
