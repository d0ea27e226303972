package template

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// A Tree is a map, a list or a single value whose texts are templates: token_params, proxy.body, a JWT payload. The zero
// value is an absent tree. It is immutable and safe for concurrent use.
type Tree struct {
	leaf   *Template
	fields map[string]Tree
	items  []Tree
	// plain is a number, a boolean or null, kept as json.Number, bool or nil. It is meaningful when isPlain is set.
	plain   any
	isPlain bool
}

// UnmarshalJSON parses every text once.
func (t *Tree) UnmarshalJSON(data []byte) error {
	*t = Tree{}
	switch data[0] {
	case '"':
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		t.leaf = Parse(text)
		return nil
	case '{':
		t.fields = map[string]Tree{}
		return json.Unmarshal(data, &t.fields)
	case '[':
		t.items = []Tree{}
		return json.Unmarshal(data, &t.items)
	case 't', 'f', 'n':
		t.isPlain = true
		return json.Unmarshal(data, &t.plain)
	default:
		t.isPlain, t.plain = true, json.Number(data)
		return nil
	}
}

// IsZero reports whether there is no tree at all.
func (t Tree) IsZero() bool {
	return t.leaf == nil && t.fields == nil && t.items == nil && !t.isPlain
}

// Leaf returns the template of a single text, or nil.
func (t Tree) Leaf() *Template { return t.leaf }

// Field returns the branch called name; the zero Tree if there is none.
func (t Tree) Field(name string) Tree { return t.fields[name] }

// Keys returns the names of the branches, sorted.
func (t Tree) Keys() []string { return slices.Sorted(maps.Keys(t.fields)) }

// Items returns the elements of a list.
func (t Tree) Items() []Tree { return slices.Clone(t.items) }

// Plain returns the number (json.Number), boolean or null of a leaf that is no text.
func (t Tree) Plain() (value any, ok bool) { return t.plain, t.isPlain }

// Walk visits every text with its path below the tree: "a.b", "list.0", "" for a tree that is one text.
func (t Tree) Walk(visit func(path string, leaf *Template)) { t.walk("", visit) }

func (t Tree) walk(path string, visit func(string, *Template)) {
	if t.leaf != nil {
		visit(path, t.leaf)
	}
	for _, key := range t.Keys() {
		t.fields[key].walk(join(path, key), visit)
	}
	for i, item := range t.items {
		item.walk(join(path, strconv.Itoa(i)), visit)
	}
}

// Missing is a text that was left out or left unresolved, and the placeholders that had no value.
type Missing struct {
	// Path leads from the root of the tree to the text, as in Walk.
	Path  string
	Names []string
}

// Eval fills in every text of the tree. What it returns has the types of encoding/json with json.Number for numbers.
// Texts with a missing placeholder stay as written and are reported.
func (t Tree) Eval(d Dialect, scope *Scope) (any, []Missing) {
	var missing []Missing
	v, _ := t.eval("", d, scope, false, &missing)
	return v, missing
}

// EvalPruned is Eval, except that a text with a missing placeholder is left out, and so is every map or list that becomes
// empty because of that. It returns nil when nothing is left.
func (t Tree) EvalPruned(d Dialect, scope *Scope) (any, []Missing) {
	var missing []Missing
	v, ok := t.eval("", d, scope, true, &missing)
	if !ok {
		return nil, missing
	}
	return v, missing
}

func (t Tree) eval(path string, d Dialect, scope *Scope, prune bool, missing *[]Missing) (value any, keep bool) {
	switch {
	case t.leaf != nil:
		r := t.leaf.Eval(d, scope)
		if len(r.Missing) > 0 {
			*missing = append(*missing, Missing{Path: path, Names: r.Missing})
		}
		return r.Text, !prune || len(r.Missing) == 0
	case t.fields != nil:
		out := make(map[string]any, len(t.fields))
		for _, key := range t.Keys() {
			if v, ok := t.fields[key].eval(join(path, key), d, scope, prune, missing); ok {
				out[key] = v
			}
		}
		return out, !prune || len(out) > 0 || len(t.fields) == 0
	case t.items != nil:
		out := make([]any, 0, len(t.items))
		for i, item := range t.items {
			if v, ok := item.eval(join(path, strconv.Itoa(i)), d, scope, prune, missing); ok {
				out = append(out, v)
			}
		}
		return out, !prune || len(out) > 0 || len(t.items) == 0
	default:
		return t.plain, t.isPlain
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
