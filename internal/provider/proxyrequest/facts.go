package proxyrequest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// facts are the names a header template can read about the outgoing request.
func (r *Request) facts(u *url.URL) map[string]any {
	facts := map[string]any{
		"method": strings.ToUpper(r.Method), "host": u.Host, "path": u.EscapedPath(), "endpoint": r.Path,
		"contentType": r.ContentType, "bodyCanonicalParams": string(r.Body),
	}
	query := queryPairs(u.RawQuery)
	facts["urlCanonicalParams"] = canonical(query)
	switch strings.ToUpper(r.Method) {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		facts["params"] = canonical(r.bodyPairs())
	default:
		facts["params"] = facts["urlCanonicalParams"]
	}
	return facts
}

type pair struct{ name, value string }

// queryPairs reads a form-encoded text in order, duplicates included. An escape that is none stands for itself.
func queryPairs(text string) []pair {
	var pairs []pair
	for part := range strings.SplitSeq(text, "&") {
		if part != "" {
			name, value, _ := strings.Cut(part, "=")
			pairs = append(pairs, pair{unescape(name), unescape(value)})
		}
	}
	return pairs
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// bodyPairs reads the parameters of an object or form body; other bodies have none.
func (r *Request) bodyPairs() []pair {
	if strings.HasPrefix(r.ContentType, "application/x-www-form-urlencoded") {
		return queryPairs(string(r.Body))
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Body))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return nil
	}
	var pairs []pair
	for name, v := range object {
		pairs = append(pairs, pair{name, flatten(v)})
	}
	return pairs
}

// flatten writes a JSON value as a parameter: lists joined by commas, objects as compact JSON.
func flatten(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = flatten(item)
		}
		return strings.Join(parts, ",")
	default:
		text, err := json.Marshal(v)
		if err != nil { // it came out of a decoder
			return ""
		}
		return string(text)
	}
}

// canonical sorts by name, keeping the order of duplicates, and percent-encodes everything but the unreserved characters
// of RFC 3986: signatures over parameters need one spelling.
func canonical(pairs []pair) string {
	slices.SortStableFunc(pairs, func(a, b pair) int { return compareNames(a.name, b.name) })
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		parts[i] = strict(p.name) + "=" + strict(p.value)
	}
	return strings.Join(parts, "&")
}

func strict(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// compareNames is the order of the wire contract, which compares like a dictionary: punctuation, digits, letters; the case
// of letters decides last, lower case first.
func compareNames(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	order := slices.CompareFunc(x, y, func(a, b rune) int {
		return cmp.Or(cmp.Compare(runeClass(a), runeClass(b)), cmp.Compare(a, b))
	})
	return cmp.Or(order, strings.Compare(b, a))
}

func runeClass(r rune) int {
	switch {
	case unicode.IsLetter(r):
		return 2
	case unicode.IsDigit(r):
		return 1
	default:
		return 0
	}
}
