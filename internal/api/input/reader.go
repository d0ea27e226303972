package input

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// Reader reads the members of one object. Use each name once: what was never asked for is reported by Strict.
type Reader struct {
	fields map[string]value
	path   []string
	used   map[string]struct{}
	issues *[]errs.Issue
	broken bool // the value was no object, which has been reported
}

func newReader(fields map[string]value) *Reader {
	return &Reader{fields: fields, used: map[string]struct{}{}, issues: new([]errs.Issue)}
}

// Body reads a JSON object. An empty body is the absent value. The bytes must be well-formed JSON.
func Body(raw []byte) *Reader {
	r := newReader(nil)
	v := rawValue(raw)
	if v.kind != object {
		r.wrongType(nil, object, v)
		r.broken = true
		return r
	}
	r.fields = v.fields()
	return r
}

// Query reads a query string, with the bracket syntax (tags[a]=b) and lists by repetition.
func Query(query url.Values) *Reader { return newReader(queryValues(query)) }

// Params reads path parameters.
func Params(params map[string]string) *Reader {
	fields := make(map[string]value, len(params))
	for name, v := range params {
		fields[name] = textValue(v)
	}
	return newReader(fields)
}

// Headers reads the named headers; an empty one counts as absent. Names are reported in lower case.
func Headers(header http.Header, names ...string) *Reader {
	fields := make(map[string]value, len(names))
	for _, name := range names {
		if v := header.Get(name); v != "" {
			fields[strings.ToLower(name)] = textValue(v)
		}
	}
	return newReader(fields)
}

// Strict reports members that were not asked for.
func (r *Reader) Strict() *Reader {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		if _, ok := r.used[name]; !ok {
			unknown = append(unknown, strconv.Quote(name))
		}
	}
	switch len(unknown) {
	case 0:
	case 1:
		r.Issue("unrecognized_keys", "Unrecognized key: "+unknown[0])
	default:
		r.Issue("unrecognized_keys", "Unrecognized keys: "+strings.Join(unknown, ", "))
	}
	return r
}

// Err is nil, or an errs.Error with the given code and everything that was found wrong.
func (r *Reader) Err(code string) error {
	if len(*r.issues) == 0 {
		return nil
	}
	return errs.Invalid(code, *r.issues...)
}

// Issue reports a finding of the caller's own at a path below this object. Below what is no object there is nothing to find.
func (r *Reader) Issue(code, message string, path ...string) {
	if r.broken {
		return
	}
	*r.issues = append(*r.issues, errs.Issue{Code: code, Message: message, Path: append(slices.Clone(orEmpty(r.path)), path...)})
}

func orEmpty(path []string) []string {
	if path == nil {
		return []string{}
	}
	return path
}

// Has reports whether the member is there, null included.
func (r *Reader) Has(name string) bool {
	_, ok := r.fields[name]
	return ok
}

func (r *Reader) take(name string) value {
	r.used[name] = struct{}{}
	v, ok := r.fields[name]
	if !ok {
		v.kind = absent
	}
	return v
}

func (r *Reader) wrongType(path []string, want kind, got value) {
	r.Issue("invalid_type", fmt.Sprintf("Invalid input: expected %s, received %s", want, got.kind), path...)
}

// Text says which strings pass. The zero value is an optional string of any length.
type Text struct {
	Required bool
	// Min and Max are lengths in UTF-16-free characters (runes); Max 0 means no limit.
	Min, Max int
	Pattern  *regexp.Regexp
	// Email asks for an address with a dot in its domain.
	Email bool
	// Nullable lets null pass as absent.
	Nullable bool
}

var email = regexp.MustCompile(`^[A-Za-z0-9_'+\-.]*[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}$`)

// String reads a string.
func (r *Reader) String(name string, rule Text) string {
	s, _ := r.string(r.take(name), rule, name)
	return s
}

func (r *Reader) string(v value, rule Text, path ...string) (string, bool) {
	switch {
	case r.broken, v.kind == absent && !rule.Required, v.kind == null && rule.Nullable:
		return "", false
	case v.kind != text:
		r.wrongType(path, text, v)
		return "", false
	}
	s := v.string()
	length := len([]rune(s))
	switch {
	case length < rule.Min:
		r.Issue("too_small", fmt.Sprintf("Too small: expected string to have >=%d characters", rule.Min), path...)
	case rule.Max > 0 && length > rule.Max:
		r.Issue("too_big", fmt.Sprintf("Too big: expected string to have <=%d characters", rule.Max), path...)
	case rule.Pattern != nil && !rule.Pattern.MatchString(s):
		r.Issue("invalid_format", fmt.Sprintf("Invalid string: must match pattern /%s/", rule.Pattern), path...)
	case rule.Email && !email.MatchString(s):
		r.Issue("invalid_format", "Invalid email address", path...)
	case strings.ContainsRune(s, 0): // PostgreSQL has no text with it, and no name needs it
		r.Issue("invalid_format", "Invalid string: must not contain the character U+0000", path...)
	default:
		return s, true
	}
	return "", false
}

