package logstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

var (
	chunksOldestFirst = engine.SQL(`SELECT id, data FROM logs_chunks
		WHERE day = $1 AND id > $2 AND id < $3 AND messages > 0 ORDER BY id LIMIT $4`)
	chunksNewestFirst = engine.SQL(`SELECT id, data FROM logs_chunks
		WHERE day = $1 AND id > $2 AND id < $3 AND messages > 0 ORDER BY id DESC LIMIT $4`)
	countMessages = engine.SQL(`SELECT COALESCE(SUM(messages), 0) FROM logs_chunks WHERE day = $1 AND id > $2 AND id < $3`)
)

// chunksAtOnce bounds how much of an operation is in memory while its messages are searched: chunks are some 64 KB.
const chunksAtOnce = 64

// place is where a message is: in which chunk, and how many are before it there.
type place struct {
	chunk int64
	index int
}

func (p place) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", p.chunk, p.index))
}

type storedChunk struct {
	id   int64
	data []byte
}

// messageSearch walks through the messages of an operation in one direction.
type messageSearch struct {
	query oplog.MessageQuery
	terms []term
	after *place
	limit int
	page  oplog.MessagePage
	last  place // of the page
	more  bool
}

// Messages finds messages of an operation; oplog.ErrNotFound when there is no such operation in the environment.
func (s *Store) Messages(ctx context.Context, environmentID int64, id string, q oplog.MessageQuery) (oplog.MessagePage, error) {
	m := &messageSearch{query: q, limit: pageSize(q.Limit), page: oplog.MessagePage{Messages: []oplog.Message{}}}
	var err error
	if m.terms, err = terms(q.Text); err != nil {
		return m.page, err
	}
	if q.Cursor != "" {
		chunk, index, err := parseCursor(q.Cursor)
		if err != nil {
			return m.page, err
		}
		m.after = &place{chunk, int(index)}
	}
	d, num, _, err := s.find(ctx, environmentID, id)
	if err != nil {
		return m.page, err
	}
	err = s.days.read(ctx, d, func(ctx context.Context, db *engine.DB) error { return s.searchMessages(ctx, db, d, num, m) })
	if errors.Is(err, errNoDay) {
		err = oplog.ErrNotFound
	}
	if err != nil {
		return oplog.MessagePage{}, fmt.Errorf("read the messages of operation %s: %w", id, err)
	}
	if m.more {
		m.page.Cursor = m.last.cursor()
	}
	return m.page, nil
}

func (s *Store) searchMessages(ctx context.Context, db *engine.DB, d day, num int64, m *messageSearch) error {
	statement, low, high := chunksNewestFirst, num<<chunkBits, (num+1)<<chunkBits
	if m.query.OldestFirst {
		statement = chunksOldestFirst
	}
	all := !m.filters()
	if all {
		if err := db.QueryRow(ctx, countMessages, int64(d), low, high).Scan(&m.page.Total); err != nil {
			return err
		}
		if m.after != nil && m.query.OldestFirst {
			low = max(low, m.after.chunk-1)
		} else if m.after != nil {
			high = min(high, m.after.chunk+1)
		}
	}
	for {
		chunks, err := engine.Collect(func(row engine.Scanner) (storedChunk, error) {
			var c storedChunk
			err := row.Scan(&c.id, &c.data)
			return c, err
		})(db.Query(ctx, statement, int64(d), low, high, chunksAtOnce))
		if err != nil {
			return err
		}
		for _, c := range chunks {
			messages, err := s.codec.messages(c.data)
			if err != nil {
				return err
			}
			m.visit(c.id, messages, !all)
			if all && m.more {
				return nil
			}
		}
		if len(chunks) < chunksAtOnce {
			return nil
		}
		if last := chunks[len(chunks)-1].id; m.query.OldestFirst {
			low = last
		} else {
			high = last
		}
	}
}

func (m *messageSearch) filters() bool {
	q := &m.query
	return len(m.terms) > 0 || len(q.Levels) > 0 || !q.From.IsZero() || !q.To.IsZero()
}

// visit takes the messages of the next chunk into the page, and counts those that pass.
func (m *messageSearch) visit(chunk int64, messages []oplog.Message, count bool) {
	for i := range messages {
		index := i
		if !m.query.OldestFirst {
			index = len(messages) - 1 - i
		}
		if !m.passes(&messages[index]) {
			continue
		}
		if count {
			m.page.Total++
		}
		at := place{chunk, index}
		switch {
		case m.after != nil && !m.isAfter(at):
		case len(m.page.Messages) == m.limit:
			m.more = true
		default:
			m.page.Messages, m.last = append(m.page.Messages, messages[index]), at
		}
	}
}

func (m *messageSearch) isAfter(at place) bool {
	order := at.chunk - m.after.chunk
	if order == 0 {
		order = int64(at.index - m.after.index)
	}
	if !m.query.OldestFirst {
		order = -order
	}
	return order > 0
}

func (m *messageSearch) passes(one *oplog.Message) bool {
	q := &m.query
	if len(q.Levels) > 0 && !slices.Contains(q.Levels, one.Level) ||
		!q.From.IsZero() && one.CreatedAt.Before(q.From) || !q.To.IsZero() && !one.CreatedAt.Before(q.To) {
		return false
	}
	if len(m.terms) == 0 {
		return true
	}
	var words document
	words.addMessage(one)
	return allIn(m.terms, words.String())
}
