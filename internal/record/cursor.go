package record

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// ErrCursor is a cursor that does not decode.
var ErrCursor = errs.New(http.StatusBadRequest, "invalid_cursor", "The cursor is not one that this API handed out")

// Cursor is the place of a record's last change in its stream. The zero value is the place before the first.
type Cursor struct {
	At time.Time // microseconds
	// ID is the record's internal id.
	ID uuid.UUID
}

// timeFormat is ISO-8601 with an offset and microseconds, trailing zeros dropped: PostgreSQL's JSON form, which clients know.
const timeFormat = "2006-01-02T15:04:05.999999-07:00"

// ParseCursor reads what String wrote. Anything else is ErrCursor.
func ParseCursor(text string) (Cursor, error) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Cursor{}, ErrCursor.Because(err)
	}
	at, id, _ := strings.Cut(string(decoded), "||")
	c := Cursor{}
	if c.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return Cursor{}, ErrCursor.Because(err)
	}
	if c.ID, err = uuid.Parse(id); err != nil || len(id) != 36 {
		return Cursor{}, ErrCursor.Because(err)
	}
	c.At = c.At.UTC().Truncate(time.Microsecond)
	return c, nil
}

// IsZero reports whether c is the place before the first record.
func (c Cursor) IsZero() bool { return c.At.IsZero() }

// String is the cursor as clients see it: base64 of <time>||<id>. It is empty for the zero Cursor.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return string(c.append(nil))
}

func (c Cursor) append(b []byte) []byte {
	text := make([]byte, 0, 80)
	text = c.At.AppendFormat(text, timeFormat)
	text = append(text, "||"...)
	text = append(text, c.ID.String()...)
	return base64.StdEncoding.AppendEncode(b, text)
}

// micros is the time of the cursor, as it is stored. No two records of a stream share one, so it is enough to compare.
func (c Cursor) micros() int64 {
	if c.IsZero() {
		return 0
	}
	return micros(c.At)
}

// idSpace is the root of the internal ids: a UUID made for the purpose.
var idSpace = uuid.MustParse("5c8e9a1f-7b1c-4f0e-9d0b-2f6a4f5d1c37")

// ids gives the namespace of a stream's internal ids.
func (s Stream) ids() uuid.UUID {
	return uuid.NewSHA1(idSpace, []byte(strconv.FormatInt(s.ConnectionID, 10)+":"+s.Model))
}

// RecordID is the internal id of a record: the same whenever it is stored again.
func (s Stream) RecordID(externalID string) uuid.UUID {
	return uuid.NewSHA1(s.ids(), []byte(externalID))
}
