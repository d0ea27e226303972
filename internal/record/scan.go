package record

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errJSON = errors.New("not well-formed JSON")

// maxDepth bounds nesting, and so the stack: encoding/json, which reads these texts elsewhere, allows as much.
const maxDepth = 10_000

// scanner walks over a JSON text and checks it, without decoding: what is stored must be well-formed, and encoding/json takes
// five times as long to find the ends of a batch's records. It accepts what json.Valid accepts.
type scanner struct {
	text  []byte
	pos   int
	depth int
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek gives the next byte, 0 at the end. No JSON text has a zero byte outside of what is refused anyway.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// next skips white space and reports whether c follows, consuming it.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.peek() != c || s.pos >= len(s.text) {
		return false
	}
	s.pos++
	return true
}

// value consumes one value and gives its text.
func (s *scanner) value() ([]byte, error) {
	s.space()
	start := s.pos
	var err error
	switch c := s.peek(); c {
	case '"':
		err = s.str()
	case '{':
		err = s.object(func(_, _ []byte) error { return nil })
	case '[':
		err = s.array(func() error { _, err := s.value(); return err })
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	return s.text[start:s.pos], err
}

// object consumes an object and calls member with each key, quoted as it is, and value.
func (s *scanner) object(member func(key, value []byte) error) error {
	if !s.next('{') {
		return errJSON
	}
	return s.list('}', func() error {
		s.space()
		start := s.pos
		if err := s.str(); err != nil {
			return err
		}
		key := s.text[start:s.pos]
		if !s.next(':') {
			return errJSON
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		return member(key, value)
	})
}

// array consumes an array; element must consume one element.
func (s *scanner) array(element func() error) error {
	if !s.next('[') {
		return errJSON
	}
	return s.list(']', element)
}

// list consumes what item consumes, with commas between, up to and including end.
func (s *scanner) list(end byte, item func() error) error {
	if s.depth++; s.depth > maxDepth {
		return errJSON
	}
	defer func() { s.depth-- }()
	if s.next(end) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.next(end) {
			return nil
		}
		if !s.next(',') {
			return errJSON
		}
	}
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return errJSON
	}
	s.pos += len(word)
	return nil
}

// str consumes a string.
func (s *scanner) str() error {
	if s.pos >= len(s.text) || s.text[s.pos] != '"' {
		return errJSON
	}
	for i := s.pos + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return nil
		case c < ' ':
			return errJSON
		case c == '\\':
			i++
			if i == len(s.text) {
				return errJSON
			}
			switch s.text[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(s.text) || !hex(s.text[i+1:i+5]) {
					return errJSON
				}
				i += 4
			default:
				return errJSON
			}
		}
	}
	return errJSON
}

func hex(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return errJSON
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return errJSON
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errJSON
		}
	}
	return nil
}

// members gives the keys, decoded, and values of an object that was checked before, in order.
func members(object []byte) ([]member, error) {
	var all []member
	s := scanner{text: object}
	err := s.object(func(key, value []byte) error {
		all = append(all, member{unquote(key), key, value})
		return nil
	})
	return all, err
}

type member struct {
	name       string
	key, value []byte // as they were written
}

// unquote decodes a string that was checked before.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(bytes.ToValidUTF8(quoted[1:len(quoted)-1], []byte("\uFFFD")))
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil { // it was checked
		panic(err)
	}
	return text
}

// quote writes a string as JSON.
func quote(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(text)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// assemble writes an object.
func assemble(all []member) []byte {
	size := 2
	for _, m := range all {
		size += len(m.key) + len(m.value) + 2
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.key...), ':'), m.value...)
	}
	return append(b, '}')
}

// overlay lays the members of change over those of object, deeply: objects are merged, everything else is replaced, null and
// arrays too. Both were checked before.
func overlay(object, change []byte) ([]byte, error) {
	all, err := members(object)
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(all))
	for i, m := range all {
		at[m.name] = i
	}
	changes, err := members(change)
	if err != nil {
		return nil, err
	}
	for _, m := range changes {
		i, known := at[m.name]
		switch {
		case !known:
			at[m.name] = len(all)
			all = append(all, m)
		case isObject(all[i].value) && isObject(m.value):
			if all[i].value, err = overlay(all[i].value, m.value); err != nil {
				return nil, err
			}
		default:
			all[i].value = m.value
		}
	}
	return assemble(all), nil
}

func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }
