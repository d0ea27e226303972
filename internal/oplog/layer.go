package oplog

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// layer is a text that was decoded some times, with the way back to where each byte came from.
type layer struct {
	text string
	// at has for each byte of text, and for its end, the place in the original; nil when text is the original.
	at []int32
}

// source is the part of the original that became text[start:end].
func (l layer) source(start, end int) span {
	if l.at == nil {
		return span{start, end}
	}
	// Several bytes may come from one escape, which is covered as a whole.
	after := end
	for after < len(l.text) && l.at[after] == l.at[end-1] {
		after++
	}
	return span{int(l.at[start]), int(l.at[after])}
}

// decoder undoes the escape at the start of s, which begins with one of its marks: n is how many bytes it took, 0 for none.
type decoder struct {
	marks    string
	unescape func(s string, out []byte) (decoded []byte, n int)
}

// decode undoes every escape of one kind. It reports false when there was none.
func (l layer) decode(d decoder) (layer, bool) {
	first := strings.IndexAny(l.text, d.marks)
	if first < 0 {
		return layer{}, false
	}
	out := make([]byte, 0, len(l.text))
	at := make([]int32, 0, len(l.text)+1)
	changed := false
	for i := 0; i < len(l.text); {
		n, before := 0, len(out)
		if i >= first && strings.IndexByte(d.marks, l.text[i]) >= 0 {
			out, n = d.unescape(l.text[i:], out)
		}
		if n == 0 {
			out, n = append(out, l.text[i]), 1
		} else {
			changed = true
		}
		for range len(out) - before {
			at = append(at, l.place(i))
		}
		i += n
	}
	return layer{string(out), append(at, l.place(len(l.text)))}, changed
}

func (l layer) place(i int) int32 {
	if l.at == nil {
		return int32(i) // texts are cut long before 2 GB
	}
	return l.at[i]
}

var (
	unescapePercent = decoder{"%", percent}
	unescapeForm    = decoder{"%+", func(s string, out []byte) ([]byte, int) {
		if s[0] == '+' {
			return append(out, ' '), 1
		}
		return percent(s, out)
	}}
	unescapeJSON = decoder{`\`, backslash}
	unescapeHTML = decoder{"&", entity}
)

func percent(s string, out []byte) ([]byte, int) {
	if len(s) < 3 {
		return out, 0
	}
	c, err := strconv.ParseUint(s[1:3], 16, 8)
	if err != nil {
		return out, 0
	}
	return append(out, byte(c)), 3
}

// backslash undoes the escapes of JSON, JavaScript and Go strings.
func backslash(s string, out []byte) ([]byte, int) {
	if len(s) < 2 {
		return out, 0
	}
	switch c := s[1]; c {
	case '"', '\\', '/', '\'':
		return append(out, c), 2
	case 'b', 'f', 'n', 'r', 't':
		return append(out, "\b\f\n\r\t"[strings.IndexByte("bfnrt", c)]), 2
	case 'x':
		if len(s) >= 4 {
			if v, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				return append(out, byte(v)), 4
			}
		}
	case 'u':
		r, ok := codeUnit(s)
		if !ok {
			return out, 0
		}
		if utf16.IsSurrogate(r) {
			if low, ok := codeUnit(s[6:]); ok {
				if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
					return utf8.AppendRune(out, whole), 12
				}
			}
		}
		return utf8.AppendRune(out, r), 6
	}
	return out, 0
}

func codeUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(v), err == nil
}

// entityLimit is the length of the longest entity that is undone: &#1114111; and all that printable ASCII needs are shorter.
const entityLimit = 12

func entity(s string, out []byte) ([]byte, int) {
	end := strings.IndexByte(s[:min(len(s), entityLimit)], ';')
	if end < 2 {
		return out, 0
	}
	decoded := html.UnescapeString(s[:end+1])
	if decoded == s[:end+1] {
		return out, 0
	}
	return append(out, decoded...), end + 1
}
