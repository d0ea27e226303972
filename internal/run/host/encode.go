package host

import (
	"bytes"
	"encoding/json"
	"time"
)

// Encode marshals without escaping <, > and &: functions and clients get what was stored. v is made of what always marshals.
func Encode(v any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Member is {"name": value} with a value that is JSON already.
func Member(name string, value json.RawMessage) json.RawMessage {
	b := make([]byte, 0, len(name)+len(value)+6)
	b = append(append(append(b, `{"`...), name...), `":`...)
	return append(append(b, value...), '}')
}

// isoOffset is how one connection writes its times: ISO-8601 with milliseconds and the offset spelled out.
func isoOffset(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000-07:00") }
