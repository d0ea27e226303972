package template

// An evaluation walks a program once.
type evaluation struct {
	scope   *Scope
	missing []string
	// changed is set when a placeholder outside calls was replaced by another text.
	changed bool
}

func (e *evaluation) run(buf []byte, p *program) []byte {
	if p.alt != nil {
		return e.choose(buf, p.alt)
	}
	for _, n := range p.nodes {
		switch n.kind {
		case nodeText:
			buf = append(buf, n.text...)
		case nodeStray:
			buf = append(buf, n.text...)
			e.missing = append(e.missing, n.text[len("${"):])
		case nodeCall:
			buf = e.call(buf, n.call)
		default:
			buf = e.placeholder(buf, n, p.flat)
		}
	}
	return buf
}

func (e *evaluation) placeholder(buf []byte, n node, flat bool) []byte {
	if n.kind == nodeNow && !e.scope.Now.IsZero() {
		e.changed = true
		return n.now.append(buf, e.scope.Now)
	}
	if value, ok := e.scope.text(n.text, flat); ok {
		e.changed = true
		return append(buf, value...)
	}
	e.missing = append(e.missing, n.text)
	buf = append(buf, "${"...)
	buf = append(buf, n.text...)
	return append(buf, '}')
}

// choose writes the left side if it counts as present, else the right one. Placeholders missing on the side not taken
// are not reported.
func (e *evaluation) choose(buf []byte, alt *alternative) []byte {
	start, missing, changed := len(buf), len(e.missing), e.changed
	e.changed = false
	buf = e.run(buf, alt.left)
	left := buf[start:]
	taken := e.changed
	if alt.own != nil {
		taken = string(left) != *alt.own
	}
	if !taken || len(left) == 0 {
		e.missing = e.missing[:missing]
		buf = e.run(buf[:start], alt.right)
	}
	e.changed = e.changed || changed
	return buf
}

// argument evaluates one argument of a call. What changes inside a call does not count for the alternative around it.
func (e *evaluation) argument(p *program) string {
	changed := e.changed
	text := string(e.run(nil, p))
	e.changed = changed
	return text
}

func (e *evaluation) call(buf []byte, c *call) []byte {
	missing := len(e.missing)
	args := make([]string, len(c.args))
	for i, a := range c.args {
		args[i] = e.argument(a)
	}
	if out, ok := e.compute(c.fn, args); ok {
		return append(buf, out...)
	}
	// Not computable: the call stays as written and only the placeholders inside it are filled.
	e.missing = append(e.missing[:missing], c.fn)
	buf = append(buf, "${"+c.fn+"("...)
	buf = e.run(buf, c.whole)
	return append(buf, ")}"...)
}
