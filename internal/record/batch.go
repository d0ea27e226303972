package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// item is one record of a batch.
type item struct {
	id   string
	text []byte // what is hashed: the record as it came, without _nango_metadata
	// payload is text with the id as a string, which is how it is given out.
	payload []byte
	// bare: there is nothing but the id, and perhaps deletedAt.
	bare bool
	// deletedAt is the record's own deletedAt in microseconds, if it has one and the batch deletes; else 0.
	deletedAt int64

	hash   []byte
	whole  []byte // for an update: the hash that a Save of the same text would leave
	sealed []byte // payload, once it was sealed
}

const metadataKey = "_nango_metadata"

// batch is the records of one call, without duplicates.
type batch struct {
	items      []item
	at         map[string]int // by id
	duplicates []string
}

// parseBatch splits a JSON array of records. deleting makes it read deletedAt.
func parseBatch(records json.RawMessage, deleting bool) (*batch, error) {
	b := &batch{at: map[string]int{}}
	s := scanner{text: records}
	n := 0
	err := s.array(func() error {
		if n == MaxBatch {
			return invalid("too_big", fmt.Sprintf("At most %d records fit into a batch", MaxBatch))
		}
		it, err := parseItem(&s, n, deleting)
		if err != nil {
			return err
		}
		n++
		if _, twice := b.at[it.id]; twice {
			b.duplicates = append(b.duplicates, it.id)
			return nil
		}
		b.at[it.id] = len(b.items)
		b.items = append(b.items, it)
		return nil
	})
	if err == nil {
		if s.space(); s.pos != len(records) {
			err = errJSON
		}
	}
	if err == errJSON { //nolint:errorlint // it is never wrapped
		return nil, invalid("custom", "The records are not a JSON array of objects").Because(err)
	}
	return b, err
}

// invalid is the refusal of a whole batch because of the value at path below records.
func invalid(code, message string, path ...string) *errs.Error {
	return errs.Invalid("invalid_body", errs.Issue{Code: code, Message: message, Path: append([]string{"records"}, path...)})
}

func parseItem(s *scanner, n int, deleting bool) (item, error) {
	if s.space(); s.peek() != '{' {
		return item{}, errJSON
	}
	start := s.pos
	var id, deletedAt []byte
	ids, idEnd, rest, metadata := 0, 0, 0, false
	err := s.object(func(key, value []byte) error {
		switch keyName(key) {
		case "id":
			id, idEnd = value, s.pos-start
			ids++
		case metadataKey:
			metadata = true
		case "deletedAt":
			deletedAt = value
			if !deleting {
				rest++
			}
		default:
			rest++
		}
		return nil
	})
	if err != nil {
		return item{}, err
	}
	it := item{text: s.text[start:s.pos:s.pos], bare: rest == 0}
	index := strconv.Itoa(n)
	if it.id, err = externalID(id, index); err != nil {
		return item{}, err
	}
	if deleting && deletedAt != nil {
		if it.deletedAt, err = instant(deletedAt, index); err != nil {
			return item{}, err
		}
	}
	if !metadata && ids == 1 {
		it.payload = spliceID(it.text, idEnd-len(id), idEnd, it.id)
		return it, nil
	}
	if it.text, err = tidy(it.text); err != nil {
		return item{}, err
	}
	it.payload, err = withTextID(it.text, it.id)
	return it, err
}

// keyName gives the names that matter; what is written with escapes is decoded only then.
func keyName(key []byte) string {
	switch string(key) {
	case `"id"`:
		return "id"
	case `"deletedAt"`:
		return "deletedAt"
	case `"` + metadataKey + `"`:
		return metadataKey
	}
	if bytes.IndexByte(key, '\\') < 0 {
		return ""
	}
	return unquote(key)
}

// tidy drops the metadata that was given out with a record, and all but the last of several ids, as JavaScript reads them.
func tidy(text []byte) ([]byte, error) {
	all, err := members(text)
	if err != nil {
		return nil, err
	}
	last := -1
	for i, m := range all {
		if m.name == "id" {
			last = i
		}
	}
	kept := all[:0]
	for i, m := range all {
		if m.name != metadataKey && (m.name != "id" || i == last) {
			kept = append(kept, m)
		}
	}
	return assemble(kept), nil
}

// withTextID gives the record with the id as a string, as it is read.
func withTextID(text []byte, id string) ([]byte, error) {
	var from, to int
	s := scanner{text: text}
	err := s.object(func(key, value []byte) error {
		if keyName(key) == "id" {
			to = s.pos
			from = to - len(value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return spliceID(text, from, to, id), nil
}

// spliceID puts the id, quoted, in place of what is between from and to.
func spliceID(text []byte, from, to int, id string) []byte {
	quoted := quote(make([]byte, 0, len(id)+2), id)
	if bytes.Equal(text[from:to], quoted) {
		return text
	}
	b := make([]byte, 0, len(text)+len(quoted))
	return append(append(append(b, text[:from]...), quoted...), text[to:]...)
}

// externalID reads an id: a string or a number, which is kept as its text. The number 0 counts as no id, as on the wire.
func externalID(value []byte, index string) (string, error) {
	if len(value) == 0 {
		return "", invalid("invalid_type", "The record has no id", index, "id")
	}
	var id string
	switch c := value[0]; {
	case c == '"':
		id = strings.ReplaceAll(unquote(value), "\x00", "")
	case c == '-' || c >= '0' && c <= '9':
		if id = string(value); id == "0" || id == "-0" {
			id = ""
		}
	default:
		return "", invalid("invalid_type", "The id must be a string or a number", index, "id")
	}
	if id == "" {
		return "", invalid("too_small", "The id is empty", index, "id")
	}
	// No character has fewer bytes than UTF-16 units.
	if len(id) > MaxID && len(utf16.Encode([]rune(id))) > MaxID {
		return "", invalid("too_big", fmt.Sprintf("The id is longer than %d characters", MaxID), index, "id")
	}
	return id, nil
}

// instant reads a deletedAt: ISO-8601, a date, or milliseconds since 1970; null is none.
func instant(value []byte, index string) (int64, error) {
	if string(value) == "null" {
		return 0, nil
	}
	var at time.Time
	var err error
	if value[0] == '"' {
		text := unquote(value)
		if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			at, err = time.Parse(time.DateOnly, text)
		}
	} else {
		var milliseconds float64
		err = json.Unmarshal(value, &milliseconds)
		at = time.UnixMicro(int64(milliseconds * 1000))
	}
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return 0, invalid("invalid_format", "deletedAt is not a time", index, "deletedAt").Because(err)
	}
	return max(micros(at), 1), nil // 0 is how "none" is stored
}
