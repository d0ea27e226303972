package vm

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

var errEncoding = errors.New("unknown encoding")

// nativeBytes (encoding, text) encodes text as bytes: utf8, latin1 (low byte of each code unit), ascii (the same), utf16le,
// base64 and base64url (both lenient as Node's Buffer is: either alphabet, white space and padding ignored, stops at "=").
func nativeBytes(args []string) (any, error) {
	text := arg(args, 1)
	var raw []byte
	switch arg(args, 0) {
	case "utf8":
		raw = []byte(text)
	case "latin1", "ascii":
		raw = make([]byte, 0, len(text))
		for _, unit := range utf16.Encode([]rune(text)) {
			raw = append(raw, byte(unit))
		}
	case "utf16le":
		for _, unit := range utf16.Encode([]rune(text)) {
			raw = binary.LittleEndian.AppendUint16(raw, unit)
		}
	case "base64", "base64url":
		raw = lenientBase64(text)
	default:
		return nil, fmt.Errorf("%w %q", errEncoding, arg(args, 0))
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

func lenientBase64(text string) []byte {
	var clean strings.Builder
	clean.Grow(len(text))
scan:
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean.WriteByte(c)
		case c == '-':
			clean.WriteByte('+')
		case c == '_':
			clean.WriteByte('/')
		case c == '=':
			break scan
		}
	}
	s := clean.String()
	if len(s)%4 == 1 {
		s = s[:len(s)-1]
	}
	raw, _ := base64.RawStdEncoding.DecodeString(s) // only the alphabet is left
	return raw
}

// nativeString (encoding, base64) decodes bytes to text, as Buffer.prototype.toString does: invalid UTF-8 becomes U+FFFD,
// ascii drops the high bit, an odd last byte of utf16le is ignored.
func nativeString(args []string) (any, error) {
	raw, err := base64.StdEncoding.DecodeString(arg(args, 1))
	if err != nil {
		return nil, fmt.Errorf("bytes: %w", err)
	}
	switch arg(args, 0) {
	case "utf8":
		return repairUTF8(raw), nil
	case "latin1":
		var b strings.Builder
		for _, c := range raw {
			b.WriteRune(rune(c))
		}
		return b.String(), nil
	case "ascii":
		for i := range raw {
			raw[i] &= 0x7f
		}
		return string(raw), nil
	case "utf16le":
		return fromUTF16(raw, binary.LittleEndian), nil
	}
	return nil, fmt.Errorf("%w %q", errEncoding, arg(args, 0))
}

func fromUTF16(raw []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

func validUTF16(raw []byte, order binary.ByteOrder) bool {
	for ; len(raw) >= 2; raw = raw[2:] {
		unit := order.Uint16(raw)
		if !utf16.IsSurrogate(rune(unit)) {
			continue
		}
		if len(raw) < 4 || utf16.DecodeRune(rune(unit), rune(order.Uint16(raw[2:]))) == utf8.RuneError {
			return false
		}
		raw = raw[2:]
	}
	return len(raw) == 0
}

// repairUTF8 replaces what is not UTF-8 by U+FFFD, one for each maximal part of a valid sequence (the Encoding standard's
// practice), where Go's own conversion makes one for each byte.
func repairUTF8(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	var b strings.Builder
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if r == utf8.RuneError && size <= 1 {
			size = brokenLength(raw)
		}
		b.WriteRune(r)
		raw = raw[size:]
	}
	return b.String()
}

// brokenLength is how many bytes at the start of raw, which is not a valid sequence, still are the beginning of one.
func brokenLength(raw []byte) int {
	need, low, high := 0, byte(0x80), byte(0xbf)
	switch c := raw[0]; {
	case c >= 0xc2 && c <= 0xdf:
		need = 1
	case c == 0xe0:
		need, low = 2, 0xa0
	case c == 0xed:
		need, high = 2, 0x9f
	case c >= 0xe1 && c <= 0xef:
		need = 2
	case c == 0xf0:
		need, low = 3, 0x90
	case c == 0xf4:
		need, high = 3, 0x8f
	case c >= 0xf1 && c <= 0xf3:
		need = 3
	}
	n := 1
	for ; n <= need && n < len(raw) && raw[n] >= low && raw[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}

// nativeValid (base64) is "utf8" if the bytes are.
func nativeValid(args []string) (any, error) {
	raw, err := base64.StdEncoding.DecodeString(arg(args, 0))
	if err != nil || !utf8.Valid(raw) {
		return "", err
	}
	return "utf8", nil
}

// nativeDecode (encoding, base64, "fatal" or "") is TextDecoder's decoding of a complete text, byte order mark included.
func nativeDecode(args []string) (any, error) {
	raw, err := base64.StdEncoding.DecodeString(arg(args, 1))
	if err != nil {
		return nil, fmt.Errorf("bytes: %w", err)
	}
	fatal := arg(args, 2) == "fatal"
	switch arg(args, 0) {
	case "utf-8":
		if fatal && !utf8.Valid(raw) {
			return nil, errors.New("the encoded data was not valid for encoding utf-8")
		}
		return repairUTF8(raw), nil
	case "utf-16le", "utf-16be":
		var order binary.ByteOrder = binary.LittleEndian
		if arg(args, 0) == "utf-16be" {
			order = binary.BigEndian
		}
		if fatal && !validUTF16(raw, order) {
			return nil, fmt.Errorf("the encoded data was not valid for encoding %s", arg(args, 0))
		}
		s := fromUTF16(raw, order)
		if len(raw)%2 != 0 {
			s += "\ufffd"
		}
		return s, nil
	case "windows-1252":
		s, err := charmap.Windows1252.NewDecoder().Bytes(raw)
		return string(s), err
	}
	return nil, fmt.Errorf("%w %q", errEncoding, arg(args, 0))
}
