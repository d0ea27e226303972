package template

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Scope is what the placeholders of one evaluation can see. It is only read.
type Scope struct {
	// Layers are searched in order; the first that has the first part of a path decides it. Values are those of
	// encoding/json (string, float64, json.Number, bool, nil, []any, map[string]any), plus int, int64,
	// map[string]string and secret.Text, which is revealed into the result.
	Layers []map[string]any
	// Strip lists prefixes ("credentials.") that are taken off a path before it is looked up.
	Strip []string
	// Now is the frozen clock of ${now…}. The zero time leaves them to Layers, like any other name.
	Now time.Time
	// Random is the value of ${random}, one UUID v4 per request. Empty leaves it to Layers.
	Random string
}

// text gives the text a path is replaced with.
func (s *Scope) text(path string, flat bool) (string, bool) {
	if path == "random" && s.Random != "" {
		return s.Random, true
	}
	for _, prefix := range s.Strip {
		path = strings.TrimPrefix(path, prefix)
	}
	if flat {
		if v, ok := s.root(path); ok {
			return stringify(v), true
		}
		v, _ := s.walk(path)
		return insertable(v)
	}
	v, ok := s.walk(path)
	if !ok {
		v, _ = s.root(path)
	}
	if text, ok := insertable(v); ok {
		return text, true
	}
	// The request path is optional for everyone but a proxied call, and then means nothing.
	return "", path == "endpoint"
}

// root finds a key as it is, dots included. A nil value counts as absent.
func (s *Scope) root(key string) (any, bool) {
	for _, layer := range s.Layers {
		if v, ok := layer[key]; ok && v != nil {
			return v, true
		}
	}
	return nil, false
}

// walk follows a dotted path through maps and lists.
func (s *Scope) walk(path string) (any, bool) {
	first, rest, dotted := strings.Cut(path, ".")
	v, ok := s.root(first)
	for ok && dotted {
		first, rest, dotted = strings.Cut(rest, ".")
		switch at := v.(type) {
		case map[string]any:
			v, ok = at[first]
		case map[string]string:
			v, ok = at[first]
		case []any:
			i, err := strconv.Atoi(first)
			if ok = err == nil && i >= 0 && i < len(at); ok {
				v = at[i]
			}
		default:
			ok = false
		}
	}
	if !ok || v == nil {
		return nil, false
	}
	return v, true
}

// insertable is the text of a string or a number. Everything else counts as no value.
func insertable(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case secret.Text:
		return v.Reveal(), true
	case float64:
		return number(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case json.Number:
		return v.String(), true
	default:
		return "", false
	}
}

// stringify is the text ECMAScript's String() gives, for the places where the wire contract inserts any value.
func stringify(v any) string {
	if text, ok := insertable(v); ok {
		return text
	}
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			if item != nil {
				parts[i] = stringify(item)
			}
		}
		return strings.Join(parts, ",")
	default:
		return "[object Object]"
	}
}

// number writes a float as ECMAScript does: no exponent between 1e-6 and 1e21.
func number(f float64) string {
	switch abs := math.Abs(f); {
	case f == 0:
		return "0"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	case abs >= 1e-6 && abs < 1e21:
		return strconv.FormatFloat(f, 'f', -1, 64)
	default:
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		sign := exponent[:1]
		return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
	}
}
