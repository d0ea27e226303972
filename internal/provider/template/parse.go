package template

import "strings"

// A program is the parsed form of a text in one dialect: either a run of nodes or a choice between two programs.
type program struct {
	flat  bool // placeholders are looked up the Flat way
	nodes []node
	alt   *alternative
}

// An alternative is "left || right".
type alternative struct {
	left, right *program
	// own is the left text as written. The Wrapper compares the evaluated left side with it; Object (own is nil) asks
	// whether a placeholder outside calls changed something.
	own *string
}

type nodeKind uint8

const (
	nodeText  nodeKind = iota // text as it stands
	nodeStray                 // text that begins with "${" and is no placeholder
	nodePath                  // ${text}
	nodeNow                   // ${text}, a clock expression
	nodeCall                  // ${fn(args)}
)

type node struct {
	kind nodeKind
	text string
	now  *clockExpr
	call *call
}

// A call keeps its argument twice: split and parsed for the function, and whole for when the function can't be computed
// and only the placeholders inside it are filled.
type call struct {
	fn    string
	args  []*program
	whole *program
}

// A piece is a stretch of text or a call that was recognised before. A call is opaque to everything that reads the
// pieces later, which is what keeps its result from being read again.
type piece struct {
	text string
	call *call
}

// Calls are recognised function by function, in this order, over the whole text: base64 inside sha256Hex is seen first
// and may be nested in it, the other way round the inner text stays a literal.
var (
	objectCalls = []string{"hmacSha1Hex", "awsSigV4", "base64", "sha256Hex", "sha256Base64", "ed25519Sign"}
	flatCalls   = []string{"hmacSha1Hex", "awsSigV4", "base64", "fingerprint", "sha256Hex", "sha256Base64", "ed25519Sign"}
)

func parse(text string, d Dialect) *program {
	return parsePieces([]piece{{text: text}}, d == Flat)
}

// chooseSide is the program of a text that the Wrapper split at "||".
func chooseSide(left, right string) *program {
	return &program{alt: &alternative{left: parse(left, Object), right: parse(right, Object), own: &left}}
}

func parsePieces(pieces []piece, flat bool) *program {
	names := objectCalls
	if flat {
		names = flatCalls
	}
	for _, fn := range names {
		pieces = extract(pieces, fn, flat)
	}
	if !flat {
		if parts := splitText(pieces, "||"); len(parts) > 1 {
			return &program{alt: &alternative{
				left:  &program{nodes: nodes(trim(parts[0]))},
				right: &program{nodes: nodes(trim(parts[1]))},
			}}
		}
	}
	return &program{flat: flat, nodes: nodes(pieces)}
}

// extract turns every "${fn(…)}" of the texts into a call. The argument reaches to the first ")}" and may hold calls that
// were recognised before. What has the wrong shape stays text.
func extract(pieces []piece, fn string, flat bool) []piece {
	open := "${" + fn + "("
	var out []piece
	for len(pieces) > 0 {
		head, rest, ok := cut(pieces, open)
		if !ok {
			break
		}
		arg, after, closed := cut(rest, ")}")
		if !closed {
			break
		}
		out = append(out, head...)
		if c := newCall(fn, arg, flat); c != nil {
			out = append(out, piece{call: c})
		} else {
			out = append(out, piece{text: open})
			out = append(out, arg...)
			out = append(out, piece{text: ")}"})
		}
		pieces = after
	}
	return joinText(append(out, pieces...))
}

func newCall(fn string, arg []piece, flat bool) *call {
	c := &call{fn: fn, whole: &program{flat: flat, nodes: nodes(arg)}}
	argFlat := flat
	switch fn {
	case "hmacSha1Hex", "ed25519Sign":
		commas := splitText(arg, ",")
		if len(commas) < 2 {
			return nil
		}
		last := len(commas) - 1
		message := glue(commas[:last], ",")
		c.args = []*program{parsePieces(message, argFlat), parsePieces(trim(commas[last]), argFlat)}
	case "awsSigV4":
		parts := splitTopLevel(arg)
		if len(parts) != 4 && len(parts) != 5 {
			return nil
		}
		for _, p := range parts {
			c.args = append(c.args, parsePieces(trim(p), argFlat))
		}
	case "sha256Hex":
		// The wire contract reads this one argument the Flat way in every dialect.
		c.args = []*program{parsePieces(arg, true)}
	default:
		c.args = []*program{parsePieces(arg, argFlat)}
	}
	return c
}