// OneOf reads a string out of a closed list; absent gives "".
func (r *Reader) OneOf(name string, options ...string) string {
	v := r.take(name)
	if r.broken || v.kind == absent {
		return ""
	}
	if s := v.string(); v.kind == text && slices.Contains(options, s) {
		return s
	}
	quoted := make([]string, len(options))
	for i, o := range options {
		quoted[i] = strconv.Quote(o)
	}
	r.Issue("invalid_value", "Invalid option: expected one of "+strings.Join(quoted, "|"), name)
	return ""
}

// Bool reads a JSON boolean.
func (r *Reader) Bool(name string, fallback bool) bool {
	v := r.take(name)
	switch {
	case r.broken || v.kind == absent:
		return fallback
	case v.kind == boolean:
		return v.raw[0] == 't'
	}
	r.wrongType([]string{name}, boolean, v)
	return fallback
}

// Flag reads a boolean written as a word, as queries and headers do.
func (r *Reader) Flag(name string, fallback bool) bool {
	v := r.take(name)
	if v.kind == absent {
		return fallback
	}
	switch strings.ToLower(v.string()) {
	case "true", "1", "yes", "on", "y", "enabled":
		return true
	case "false", "0", "no", "off", "n", "disabled":
		return false
	}
	r.Issue("invalid_value",
		`Invalid option: expected one of "true"|"1"|"yes"|"on"|"y"|"enabled"|"false"|"0"|"no"|"off"|"n"|"disabled"`, name)
	return fallback
}

// Int reads a whole number between low and high, from a number or from digits.
func (r *Reader) Int(name string, fallback, low, high int) int {
	v := r.take(name)
	if r.broken || v.kind == absent {
		return fallback
	}
	digits := v.string()
	if v.kind == number {
		digits = string(v.raw)
	}
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil:
		r.Issue("invalid_type", "Invalid input: expected number, received NaN", name)
	case n < low:
		r.Issue("too_small", fmt.Sprintf("Too small: expected number to be >=%d", low), name)
	case n > high:
		r.Issue("too_big", fmt.Sprintf("Too big: expected number to be <=%d", high), name)
	default:
		return n
	}
	return fallback
}

// Strings reads a list of strings, or one string as a list of one. limit 0 means no limit.
func (r *Reader) Strings(name string, rule Text, limit int) []string {
	v := r.take(name)
	if r.broken || v.kind == absent && !rule.Required {
		return nil
	}
	items := v.items()
	switch v.kind {
	case list:
	case text:
		items = []value{v}
	default:
		r.wrongType([]string{name}, list, v)
		return nil
	}
	if limit > 0 && len(items) > limit {
		r.Issue("too_big", fmt.Sprintf("Too big: expected array to have <=%d items", limit), name)
		return nil
	}
	all := make([]string, 0, len(items))
	rule.Required = true
	for i, item := range items {
		if s, ok := r.string(item, rule, name, index(i)); ok {
			all = append(all, s)
		}
	}
	return all
}

// StringMap reads an object whose values are strings.
func (r *Reader) StringMap(name string, rule Text) map[string]string {
	v := r.take(name)
	if r.broken || v.kind == absent && !rule.Required {
		return nil
	}
	if v.kind != object {
		r.wrongType([]string{name}, object, v)
		return nil
	}
	fields := v.fields()
	all := make(map[string]string, len(fields))
	rule.Required = true
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if s, ok := r.string(fields[key], rule, name, key); ok {
			all[key] = s
		}
	}
	return all
}

// Object reads a nested object, nil when it is absent. Its findings are reported with this reader's.
func (r *Reader) Object(name string, required bool) *Reader {
	v := r.take(name)
	if r.broken || v.kind == absent && !required {
		return nil
	}
	inner := &Reader{path: append(slices.Clone(r.path), name), used: map[string]struct{}{}, issues: r.issues}
	if v.kind != object {
		r.wrongType([]string{name}, object, v)
		inner.broken = true
		return inner
	}
	inner.fields = v.fields()
	return inner
}

// Each reads a list of objects and of bare strings: f is called with the index and either a reader or a string.
func (r *Reader) Each(name string, required bool, limit int, f func(i int, item *Reader, text string)) {
	v := r.take(name)
	if r.broken || v.kind == absent && !required {
		return
	}
	if v.kind != list {
		r.wrongType([]string{name}, list, v)
		return
	}
	items := v.items()
	if limit > 0 && len(items) > limit {
		r.Issue("too_big", fmt.Sprintf("Too big: expected array to have <=%d items", limit), name)
		return
	}
	for i, item := range items {
		switch item.kind {
		case text:
			f(i, nil, item.string())
		case object:
			f(i, &Reader{fields: item.fields(), path: append(slices.Clone(r.path), name, index(i)), used: map[string]struct{}{}, issues: r.issues}, "")
		default:
			r.Issue("invalid_union", "Invalid input", name, index(i))
		}
	}
}

// JSONObject reads an object and hands it over as it was written; nil when absent.
func (r *Reader) JSONObject(name string, required bool) json.RawMessage {
	v := r.take(name)
	if r.broken || v.kind == absent && !required {
		return nil
	}
	if v.kind != object {
		r.wrongType([]string{name}, object, v)
		return nil
	}
	return v.raw
}

// JSON reads any value as it was written; nil when absent.
func (r *Reader) JSON(name string) json.RawMessage { return r.take(name).raw }

// Names gives the members in order.
func (r *Reader) Names() []string { return slices.Sorted(maps.Keys(r.fields)) }
