package template

import (
	"slices"
	"strings"
)

// Dialect selects how a template is read; see the package comment.
type Dialect uint8

// The three dialects.
const (
	Object Dialect = iota
	Wrapper
	Flat
)

// Template is a parsed text. The zero value and the nil pointer are the empty text. It is immutable and safe for
// concurrent use.
type Template struct {
	text string
	// object, wrapper and flat are nil when the text is a literal in that dialect. They share one program where the
	// dialects agree.
	object, wrapper, flat *program
	// sides are the two parts of "||", nil without it.
	sides []*Template
}

// Parse reads text in every dialect. It never fails: what is no placeholder is a literal.
func Parse(text string) *Template {
	t := &Template{text: text}
	placeholders, bars := strings.Contains(text, "${"), strings.Contains(text, "||")
	if bars {
		left, right, _ := strings.Cut(text, "||")
		right, _, _ = strings.Cut(right, "||")
		t.sides = []*Template{Parse(strings.TrimSpace(left)), Parse(strings.TrimSpace(right))}
	}
	switch {
	case placeholders && bars:
		t.object, t.flat = parse(text, Object), parse(text, Flat)
		t.wrapper = chooseSide(t.sides[0].text, t.sides[1].text)
	case placeholders:
		t.object, t.flat = parse(text, Object), parse(text, Flat)
		t.wrapper = t.object
	case bars:
		t.object = parse(text, Object)
	}
	return t
}

// UnmarshalText makes a Template readable from JSON and YAML strings.
func (t *Template) UnmarshalText(text []byte) error {
	*t = *Parse(string(text))
	return nil
}

// MarshalText writes the text the Template was parsed from.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String returns the text the Template was parsed from.
func (t *Template) String() string {
	if t == nil {
		return ""
	}
	return t.text
}

// IsLiteral reports whether the text holds no "${", so that Wrapper and Flat always give it back unchanged.
func (t *Template) IsLiteral() bool { return t == nil || t.flat == nil }

// Sides are the alternatives of a text: the two parts around "||", trimmed, or the template itself. For the places that
// choose by another rule than Eval does.
func (t *Template) Sides() []*Template {
	if t == nil || t.sides == nil {
		return []*Template{t}
	}
	return slices.Clone(t.sides)
}

// Result is what Eval made of a template.
type Result struct {
	Text string
	// Missing names the placeholders that had no value, without "${" and "}", in the order of the text. One that sits
	// inside a call is listed although Text no longer shows it. Nil when everything was resolved.
	Missing []string
}

// Eval fills the template in. A nil scope has no names.
func (t *Template) Eval(d Dialect, scope *Scope) Result {
	if t == nil {
		return Result{}
	}
	p := t.program(d)
	if p == nil {
		return Result{Text: t.text}
	}
	if scope == nil {
		scope = &Scope{}
	}
	e := evaluation{scope: scope}
	result := Result{Text: string(e.run(make([]byte, 0, len(t.text)+32), p))}
	if len(e.missing) > 0 {
		result.Missing = e.missing
	}
	return result
}

func (t *Template) program(d Dialect) *program {
	switch d {
	case Wrapper:
		return t.wrapper
	case Flat:
		return t.flat
	default:
		return t.object
	}
}

// Names lists every path the template reads in dialect d, "now", "random" and "endpoint" included, in order of first use
// and without duplicates. Both sides of "||" count.
func (t *Template) Names(d Dialect) []string {
	var names []string
	t.walk(d, func(n node) {
		name := n.text
		if n.kind == nodeNow {
			name = "now"
		}
		if (n.kind == nodePath || n.kind == nodeNow) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	})
	return names
}

// Calls reports whether the template calls the function fn, for instance "awsSigV4", in dialect d.
func (t *Template) Calls(d Dialect, fn string) bool {
	found := false
	t.walk(d, func(n node) { found = found || n.kind == nodeCall && n.call.fn == fn })
	return found
}

// Stray returns the pieces that look like a placeholder and are none in dialect d: an unknown function, an unclosed "${".
// Eval leaves them as they stand, so a catalog must not hold any.
func (t *Template) Stray(d Dialect) []string {
	var stray []string
	t.walk(d, func(n node) {
		if n.kind == nodeStray {
			stray = append(stray, n.text)
		}
	})
	return stray
}

// StartsWithPlaceholder reports whether nothing precedes the first placeholder, as in a URL that comes whole from a field.
func (t *Template) StartsWithPlaceholder() bool {
	return t != nil && t.flat != nil && strings.HasPrefix(strings.TrimSpace(t.text), "${")
}

// walk visits the nodes of the program for d, arguments of calls included.
func (t *Template) walk(d Dialect, visit func(node)) {
	if t != nil {
		t.program(d).walk(visit)
	}
}
