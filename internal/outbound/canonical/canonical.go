// Package canonical writes JSON the one way that webhook bodies are written: compact, keys sorted, numbers and strings as
// JavaScript prints them.
//
// The bytes that are signed are the bytes that are sent, so any JSON would do for the HMAC. The older signature, though, is
// checked by receivers that parse the body and serialise it again with JavaScript's rules: it matches only if the body is its
// own re-serialisation. Hence: object keys in order of their UTF-16 code units, integer-like keys (0 to 4294967294, without
// leading zeros) first and in numeric order, numbers as JavaScript's Number prints them (integers above 2^53 lose digits,
// negative zero is 0), and no escapes but those that JSON demands.
package canonical

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Marshal writes any Go value that encoding/json takes.
func Marshal(v any) ([]byte, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return Bytes(plain.Bytes())
}

// Bytes rewrites one JSON value.
func Bytes(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("canonical JSON: more than one value")
	}
	var out bytes.Buffer
	write(&out, v)
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		out.WriteString("null")
	case bool:
		out.WriteString(strconv.FormatBool(v))
	case json.Number:
		out.WriteString(number(v))
	case string:
		writeString(out, v)
	case []any:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			write(out, item)
		}
		out.WriteByte(']')
	case map[string]any:
		out.WriteByte('{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				out.WriteByte(',')
			}
			writeString(out, key)
			out.WriteByte(':')
			write(out, v[key])
		}
		out.WriteByte('}')
	}
}

// number prints as ECMAScript's Number::toString does. What is no finite double (1e999) prints as null, as JSON.stringify does.
func number(n json.Number) string {
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsInf(f, 0) {
		return "null"
	}
	if f == 0 {
		return "0"
	}
	abs := math.Abs(f)
	if abs >= 1e21 || abs < 1e-6 {
		text := strconv.FormatFloat(f, 'e', -1, 64)
		mantissa, exponent, _ := strings.Cut(text, "e")
		sign := exponent[:1]
		return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

const lowerHex = "0123456789abcdef"

func writeString(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			_, size := utf8.DecodeRuneInString(s[i:])
			i += size
			continue
		}
		if b >= 0x20 && b != '"' && b != '\\' {
			i++
			continue
		}
		out.WriteString(s[start:i])
		switch b {
		case '"', '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case '\b':
			out.WriteString(`\b`)
		case '\f':
			out.WriteString(`\f`)
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\t':
			out.WriteString(`\t`)
		default:
			out.WriteString(`\u00`)
			out.WriteByte(lowerHex[b>>4])
			out.WriteByte(lowerHex[b&0xf])
		}
		i++
		start = i
	}
	out.WriteString(s[start:])
	out.WriteByte('"')
}

// sortedKeys orders members as a JavaScript object does whose keys were inserted in sorted order.
func sortedKeys(object map[string]any) []string {
	type member struct {
		key     string
		units   []uint16
		index   uint64
		integer bool
	}
	members := make([]member, 0, len(object))
	for key := range object {
		m := member{key: key}
		if m.index, m.integer = arrayIndex(key); !m.integer {
			m.units = utf16.Encode([]rune(key))
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int {
		switch {
		case a.integer && b.integer:
			return cmp.Compare(a.index, b.index)
		case a.integer != b.integer:
			if a.integer {
				return -1
			}
			return 1
		default:
			return slices.Compare(a.units, b.units)
		}
	})
	keys := make([]string, len(members))
	for i := range members {
		keys[i] = members[i].key
	}
	return keys
}

// arrayIndex reports whether a key is one that JavaScript keeps in numeric order: ECMA-262 calls it an array index.
func arrayIndex(key string) (uint64, bool) {
	if key == "" || len(key) > 10 || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(key, 10, 64)
	return n, err == nil && key[0] != '+' && n < math.MaxUint32
}
