package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

// PageQuery says which records of a stream are wanted. The zero value wants the first page of all.
type PageQuery struct {
	// Cursor is the last record that the reader has; the page begins after it.
	Cursor Cursor
	// Limit is at most MaxPage; 0 means DefaultPage.
	Limit int
	// ModifiedAfter leaves out what was last changed before it.
	ModifiedAfter time.Time
	Filter        Filter
	// IDs, when not nil, are the external ids to choose from.
	IDs []string
}

// Filter picks records by their last action. The zero value picks all.
type Filter struct{ Added, Updated, Deleted bool }

// Page is a part of a stream, in the order of the last changes.
type Page struct {
	// Records are JSON objects as clients see them: the payload, id and _nango_metadata.
	Records []json.RawMessage
	// Next is where the next page begins; zero on the last one.
	Next Cursor
}

// Page reads records, the deleted ones included. A stream that was never written to is empty.
func (s *Service) Page(ctx context.Context, stream Stream, q PageQuery) (Page, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultPage
	}
	q.Limit = min(q.Limit, MaxPage)
	if q.Filter == (Filter{}) {
		q.Filter = Filter{true, true, true}
	}
	r := Range{
		After: q.Cursor.micros(), Until: math.MaxInt64, Limit: q.Limit + 1, IDs: q.IDs,
		Added: q.Filter.Added, Updated: q.Filter.Updated, Deleted: q.Filter.Deleted,
	}
	if !q.ModifiedAfter.IsZero() {
		r.After = max(r.After, micros(q.ModifiedAfter)-1)
	}
	page, err := s.page(ctx, stream, r, q.Limit)
	if err != nil {
		return Page{}, fmt.Errorf("read %s of connection %d: %w", stream.Model, stream.ConnectionID, err)
	}
	return page, nil
}

// GetByIDs reads up to MaxIDs records, the deleted ones included; what is not there is left out.
func (s *Service) GetByIDs(ctx context.Context, stream Stream, externalIDs []string) ([]json.RawMessage, error) {
	if len(externalIDs) > MaxIDs {
		return nil, invalid("too_big", fmt.Sprintf("At most %d records can be read by id at once", MaxIDs))
	}
	if len(externalIDs) == 0 {
		return nil, nil
	}
	page, err := s.Page(ctx, stream, PageQuery{IDs: externalIDs, Limit: MaxIDs})
	for err == nil && !page.Next.IsZero() { // the records were too large for one page
		var more Page
		more, err = s.Page(ctx, stream, PageQuery{IDs: externalIDs, Limit: MaxIDs, Cursor: page.Next})
		page = Page{append(page.Records, more.Records...), more.Next}
	}
	return page.Records, err
}

func (s *Service) page(ctx context.Context, stream Stream, r Range, limit int) (Page, error) {
	state, err := s.opts.Store.FindStream(ctx, stream)
	if errors.Is(err, ErrNoStream) {
		return Page{}, nil
	}
	if err != nil {
		return Page{}, err
	}
	r.StreamID = state.ID
	var page Page
	var last Cursor
	size, ids := 0, stream.ids()
	err = s.opts.Store.Each(ctx, r, func(row Row) (bool, error) {
		if len(page.Records) == limit || size > s.opts.MaxPageBytes {
			page.Next = last
			return false, nil
		}
		text := []byte(nil)
		if len(row.Payload) > 0 {
			var err error
			if text, err = s.open(row.Payload, state.ID, row.ExternalID); err != nil {
				return false, err
			}
		}
		last = Cursor{At: timeOf(row.Updated), ID: uuid.NewSHA1(ids, []byte(row.ExternalID))}
		one := render(text, &row, last)
		size += len(one)
		page.Records = append(page.Records, one)
		return true, nil
	})
	return page, err
}

// render adds the metadata to a payload; a record without payload is its id.
func render(text []byte, row *Row, cursor Cursor) json.RawMessage {
	const metadata = 380 // about what is added
	b := make([]byte, 0, len(text)+len(row.ExternalID)+metadata)
	if len(text) > 0 {
		b = append(b, text[:len(text)-1]...)
	} else {
		b = quote(append(b, `{"id":`...), row.ExternalID)
	}
	action := "UPDATED"
	switch {
	case row.Deleted != 0:
		action = "DELETED"
	case row.Created == row.Updated:
		action = "ADDED"
	}
	b = appendTime(append(b, `,"_nango_metadata":{"first_seen_at":`...), row.Created)
	b = appendTime(append(b, `,"last_modified_at":`...), row.Updated)
	b = append(append(append(b, `,"last_action":"`...), action...), '"')
	b = appendTime(append(b, `,"deleted_at":`...), row.Deleted)
	b = appendTime(append(b, `,"pruned_at":`...), row.Pruned)
	b = cursor.append(append(b, `,"cursor":"`...))
	return append(b, `"}}`...)
}

func appendTime(b []byte, at int64) []byte {
	if at == 0 {
		return append(b, "null"...)
	}
	b = timeOf(at).AppendFormat(append(b, '"'), timeFormat)
	return append(b, '"')
}

// Edge gives the cursor of the first or the last record of a stream; false if it is empty.
func (s *Service) Edge(ctx context.Context, stream Stream, last bool) (Cursor, bool, error) {
	state, err := s.opts.Store.FindStream(ctx, stream)
	if errors.Is(err, ErrNoStream) {
		return Cursor{}, false, nil
	}
	if err != nil {
		return Cursor{}, false, err
	}
	row, found, err := s.opts.Store.Edge(ctx, state.ID, last)
	if err != nil || !found {
		return Cursor{}, false, err
	}
	return stream.cursor(&row), true, nil
}

func (s Stream) cursor(row *Row) Cursor {
	return Cursor{At: timeOf(row.Updated), ID: s.RecordID(row.ExternalID)}
}

// Count is how much a stream holds.
type Count struct {
	Model string // its full name
	// Live counts the records that are not deleted, Size is the bytes of JSON that are stored, of deleted records too.
	Live, Size int64
	// ChangedAt is when a record last changed.
	ChangedAt time.Time
}

// Counts gives the streams of a connection that hold anything, or, for 0, those of the environment added up per model.
func (s *Service) Counts(ctx context.Context, environmentID, connectionID int64) ([]Count, error) {
	streams, err := s.opts.Store.Streams(ctx, environmentID, connectionID)
	if err != nil {
		return nil, fmt.Errorf("count records: %w", err)
	}
	var counts []Count
	for _, one := range streams {
		if one.Live == 0 && one.Size == 0 {
			continue
		}
		changed := timeOf(one.Clock)
		if n := len(counts); n > 0 && counts[n-1].Model == one.Model {
			last := &counts[n-1]
			last.Live += one.Live
			last.Size += one.Size
			if changed.After(last.ChangedAt) {
				last.ChangedAt = changed
			}
			continue
		}
		counts = append(counts, Count{one.Model, one.Live, one.Size, changed})
	}
	return counts, nil
}