// cut splits pieces around the first sep that lies in a text.
func cut(pieces []piece, sep string) (before, after []piece, found bool) {
	for i, p := range pieces {
		if p.call != nil {
			continue
		}
		if at := strings.Index(p.text, sep); at >= 0 {
			before = append(append(before, pieces[:i]...), piece{text: p.text[:at]})
			after = append([]piece{{text: p.text[at+len(sep):]}}, pieces[i+1:]...)
			return before, after, true
		}
	}
	return nil, pieces, false
}

// splitText cuts pieces at every sep that lies in a text.
func splitText(pieces []piece, sep string) [][]piece {
	var parts [][]piece
	for {
		before, after, found := cut(pieces, sep)
		if !found {
			return append(parts, pieces)
		}
		parts, pieces = append(parts, before), after
	}
}

// splitTopLevel cuts pieces at the commas that are in no parenthesis and no brace.
func splitTopLevel(pieces []piece) [][]piece {
	var parts [][]piece
	var current []piece
	depth := 0
	for _, p := range pieces {
		if p.call != nil {
			current = append(current, p)
			continue
		}
		start := 0
		for i := range len(p.text) {
			switch p.text[i] {
			case '(', '{':
				depth++
			case ')', '}':
				depth--
			case ',':
				if depth == 0 {
					parts = append(parts, append(current, piece{text: p.text[start:i]}))
					current, start = nil, i+1
				}
			}
		}
		current = append(current, piece{text: p.text[start:]})
	}
	return append(parts, current)
}

func glue(parts [][]piece, sep string) []piece {
	out := append([]piece(nil), parts[0]...)
	for _, p := range parts[1:] {
		out = append(append(out, piece{text: sep}), p...)
	}
	return joinText(out)
}

// joinText merges neighbouring texts, so that a later search finds what spans them.
func joinText(pieces []piece) []piece {
	var out []piece
	for _, p := range pieces {
		if n := len(out); p.call == nil && n > 0 && out[n-1].call == nil {
			out[n-1].text += p.text
		} else {
			out = append(out, p)
		}
	}
	return out
}

// trim removes white space from the outer ends, if they are text.
func trim(pieces []piece) []piece {
	out := append([]piece(nil), pieces...)
	if n := len(out); n > 0 {
		if out[0].call == nil {
			out[0].text = strings.TrimLeft(out[0].text, whiteSpace)
		}
		if out[n-1].call == nil {
			out[n-1].text = strings.TrimRight(out[n-1].text, whiteSpace)
		}
	}
	return out
}

const whiteSpace = " \t\r\n\v\f"

// nodes finds the placeholders in the texts. A placeholder holds no brace, so of "${a${b}}" only "${b}" is one.
func nodes(pieces []piece) []node {
	var out []node
	for _, p := range pieces {
		if p.call != nil {
			out = append(out, node{kind: nodeCall, call: p.call})
			continue
		}
		text := p.text
		for text != "" {
			start, end := nextPlaceholder(text)
			if start < 0 {
				break
			}
			out = appendText(out, text[:start])
			expr := text[start+2 : end]
			if now := parseClock(expr); now != nil {
				out = append(out, node{kind: nodeNow, text: expr, now: now})
			} else {
				out = append(out, node{kind: nodePath, text: expr})
			}
			text = text[end+1:]
		}
		out = appendText(out, text)
	}
	return out
}

// nextPlaceholder returns where the first innermost "${…}" begins and where its "}" is, or -1.
func nextPlaceholder(text string) (start, end int) {
	start = -1
	for i := range len(text) {
		switch text[i] {
		case '{':
			if i > 0 && text[i-1] == '$' {
				start = i - 1
			} else {
				start = -1
			}
		case '}':
			if start >= 0 && i > start+2 {
				return start, i
			}
			start = -1
		}
	}
	return -1, -1
}

// appendText adds a literal, apart from its stray "${" which becomes a node of its own.
func appendText(out []node, text string) []node {
	if at := strings.Index(text, "${"); at >= 0 {
		if at > 0 {
			out = append(out, node{kind: nodeText, text: text[:at]})
		}
		return append(out, node{kind: nodeStray, text: text[at:]})
	}
	if text != "" {
		out = append(out, node{kind: nodeText, text: text})
	}
	return out
}

func (p *program) walk(visit func(node)) {
	if p == nil {
		return
	}
	if p.alt != nil {
		p.alt.left.walk(visit)
		p.alt.right.walk(visit)
		return
	}
	for _, n := range p.nodes {
		visit(n)
		if n.call != nil {
			for _, a := range n.call.args {
				a.walk(visit)
			}
		}
	}
}
