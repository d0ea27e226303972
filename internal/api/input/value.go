package input

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// kind is the JSON type of a value, spelled as issues spell it.
type kind string

const (
	absent    kind = "undefined"
	null      kind = "null"
	text      kind = "string"
	number    kind = "number"
	boolean   kind = "boolean"
	list      kind = "array"
	object    kind = "object"
	maxListed      = 100 // elements a repeated query key may have
)

// value is one value of a body, a query string or a header, decoded as far as somebody asked.
type value struct {
	kind kind
	raw  json.RawMessage // bodies
	text string          // strings of queries and headers
	list []value
	keys map[string]value
}

func rawValue(raw json.RawMessage) value {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return value{kind: absent}
	}
	v := value{raw: raw}
	switch raw[0] {
	case '"':
		v.kind = text
	case '{':
		v.kind = object
	case '[':
		v.kind = list
	case 't', 'f':
		v.kind = boolean
	case 'n':
		v.kind = null
	default:
		v.kind = number
	}
	return v
}

func textValue(s string) value { return value{kind: text, text: s} }

// string is the text of a string value.
func (v value) string() string {
	if v.raw == nil {
		return v.text
	}
	var s string
	if err := json.Unmarshal(v.raw, &s); err != nil { // the body was decoded before, so it is well-formed
		return ""
	}
	return s
}

func (v value) items() []value {
	if v.raw == nil {
		return v.list
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(v.raw, &raw); err != nil {
		return nil
	}
	items := make([]value, len(raw))
	for i := range raw {
		items[i] = rawValue(raw[i])
	}
	return items
}

func (v value) fields() map[string]value {
	if v.raw == nil {
		return v.keys
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(v.raw, &raw); err != nil {
		return nil
	}
	fields := make(map[string]value, len(raw))
	for k, r := range raw {
		fields[k] = rawValue(r)
	}
	return fields
}

// queryValues understands the bracket syntax: a[b]=c is an object, a repeated key or a[]=b a list.
func queryValues(query url.Values) map[string]value {
	fields := make(map[string]value, len(query))
	for key, values := range query {
		name, inner, nested := strings.Cut(key, "[")
		if !nested || !strings.HasSuffix(inner, "]") || name == "" {
			fields[key] = merged(fields[key], values)
			continue
		}
		inner = strings.TrimSuffix(inner, "]")
		if inner == "" {
			fields[name] = merged(fields[name], values)
			continue
		}
		holder := fields[name]
		if holder.kind != object {
			holder = value{kind: object, keys: map[string]value{}}
			fields[name] = holder
		}
		holder.keys[inner] = merged(holder.keys[inner], values)
	}
	return fields
}

func merged(old value, values []string) value {
	if old.kind == "" && len(values) == 1 {
		return textValue(values[0])
	}
	all := old.list
	if old.kind == text {
		all = []value{old}
	}
	for _, v := range values {
		if len(all) == maxListed {
			break
		}
		all = append(all, textValue(v))
	}
	return value{kind: list, list: all}
}

func index(i int) string { return strconv.Itoa(i) }
