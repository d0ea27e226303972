package oplog

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// minSecret is the shortest secret that is looked for, in bytes: shorter ones occur by chance everywhere.
const minSecret = 6

// lineSecret is the shortest line of a secret with several lines (a private key) that is looked for on its own.
const lineSecret = 16

// layerDepth is how many encodings around a secret are undone: percent-encoding in JSON in JSON is three.
const layerDepth = 3

// needle is a text that gives a secret away.
type needle struct {
	head   uint32 // the first four bytes
	text   string
	base64 bool
}

// needles finds secrets in a text. They are kept raw, in hexadecimal and, for each of the ways it can be aligned, in base64;
// reversible encodings of single characters (JSON, percent, HTML) are undone in the text instead, because a character has
// many spellings there.
type needles struct {
	all   []needle
	bloom [64]uint64 // of heads, so that most positions of a text cost one look
	form  bool       // some secret has a space, which forms write as "+"
	// margin is how many bytes of a text a secret can take up, encoded.
	margin int
}

func newNeedles(secrets []string) *needles {
	n := &needles{}
	for _, s := range secrets {
		n.add(s)
	}
	return n
}

func (n *needles) add(s string) {
	n.form = n.form || strings.Contains(s, " ")
	n.margin = min(max(n.margin, 8*len(s)), bodyLimit)
	n.find(s, false)
	n.find(hex.EncodeToString([]byte(s)), false)
	n.find(strings.ToUpper(hex.EncodeToString([]byte(s))), false)
	// A client secret is percent-encoded before it becomes part of a Basic header (RFC 6749 section 2.3.1); a token's payload
	// is JSON in base64.
	query := url.QueryEscape(s)
	forms := []string{s, query, url.PathEscape(s), strings.ReplaceAll(query, "+", "%20"), jsonText(s, true), jsonText(s, false)}
	slices.Sort(forms)
	for _, form := range slices.Compact(forms) {
		for shift := range 3 {
			core := base64Core(form, shift)
			n.find(core, true)
			if other := strings.NewReplacer("+", "-", "/", "_").Replace(core); other != core {
				n.find(other, true)
			}
		}
	}
}

func (n *needles) find(text string, isBase64 bool) {
	head := binary.LittleEndian.Uint32([]byte(text))
	n.all = append(n.all, needle{head, text, isBase64})
	h := bloomHash(head)
	n.bloom[h>>6] |= 1 << (h & 63)
}

func bloomHash(head uint32) uint32 { return head * 2654435761 >> 20 } // Knuth's multiplicative hash, 12 bits

func jsonText(s string, escapeHTML bool) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(escapeHTML)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(strings.TrimPrefix(out.String(), `"`), "\"\n")
}

// base64Core is the part of the base64 of anything+s that depends on s alone, when anything is shift bytes long modulo 3.
func base64Core(s string, shift int) string {
	encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), s...))
	start := (shift*8 + 5) / 6
	end := (shift + len(s)) * 8 / 6
	return encoded[start:end]
}

// span is a part of a text, from its first byte to the one after its last.
type span struct{ start, end int }

// clean replaces every secret in s.
func (n *needles) clean(s string) string {
	var found []span
	n.cover(layer{text: s}, 0, &found)
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return a.start - b.start })
	var out strings.Builder
	kept := 0
	for i := 0; i < len(found); {
		start, end := found[i].start, found[i].end
		for i++; i < len(found) && found[i].start <= end; i++ {
			end = max(end, found[i].end)
		}
		out.WriteString(s[kept:start])
		out.WriteString(secret.Redacted)
		kept = end
	}
	out.WriteString(s[kept:])
	return out.String()
}

// cover finds the secrets in a layer and in what it decodes to.
func (n *needles) cover(l layer, depth int, found *[]span) {
	n.scan(l, found)
	if depth == layerDepth {
		return
	}
	for _, decode := range []decoder{unescapeJSON, unescapePercent, unescapeHTML} {
		if inner, ok := l.decode(decode); ok {
			n.cover(inner, depth+1, found)
		}
	}
	if n.form && strings.IndexByte(l.text, '+') >= 0 {
		inner, _ := l.decode(unescapeForm)
		n.cover(inner, depth+1, found)
	}
}

func (n *needles) scan(l layer, found *[]span) {
	text := l.text
	for i := 0; i+4 <= len(text); i++ {
		head := uint32(text[i]) | uint32(text[i+1])<<8 | uint32(text[i+2])<<16 | uint32(text[i+3])<<24
		if h := bloomHash(head); n.bloom[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, one := range n.all {
			if one.head != head || !strings.HasPrefix(text[i:], one.text) {
				continue
			}
			start, end := i, i+len(one.text)
			if one.base64 { // the characters at its borders hold some bits of the secret too
				if start > 0 && isBase64(text[start-1]) {
					start--
				}
				if end < len(text) && isBase64(text[end]) {
					end++
				}
				for end < len(text) && text[end] == '=' {
					end++
				}
			}
			*found = append(*found, l.source(start, end))
		}
	}
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}
