package run

import (
	"bytes"
	"encoding/json"
	"time"
)

// encode marshals without escaping <, > and &: functions and clients get what was stored. v is made of what always marshals.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// object is {"name": value} with a value that is JSON already.
func object(name string, value json.RawMessage) json.RawMessage {
	b := make([]byte, 0, len(name)+len(value)+6)
	b = append(append(append(b, `{"`...), name...), `":`...)
	return append(append(b, value...), '}')
}

// iso is the usual rendering of times: ISO-8601, UTC, milliseconds.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// isoOffset is iso with the offset spelled out, as one connection is rendered.
func isoOffset(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000-07:00") }
