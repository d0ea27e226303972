package logstore

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay-dev/patchbay/internal/oplog"
)

const (
	// wordLimit is how many bytes of a word are indexed: what is longer is base64 or the like, and is found by its beginning.
	wordLimit = 64
	// documentLimit is how many words of a chunk are indexed: PostgreSQL can't tell positions above 16,383 apart. A chunk that
	// has more is split, so only the end of a single, very long message is left out.
	documentLimit = 16_000
)

// document is the words of a text in order, lower-case runs of letters and digits, with a space after each.
type document struct {
	text  strings.Builder
	words int
}

// add appends the words of s. A word is cut to wordLimit bytes.
func (d *document) add(s string) {
	started, size := false, 0
	for _, r := range s {
		if !isWordRune(r) {
			if started {
				d.text.WriteByte(' ')
				started, size = false, 0
			}
			continue
		}
		if !started {
			if d.words == documentLimit {
				return
			}
			d.words++
			started = true
		}
		if r < utf8.RuneSelf {
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			if size < wordLimit {
				d.text.WriteByte(byte(r)) // it is ASCII
				size++
			}
			continue
		}
		r = unicode.ToLower(r)
		if size += utf8.RuneLen(r); size <= wordLimit {
			d.text.WriteRune(r)
		}
	}
	if started {
		d.text.WriteByte(' ')
	}
}

func isWordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z'
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r))
}

func (d *document) String() string { return d.text.String() }

// vector is the document as a PostgreSQL tsvector literal. It is made here, not by to_tsvector, whose parser would take some
// words apart and put others together.
func vector(document string) string {
	places := map[string][]int{}
	var order []string
	n := 0
	for word := range strings.FieldsSeq(document) {
		n++
		if places[word] == nil {
			order = append(order, word)
		}
		if len(places[word]) < 255 { // more are not kept
			places[word] = append(places[word], n)
		}
	}
	var b strings.Builder
	for _, word := range order {
		b.WriteByte('\'')
		b.WriteString(word)
		b.WriteByte('\'')
		for i, place := range places[word] {
			b.WriteByte(":,"[min(i, 1)])
			b.WriteString(strconv.Itoa(place))
		}
		b.WriteByte(' ')
	}
	return b.String()
}

// term is a part of a search: words that stand next to each other, the last one open-ended unless the term is whole.
type term struct {
	words []string
	whole bool
}

// terms reads a search. What is in quotes is one term, so is what is between spaces: a word, a URL, a UUID.
func terms(search string) ([]term, error) {
	var all []term
	for i, part := range strings.Split(search, `"`) {
		fields := []string{part}
		quoted := i%2 == 1
		if !quoted {
			fields = strings.Fields(part)
		}
		for _, field := range fields {
			var d document
			d.add(field)
			if words := strings.Fields(d.String()); len(words) > 0 {
				all = append(all, term{words, quoted})
			}
		}
	}
	if len(all) > oplog.MaxTerms {
		return nil, oplog.ErrText
	}
	return all, nil
}

// fts is the term for SQLite's MATCH.
func (t term) fts() string {
	match := `"` + strings.Join(t.words, " ") + `"`
	if !t.whole {
		match += " *"
	}
	return match
}

// tsquery is the term as a PostgreSQL tsquery literal.
func (t term) tsquery() string {
	match := "'" + strings.Join(t.words, "' <-> '") + "'"
	if !t.whole {
		match += ":*"
	}
	return match
}

// in reports whether the document holds the term.
func (t term) in(document string) bool {
	match := " " + strings.Join(t.words, " ")
	if t.whole {
		match += " "
	}
	return strings.Contains(" "+document, match)
}

func allIn(terms []term, document string) bool {
	for _, t := range terms {
		if !t.in(document) {
			return false
		}
	}
	return true
}

// addRecord makes an operation's own fields searchable.
func (d *document) addRecord(r *oplog.Record) {
	for _, s := range []string{
		r.ID, r.Message, r.Kind.Type, r.Kind.Action, r.ProviderName, r.IntegrationName, r.ConnectionName, r.FunctionName,
	} {
		d.add(s)
	}
	d.addFailure(r.Error)
	d.addHTTP(r.Request, r.Response)
	d.add(string(r.Meta))
}

// addMessage makes a message searchable.
func (d *document) addMessage(m *oplog.Message) {
	d.add(m.Text)
	d.addFailure(m.Error)
	d.addHTTP(m.Request, m.Response)
	if p := m.Persist; p != nil {
		d.add(p.Model)
		for _, keys := range [][]string{p.AddedKeys, p.UpdatedKeys, p.DeletedKeys} {
			for _, key := range keys {
				d.add(key)
			}
		}
	}
	d.add(string(m.Meta))
}

func (d *document) addFailure(f *oplog.Failure) {
	if f == nil {
		return
	}
	d.add(f.Name)
	d.add(f.Message)
	d.add(f.Type)
	d.add(string(f.Payload))
}

func (d *document) addHTTP(q *oplog.HTTPRequest, p *oplog.HTTPResponse) {
	if q != nil {
		d.add(q.Method)
		d.add(q.URL)
		d.addHeaders(q.Headers)
		d.add(q.Body)
	}
	if p != nil {
		d.add(strconv.Itoa(p.Code))
		d.addHeaders(p.Headers)
		d.add(p.Body)
	}
}

func (d *document) addHeaders(headers map[string]string) {
	for name, value := range headers {
		d.add(name)
		d.add(value)
	}
}
