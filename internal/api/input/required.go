package input

import "strings"

// RequiredBool is Bool for a member that must be there.
func (r *Reader) RequiredBool(name string) bool {
	if !r.broken && !r.Has(name) {
		r.Issue("invalid_type", "Invalid input: expected boolean, received undefined", name)
	}
	return r.Bool(name, false)
}

// RequiredOneOf is OneOf for a member that must be there.
func (r *Reader) RequiredOneOf(name string, options ...string) string {
	if !r.broken && !r.Has(name) {
		r.Issue("invalid_value", `Invalid option: expected one of "`+strings.Join(options, `"|"`)+`"`, name)
	}
	return r.OneOf(name, options...)
}
