package provider

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// Fields are the named values somebody is asked for.
type Fields map[string]Field

// Field is one value: a text with a label and rules.
type Field struct {
	Type        string            `json:"type"` // always "string"
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Example     string            `json:"example"`
	Pattern     *Pattern          `json:"pattern"`
	Format      string            `json:"format"` // hostname, uri, uuid, email
	Enum        []string          `json:"enum"`
	Warnings    map[string]string `json:"warnings"` // a caution for a value
	Default     string            `json:"default_value"`
	Prefix      string            `json:"prefix"` // shown before the input, no part of the value
	Suffix      string            `json:"suffix"` // shown behind it
	Order       int               `json:"order"`
	Optional    bool              `json:"optional"`
	Hidden      bool              `json:"hidden"`
	Automated   bool              `json:"automated"` // filled by the server, never asked
	Secret      bool              `json:"secret"`
	DocSection  string            `json:"doc_section"`
	VisibleWhen *VisibleWhen      `json:"visible_when"`
}

// VisibleWhen shows a field only while another field has a value.
type VisibleWhen struct {
	Field  string `json:"field"`
	Equals string `json:"equals"`
}

// Required reports whether somebody must give a value.
func (f Field) Required() bool {
	return !f.Optional && !f.Hidden && !f.Automated && f.Default == ""
}

// Normalize turns what people paste into the value that is meant: it trims white space and takes off the prefix and the
// suffix that the form shows around the input, so that "https://acme.example.com/deals" in a sub-domain field becomes
// "acme". http:// counts as https://, the scheme may be missing, and letter case does not matter.
func (f Field) Normalize(value string) string {
	value = strings.TrimSpace(value)
	prefixes := []string{f.Prefix}
	if host, ok := strings.CutPrefix(f.Prefix, "https://"); ok {
		prefixes = append(prefixes, "http://"+host, host)
	}
	for _, prefix := range prefixes {
		if n := len(prefix); n > 0 && len(value) >= n && strings.EqualFold(value[:n], prefix) {
			value = value[n:]
			break
		}
	}
	if f.Suffix == "" {
		return value
	}
	host, _, _ := strings.Cut(value, "/")
	for _, text := range []string{value, host} {
		if n := len(text) - len(f.Suffix); n >= 0 && strings.EqualFold(text[n:], f.Suffix) {
			return text[:n]
		}
	}
	return value
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

// Check tells what is wrong with a normalised value: "" if nothing. The text is safe to show and does not repeat the value.
func (f Field) Check(value string) string {
	switch {
	case value == "":
		if f.Required() {
			return "needs a value"
		}
		return ""
	case len(f.Enum) > 0 && !slices.Contains(f.Enum, value):
		return "must be one of " + strings.Join(f.Enum, ", ")
	case f.Pattern != nil && !f.Pattern.MatchString(value):
		return "must match " + f.Pattern.String()
	}
	return checkFormat(f.Format, value)
}

func checkFormat(format, value string) string {
	switch format {
	case "hostname":
		if !hostname.MatchString(value) {
			return "must be a host name: letters, digits, dots and dashes"
		}
	case "uri":
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return "must be a URL that begins with https:// or http://"
		}
	case "uuid":
		if _, err := uuid.Parse(value); err != nil || len(value) != 36 {
			return "must be a UUID"
		}
	case "email":
		at := strings.LastIndexByte(value, '@')
		if at < 1 || !hostname.MatchString(value[at+1:]) || strings.ContainsAny(value, " \t\r\n") {
			return "must be an e-mail address"
		}
	}
	return ""
}

// Apply normalises and checks values that came from a client: declared fields only; others pass through untouched, because
// sessions and callbacks add keys of their own. A declared value that is no text is refused; a missing optional one with a
// default gets the default. The map that comes back is new; issues is empty when all is well, and their paths begin with
// the given elements.
func (fields Fields) Apply(values map[string]any, path ...string) (map[string]any, []errs.Issue) {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]any{}
	}
	var issues []errs.Issue
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		field := fields[name]
		text, isText := out[name].(string)
		if v, given := out[name]; given && v != nil && !isText {
			issues = append(issues, issue("invalid_type", "must be a string", path, name))
			continue
		}
		text = field.Normalize(text)
		if text == "" && !field.Automated {
			text = field.Default
		}
		if fault := field.Check(text); fault != "" {
			issues = append(issues, issue("invalid_string", fault, path, name))
			continue
		}
		if text != "" || isText {
			out[name] = text
		}
	}
	return out, issues
}

func issue(code, message string, path []string, name string) errs.Issue {
	return errs.Issue{Code: code, Message: name + " " + message, Path: append(slices.Clone(path), name)}
}
