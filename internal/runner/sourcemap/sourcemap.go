// Package sourcemap leads from a place in a bundled script back to the line its author wrote, by the source map that the
// bundler left at the script's end.
//
// It reads version 3 maps embedded as a data URL, without sections. A map comes from outside: nonsense is an error or finds
// nothing, never a panic, and costs no more memory than a few times its size.
package sourcemap

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNone: the script has no embedded source map.
var ErrNone = errors.New("no embedded source map")

// Map is a decoded source map. It is immutable.
type Map struct {
	sources  []string
	segments [][]segment // by generated line
}

// segment says where a column, and those after it up to the next segment, come from. Lines and columns count from 0.
type segment struct {
	column int
	source int // index in sources; -1: from nowhere
	line   int
	from   int
}

// Position is a place in an author's file; Line and Column count from 1.
type Position struct {
	Source string
	Line   int
	Column int
}

const marker = "//# sourceMappingURL=data:application/json"

// FromScript decodes the source map at the end of a script.
func FromScript(script string) (*Map, error) {
	at := strings.LastIndex(script, marker)
	if at < 0 {
		return nil, ErrNone
	}
	url, _, _ := strings.Cut(script[at+len(marker):], "\n")
	parameters, data, ok := strings.Cut(url, ",")
	if !ok || !strings.HasSuffix(parameters, ";base64") {
		return nil, ErrNone
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(data))
	if err != nil {
		return nil, fmt.Errorf("source map: %w", err)
	}
	return decode(text)
}

func decode(text []byte) (*Map, error) {
	var raw struct {
		Version    int      `json:"version"`
		SourceRoot string   `json:"sourceRoot"`
		Sources    []string `json:"sources"`
		Mappings   string   `json:"mappings"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("source map: %w", err)
	}
	if raw.Version != 3 {
		return nil, fmt.Errorf("source map: version %d", raw.Version)
	}
	m := &Map{sources: raw.Sources}
	for i := range m.sources {
		m.sources[i] = raw.SourceRoot + m.sources[i]
	}
	// Source, line and column are relative to the segment before, also across lines; the generated column to that in its line.
	var last segment
	for line := range strings.SplitSeq(raw.Mappings, ";") {
		var segments []segment
		last.column = 0
		for text := range strings.SplitSeq(line, ",") {
			if text == "" {
				continue
			}
			var fields [5]int
			n, err := vlq(text, &fields)
			if err != nil {
				return nil, err
			}
			last.column += fields[0]
			s := segment{column: last.column, source: -1}
			if n >= 4 {
				last.source += fields[1]
				last.line += fields[2]
				last.from += fields[3]
				if last.source < 0 || last.source >= len(m.sources) || last.line < 0 || last.from < 0 {
					return nil, errors.New("source map: a segment points outside of its sources")
				}
				s = last
			}
			segments = append(segments, s)
		}
		slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(a.column, b.column) })
		m.segments = append(m.segments, segments)
	}
	return m, nil
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq decodes one segment: base-64 digits of 5 bits, least significant first, the sixth bit continues, the lowest is the sign.
func vlq(text string, fields *[5]int) (n int, err error) {
	value, shift := 0, 0
	for i := range len(text) {
		digit := strings.IndexByte(digits, text[i])
		if digit < 0 || shift > 30 || n == len(fields) {
			return 0, errors.New("source map: a segment that can not be read")
		}
		value |= (digit & 31) << shift
		shift += 5
		if digit&32 != 0 {
			continue
		}
		fields[n] = value >> 1
		if value&1 != 0 {
			fields[n] = -fields[n]
		}
		n++
		value, shift = 0, 0
	}
	if shift != 0 || n == 0 {
		return 0, errors.New("source map: a segment that ends early")
	}
	return n, nil
}

// Find leads line and column of the script, counted from 1, to the author's file. false: the place comes from nowhere.
func (m *Map) Find(line, column int) (Position, bool) {
	if line < 1 || line > len(m.segments) {
		return Position{}, false
	}
	segments := m.segments[line-1]
	i, exact := slices.BinarySearchFunc(segments, column-1, func(s segment, c int) int { return cmp.Compare(s.column, c) })
	if !exact {
		i--
	}
	if i < 0 || segments[i].source < 0 {
		return Position{}, false
	}
	s := segments[i]
	return Position{Source: m.sources[s.source], Line: s.line + 1, Column: s.from + 1}, true
}
