package oplog

import (
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// noise lists headers that tell nothing about an integration and are left out. Cookies are among them because they are
// credentials as well.
var noise = wordSet(`alt-svc cf-ray cf-cache-status connection content-security-policy content-security-policy-report-only cookie
	set-cookie keep-alive nel permissions-policy referrer-policy report-to server server-timing strict-transport-security
	timing-allow-origin vary x-amzn-trace-id x-amzn-requestid x-amz-cf-id x-amz-cf-pop x-cache x-backend x-edge-backend x-server
	x-content-type-options x-dns-prefetch-control x-download-options x-frame-options x-hubspot-correlation-id x-powered-by
	x-xss-protection`)

func isNoise(header string) bool {
	return noise[header] || strings.HasPrefix(header, "access-control-")
}

// plainKeys end in "key" and are no credentials.
var plainKeys = wordSet("idempotency-key x-idempotency-key sec-websocket-key surrogate-key provider-config-key")

// isCredentialHeader goes by the words of a header's name, which is in lower case: x-shop-access-token, dd-api-key.
func isCredentialHeader(name string) bool {
	if plainKeys[name] {
		return false
	}
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch word {
		case "authorization", "token", "secret", "password", "passwd", "apikey", "cookie", "credential", "credentials", "jwt", "assertion":
			return true
		}
	}
	return strings.HasSuffix(name, "-key") || strings.HasSuffix(name, "_key")
}

// credentialMembers are names of parameters and of members of JSON objects whose value is a credential wherever they stand,
// without dashes and underscores, in lower case.
var credentialMembers = wordSet(`accesstoken refreshtoken idtoken apikey apitoken authtoken sessiontoken oauthtoken oauthtokensecret
	tokensecret bearertoken usertoken clientsecret clientassertion consumersecret appsecret webhooksecret signingsecret secretkey
	accesskey privatekey signingkey password passwd authorization codeverifier oauthverifier`)

// credentialParameters are such names in queries and forms, where shorter ones are in use too.
var credentialParameters = wordSet(`code token secret pwd jwt assertion sig signature oauthsignature xamzsignature xamzcredential
	xamzsecuritytoken hapikey appkey userkey subscriptionkey bearer auth`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// longestName is more than the longest of the words above, with separators.
const longestName = 64

// isIn looks a name up without its case, dashes, underscores and brackets.
func isIn(name string, sets ...map[string]bool) bool {
	if len(name) > longestName {
		return false
	}
	var plain [longestName]byte
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			plain[n] = c + 'a' - 'A'
			n++
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			plain[n] = c
			n++
		}
	}
	for _, set := range sets {
		if set[string(plain[:n])] {
			return true
		}
	}
	return false
}

// byName blanks the values that their names give away: parameters of URLs and forms, passwords in URLs, members of JSON.
func byName(s string) string {
	if strings.IndexByte(s, '=') >= 0 {
		s = blankParameters(s)
	}
	if strings.Contains(s, "://") {
		s = blankUserinfo(s)
	}
	if strings.Contains(s, `":`) || strings.Contains(s, `" :`) {
		s = blankMembers(s)
	}
	return s
}

// blankParameters finds name=value at the start of s or after one of ?&#; and blanks the value.
func blankParameters(s string) string {
	var out strings.Builder
	kept := 0
	for i := 0; i < len(s); i++ {
		equals := strings.IndexByte(s[i:], '=')
		if equals < 0 {
			break
		}
		i += equals
		start := i
		for start > kept && i-start < longestName && isNameByte(s[start-1]) {
			start--
		}
		if start > 0 && strings.IndexByte("?&#;", s[start-1]) < 0 {
			continue
		}
		if !isIn(s[start:i], credentialMembers, credentialParameters) {
			continue
		}
		end := i + 1
		for end < len(s) && strings.IndexByte("&#<>\"'\\ \t\r\n", s[end]) < 0 {
			end++
		}
		if end == i+1 {
			continue
		}
		out.WriteString(s[kept : i+1])
		out.WriteString(secret.Redacted)
		kept, i = end, end-1
	}
	return out.String() + s[kept:]
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.[]%", c) >= 0
}

// tokenLength is from where on a user name without a password is taken for a token, as in https://TOKEN@git.example.com.
const tokenLength = 16

// blankUserinfo blanks the password in scheme://user:password@host.
func blankUserinfo(s string) string {
	var out strings.Builder
	kept := 0
	for at := strings.Index(s, "://"); at >= 0; {
		start := at + len("://")
		authority := s[start:]
		if end := strings.IndexAny(authority, "/?#<>\"'\\ \t\r\n"); end >= 0 {
			authority = authority[:end]
		}
		if host := strings.LastIndexByte(authority, '@'); host >= 0 {
			user := strings.IndexByte(authority[:host], ':') + 1
			if user > 0 && user < host || user == 0 && host >= tokenLength {
				out.WriteString(s[kept : start+user])
				out.WriteString(secret.Redacted)
				kept = start + host
			}
		}
		next := strings.Index(s[start:], "://")
		if next < 0 {
			break
		}
		at = start + next
	}
	return out.String() + s[kept:]
}

// blankMembers blanks "access_token": "value", also where the JSON is inside a JSON string and its quotes are escaped.
func blankMembers(s string) string {
	var out strings.Builder
	kept := 0
	for i := 0; i < len(s); i++ {
		colon := strings.IndexByte(s[i:], ':')
		if colon < 0 {
			break
		}
		i += colon
		name, quote := memberName(s[kept:i])
		if name == "" || !isIn(name, credentialMembers) {
			continue
		}
		start := i + 1
		for start < len(s) && strings.IndexByte(" \t\r\n", s[start]) >= 0 {
			start++
		}
		if !strings.HasPrefix(s[start:], quote) {
			continue
		}
		start += len(quote)
		end := stringEnd(s, start, quote)
		if end == start {
			continue
		}
		out.WriteString(s[kept:start])
		out.WriteString(secret.Redacted)
		kept, i = end, end
	}
	return out.String() + s[kept:]
}

// memberName reads a quoted name at the end of s and gives its quote, with the backslashes before it.
func memberName(s string) (name, quote string) {
	s = strings.TrimRight(s, " \t\r\n")
	if !strings.HasSuffix(s, `"`) {
		return "", ""
	}
	end := len(s) - 1
	for end > 0 && s[end-1] == '\\' {
		end--
	}
	quote = s[end:]
	start := end
	for start > 0 && end-start < longestName && isNameByte(s[start-1]) {
		start--
	}
	if !strings.HasSuffix(s[:start], quote) {
		return "", ""
	}
	return s[start:end], quote
}

// stringEnd is where the string that began at start ends: at a quote with exactly the backslashes of its opening one.
func stringEnd(s string, start int, quote string) int {
	for i := start; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		slashes := 0
		for i-slashes > start && s[i-slashes-1] == '\\' {
			slashes++
		}
		// One level deeper a quote has 2n+1 backslashes; a value may also end in escaped backslashes of its own.
		if want := len(quote) - 1; slashes == want || want == 0 && slashes%2 == 0 {
			return i - want
		}
	}
	return len(s)
}
