package logstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

const (
	// tailBuffer is how many events a reader may lag behind before it misses some.
	tailBuffer = 512
	// pollEvery is how often the nodes on PostgreSQL look what the others have written.
	pollEvery = 500 * time.Millisecond
	// pollOverlap is how far back each look goes: transactions of other nodes become visible late, and clocks differ.
	pollOverlap = 5 * time.Second
	// pollDays is how many days back operations are followed.
	pollDays = 2
)

// bus hands events to those who follow.
type bus struct {
	mu      sync.Mutex
	readers map[*reader]struct{}
	closed  bool
}

type reader struct {
	query  oplog.Query
	terms  []term
	events chan oplog.Event
}

func newBus() bus { return bus{readers: map[*reader]struct{}{}} }

// Tail follows operations that pass the filter of q (its times, limit and cursor are ignored): each change of a row and all
// messages, as they are written. The channel is closed when ctx ends or the Store is closed. Who reads too slowly misses
// events. A text passes when the row or one of the new messages holds it.
func (s *Store) Tail(ctx context.Context, q oplog.Query) (<-chan oplog.Event, error) {
	terms, err := terms(q.Text)
	if err != nil {
		return nil, err
	}
	r := &reader{q, terms, make(chan oplog.Event, tailBuffer)}
	if !s.bus.add(r) {
		return nil, engine.ErrClosed
	}
	context.AfterFunc(ctx, func() { s.bus.remove(r) })
	return r.events, nil
}

func (b *bus) add(r *reader) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.readers[r] = struct{}{}
	}
	return !b.closed
}

func (b *bus) remove(r *reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.readers[r]; ok {
		delete(b.readers, r)
		close(r.events)
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for r := range b.readers {
		close(r.events)
	}
	clear(b.readers)
}

func (b *bus) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers) == 0
}

func (b *bus) publish(e oplog.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.readers {
		if !r.passes(&e) {
			continue
		}
		select {
		case r.events <- e:
		default:
		}
	}
}

func (r *reader) passes(e *oplog.Event) bool {
	q, o := &r.query, &e.Record
	listed := func(list []string, values ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(list, v) })
	}
	if o.EnvironmentID != q.EnvironmentID || !listed(q.Types, o.Kind.Type, o.Kind.Type+":"+o.Kind.Action) ||
		len(q.States) > 0 && !slices.Contains(q.States, o.State) ||
		!listed(q.Integrations, o.IntegrationName) || !listed(q.Connections, o.ConnectionName) || !listed(q.Functions, o.FunctionName) {
		return false
	}
	if len(r.terms) == 0 {
		return true
	}
	var words document
	words.addRecord(o)
	for i := range e.Messages {
		words.addMessage(&e.Messages[i])
	}
	return allIn(r.terms, words.String())
}

var (
	pollOperations = engine.SQL(`SELECT id, written_at, record FROM logs_operations
		WHERE day >= $1 AND written_at >= $2 ORDER BY written_at, num LIMIT 20000`)
	pollChunks = engine.SQL(`SELECT c.id, c.written_at, c.data, o.record FROM logs_chunks c
		JOIN logs_operations o ON o.day = c.day AND o.num = c.id >> 20
		WHERE c.day >= $1 AND c.written_at >= $2 AND c.messages > 0 ORDER BY c.written_at, c.id LIMIT 20000`)
)

// seen is what was handed out already, by when it was written.
type seen struct {
	rows   map[string]int64
	chunks map[int64]int64
}

func newSeen() seen { return seen{map[string]int64{}, map[int64]int64{}} }

// runPolling reads what any node has written, while somebody follows.
func (s *Store) runPolling(ctx context.Context) {
	known := newSeen()
	// Who starts to follow sees what is written from the last look on that found nobody following.
	start := engine.Micros(s.opts.Now())
	for s.pause(ctx, pollEvery, nil) {
		now := s.opts.Now()
		if s.bus.empty() {
			known, start = newSeen(), engine.Micros(now)
			continue
		}
		since := max(start, engine.Micros(now.Add(-pollOverlap)))
		if err := s.poll(ctx, known, since, now); err != nil {
			if ctx.Err() == nil {
				s.opts.Logger.WarnContext(ctx, "follow the logs", "err", err)
			}
			continue
		}
		maps.DeleteFunc(known.rows, func(_ string, written int64) bool { return written < since })
		maps.DeleteFunc(known.chunks, func(_ int64, written int64) bool { return written < since })
	}
}

// poll publishes rows and messages that were written since then and are not known yet.
func (s *Store) poll(ctx context.Context, known seen, since int64, now time.Time) error {
	first := int64(dayOf(now) - pollDays)
	db := s.opts.Postgres
	var order []string
	events := map[string]*oplog.Event{}
	event := func(r oplog.Record) *oplog.Event {
		if events[r.ID] == nil {
			events[r.ID] = &oplog.Event{Record: r}
			order = append(order, r.ID)
		}
		return events[r.ID]
	}
	_, err := engine.Collect(func(row engine.Scanner) (struct{}, error) {
		var id string
		var written int64
		var data []byte
		if err := row.Scan(&id, &written, &data); err != nil || known.rows[id] >= written {
			return struct{}{}, err
		}
		known.rows[id] = written
		r, err := s.codec.record(data)
		if err == nil {
			event(r)
		}
		return struct{}{}, err
	})(db.Query(ctx, pollOperations, first, since))
	if err != nil {
		return err
	}
	_, err = engine.Collect(func(row engine.Scanner) (struct{}, error) {
		var id, written int64
		var data, record []byte
		if err := row.Scan(&id, &written, &data, &record); err != nil || known.chunks[id] != 0 {
			return struct{}{}, err
		}
		known.chunks[id] = written
		r, err := s.codec.record(record)
		if err != nil {
			return struct{}{}, err
		}
		messages, err := s.codec.messages(data)
		if err == nil {
			e := event(r)
			e.Messages = append(e.Messages, messages...)
		}
		return struct{}{}, err
	})(db.Query(ctx, pollChunks, first, since))
	if err != nil {
		return err
	}
	for _, id := range order {
		s.bus.publish(*events[id])
	}
	return nil
}
