package oplog

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Limits of what is kept of one message or operation. What is longer is cut and says so.
const (
	// textLimit is in characters, as the wire contract has it.
	textLimit = 10_000
	// bodyLimit is in bytes, for request and response bodies.
	bodyLimit = 64 << 10
	// jsonLimit is in bytes, for meta and error payloads, as the wire contract has it.
	jsonLimit = 99_000
	// urlLimit and headerLimit are in bytes: what common servers accept for a request line and a header line.
	urlLimit    = 16 << 10
	headerLimit = 8 << 10
	// nameLimit is in bytes, for error names, methods and the keys of records.
	nameLimit = 1 << 10
)

// fill sets what the caller left out.
func (m *Message) fill(now time.Time) {
	if m.CreatedAt.IsZero() {
		m.CreatedAt = now
	}
	if m.ID == "" {
		m.ID = messageID(m.CreatedAt)
	}
	if m.Source == "" {
		m.Source = "internal"
	}
	if m.Type == "" {
		m.Type = "log"
		if m.Request != nil {
			m.Type = "http"
		}
	}
	if m.Level == "" {
		m.Level = Info
		if m.Error != nil || m.Response != nil && m.Response.Code >= http.StatusBadRequest {
			m.Level = Error
		}
	}
	if m.Text == "" && m.Request != nil {
		m.Text = m.Request.Method + " " + m.Request.URL
	}
	if m.EndedAt != nil && m.DurationMs == 0 {
		m.DurationMs = m.EndedAt.Sub(m.CreatedAt).Milliseconds()
	}
}

// messageID is unique within an operation. It begins with the time because random text does not compress.
func messageID(t time.Time) string {
	var random [3]byte
	_, _ = rand.Read(random[:]) // never fails
	for i, b := range random {
		random[i] = idAlphabet[int(b)%len(idAlphabet)]
	}
	return strconv.FormatInt(t.UnixMicro(), 36) + string(random[:])
}

// size is about how many bytes the message takes.
func (m *Message) size() int {
	n := 150 + len(m.Text) + len(m.Meta)
	if m.Error != nil {
		n += len(m.Error.Message) + len(m.Error.Payload)
	}
	if m.Request != nil {
		n += len(m.Request.URL) + len(m.Request.Body) + headerSize(m.Request.Headers)
	}
	if m.Response != nil {
		n += len(m.Response.Body) + headerSize(m.Response.Headers)
	}
	if m.Persist != nil {
		n += 30 * (len(m.Persist.AddedKeys) + len(m.Persist.UpdatedKeys) + len(m.Persist.DeletedKeys))
	}
	return n
}

func headerSize(headers map[string]string) int {
	n := 0
	for name, value := range headers {
		n += len(name) + len(value) + 6
	}
	return n
}

func truncated(total int) string { return fmt.Sprintf("… [truncated, %d bytes in all]", total) }

// cutBytes keeps at most limit bytes of s, whole characters only, and marks the cut. total is the length before any cut.
func cutBytes(s string, limit, total int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return s + truncated(total)
}

// cutRunes keeps at most limit characters of s and marks the cut.
func cutRunes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + truncated(len(s))
		}
		n++
	}
	return s
}

// shrinkJSON brings raw below limit bytes: of an object it replaces the largest members, of anything else nothing is kept but
// a note. The result is JSON.
func shrinkJSON(raw json.RawMessage, limit int) json.RawMessage {
	if len(raw) <= limit {
		return raw
	}
	note, _ := json.Marshal(truncated(len(raw))) // a string always marshals
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return note
	}
	size := len(raw)
	largest := slices.SortedFunc(maps.Keys(members), func(a, b string) int { return len(members[b]) - len(members[a]) })
	for _, name := range largest {
		if size <= limit {
			break
		}
		mark, _ := json.Marshal(truncated(len(members[name])))
		size -= len(members[name]) - len(mark)
		members[name] = mark
	}
	shrunk, err := json.Marshal(members)
	if err != nil || len(shrunk) > limit { // too many members, or names that are too long
		return note
	}
	return shrunk
}
