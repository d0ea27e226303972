package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// member is one member of a JSON object. Objects are kept as lists of them, so that the order of keys and the spelling of
// numbers survive.
type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("the JSON is no object")

// members splits a JSON object. An empty text is an empty object.
func members(raw []byte) ([]member, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, errNoObject
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var all []member
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		all = append(all, member{name.(string), value}) // a decoder lets nothing else stand there
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	return all, nil
}

func writeMembers(all []member) ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := encode(m.name)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// encode is JSON without escaping for HTML.
func encode(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// mergeJSON sets fields in an object, objects inside objects included. Everything else keeps its bytes.
func mergeJSON(raw []byte, fields map[string]any) ([]byte, error) {
	all, err := members(raw)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at := slices.IndexFunc(all, func(m member) bool { return m.name == name })
		if inner, ok := fields[name].(map[string]any); ok && at >= 0 && firstByte(all[at].value) == '{' {
			if all[at].value, err = mergeJSON(all[at].value, inner); err != nil {
				return nil, err
			}
			continue
		}
		value, err := encode(fields[name])
		if err != nil {
			return nil, err
		}
		if at < 0 {
			all = append(all, member{name, value})
		} else {
			all[at].value = value
		}
	}
	return writeMembers(all)
}

func firstByte(raw []byte) byte {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

// mergeForm sets fields of a form. Other fields keep their bytes.
func mergeForm(raw []byte, fields map[string]any) ([]byte, error) {
	added, err := encode(fields)
	if err != nil {
		return nil, err
	}
	text, err := jsonToForm(added)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for pair := range strings.SplitSeq(string(text), "&") {
		name, _, _ := strings.Cut(pair, "=")
		names[unescape(name)] = true
	}
	var kept []string
	for pair := range strings.SplitSeq(string(raw), "&") {
		if name, _, _ := strings.Cut(pair, "="); pair != "" && !names[unescape(name)] {
			kept = append(kept, pair)
		}
	}
	return []byte(strings.Join(append(kept, string(text)), "&")), nil
}

// formToJSON makes an object of a form: a repeated field becomes a list, a field without "=" an empty text. A body that is JSON
// already stays as it is: somebody sent JSON text without saying so.
func formToJSON(raw []byte) ([]byte, error) {
	if c := firstByte(raw); (c == '{' || c == '[') && json.Valid(raw) {
		return raw, nil
	}
	var names []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(string(raw), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		if _, ok := values[name]; !ok {
			names = append(names, name)
		}
		values[name] = append(values[name], unescape(value))
	}
	all := make([]member, 0, len(names))
	for _, name := range names {
		var value any = values[name]
		if len(values[name]) == 1 {
			value = values[name][0]
		}
		text, err := encode(value)
		if err != nil {
			return nil, err
		}
		all = append(all, member{name, text})
	}
	return writeMembers(all)
}

// unescape reads one half of a form field. An escape that is none stands for itself.
func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// jsonToForm writes an object as a form: a[b]=… for objects in it, a[]=… for lists, nothing for null.
func jsonToForm(raw []byte) ([]byte, error) {
	all, err := members(raw)
	if err != nil {
		return nil, err
	}
	var pairs []string
	for _, m := range all {
		if pairs, err = formPairs(pairs, m.name, m.value); err != nil {
			return nil, err
		}
	}
	return []byte(strings.Join(pairs, "&")), nil
}

func formPairs(pairs []string, name string, value json.RawMessage) ([]string, error) {
	text := string(bytes.TrimSpace(value))
	switch firstByte(value) {
	case '{':
		inner, err := members(value)
		for _, m := range inner {
			if pairs, err = formPairs(pairs, name+"["+m.name+"]", m.value); err != nil {
				return nil, err
			}
		}
		return pairs, err
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(value, &items); err != nil {
			return nil, err
		}
		for i, item := range items {
			inner := name + "[]"
			if c := firstByte(item); c == '{' || c == '[' {
				inner = name + "[" + strconv.Itoa(i) + "]" // "[]" would tear the fields of one item apart
			}
			var err error
			if pairs, err = formPairs(pairs, inner, item); err != nil {
				return nil, err
			}
		}
		return pairs, nil
	case 'n':
		return pairs, nil
	case '"':
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	return append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(text)), nil
}
