package logstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

const (
	// flushAfter and flushOperations bound what is lost with the process, and how late others see it.
	flushAfter      = 200 * time.Millisecond
	flushOperations = 256
	// flushSize is how many bytes of messages are written at once.
	flushSize = 2 << 20
	// queueSize is how many bytes may wait to be written. Rows may take as much again: what happened matters more than how.
	queueSize = 32 << 20
	// patience is how long a caller waits for room.
	patience = 50 * time.Millisecond
	// rowSize is what a row counts besides its texts.
	rowSize = 500
	// tries is how often what can't be written is tried again, a retryAfter apart.
	tries      = 10
	retryAfter = time.Second
	// reportEvery is how often losses are reported.
	reportEvery = time.Second
)

// entry is what is to be written of one operation.
type entry struct {
	record   oplog.Record
	save     bool // the row is to be written, not only messages
	messages []oplog.Message
	size     int
	tries    int
}

// queue holds entries in the order of their arrival, one per operation.
type queue struct {
	mu      sync.Mutex
	pending map[string]*entry
	order   []string
	size    int
	room    chan struct{} // closed, and replaced, when entries were taken
	closed  bool

	lostRows, lostMessages int
	reported               time.Time

	some    chan struct{} // has a value when something may be pending
	full    chan struct{} // has a value when there is enough for a batch
	writing chan struct{} // held by who writes
}

func newQueue() queue {
	return queue{
		pending: map[string]*entry{}, room: make(chan struct{}), some: make(chan struct{}, 1), full: make(chan struct{}, 1),
		writing: make(chan struct{}, 1),
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// add queues a row or messages, or counts them as lost when there is no room for too long.
func (q *queue) add(r oplog.Record, save bool, messages []oplog.Message) error {
	size, limit := rowSize+len(r.Meta), 2*queueSize
	if !save {
		size, limit = 0, queueSize
		for i := range messages {
			size += messageSize(&messages[i])
		}
	}
	var deadline <-chan time.Time
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size+size > limit && len(q.order) > 0 && !q.closed {
		if deadline == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			deadline = timer.C
		}
		room := q.room
		q.mu.Unlock()
		var late bool
		select {
		case <-room:
		case <-deadline:
			late = true
		}
		q.mu.Lock()
		if late {
			q.lose(save, len(messages))
			return nil
		}
	}
	if q.closed {
		return engine.ErrClosed
	}
	e := q.pending[r.ID]
	if e == nil {
		e = &entry{record: r}
		q.pending[r.ID] = e
		q.order = append(q.order, r.ID)
	}
	if save {
		e.record, e.save = r, true
	}
	e.messages = append(e.messages, messages...)
	e.size += size
	q.size += size
	signal(q.some)
	if len(q.order) >= flushOperations || q.size >= flushSize {
		signal(q.full)
	}
	return nil
}

func messageSize(m *oplog.Message) int {
	n := 200 + len(m.Text) + len(m.Meta)
	if m.Request != nil {
		n += len(m.Request.URL) + len(m.Request.Body) + 50*len(m.Request.Headers)
	}
	if m.Response != nil {
		n += len(m.Response.Body) + 50*len(m.Response.Headers)
	}
	return n
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) lose(row bool, messages int) {
	if row {
		q.lostRows++
	}
	q.lostMessages += messages
}

// take empties the queue.
func (q *queue) take() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*entry, len(q.order))
	for i, id := range q.order {
		all[i] = q.pending[id]
	}
	q.pending, q.order, q.size = map[string]*entry{}, nil, 0
	close(q.room)
	q.room = make(chan struct{})
	return all
}

// putBack queues again, in front, what could not be written; what was tried often enough is lost.
func (q *queue) putBack(failed []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var order []string
	for _, e := range failed {
		if e.tries++; e.tries >= tries {
			q.lose(e.save, len(e.messages))
			continue
		}
		q.size += e.size
		later := q.pending[e.record.ID]
		if later == nil {
			order = append(order, e.record.ID)
		} else {
			e.messages = append(e.messages, later.messages...)
			e.size += later.size
			if later.save {
				e.record, e.save = later.record, true
			}
		}
		q.pending[e.record.ID] = e
	}
	q.order = slices.Concat(order, q.order)
	if len(q.order) > 0 {
		signal(q.some)
	}
}

// Save queues the operation's row. It fails only once the Store is closed.
func (s *Store) Save(_ context.Context, r oplog.Record) error { return s.queue.add(r, true, nil) }

// Append queues messages. It fails only once the Store is closed.
func (s *Store) Append(_ context.Context, r oplog.Record, messages []oplog.Message) error {
	if len(messages) == 0 {
		return nil
	}
	return s.queue.add(r, false, messages)
}

// Flush writes what is queued and returns when it can be read, or with the reason why it can't.
func (s *Store) Flush(ctx context.Context) error {
	select {
	case s.queue.writing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.queue.writing }()
	entries := s.queue.take()
	if len(entries) == 0 {
		return nil
	}
	failed, err := s.write(context.WithoutCancel(ctx), entries)
	if len(failed) > 0 {
		s.queue.putBack(failed)
	}
	return err
}

func (s *Store) runWriter(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.queue.some:
		}
		wait := flushAfter
		if !s.pause(ctx, wait, s.queue.full) {
			return
		}
		if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.ErrorContext(ctx, "write the logs", "err", err, "retry", retryAfter)
			if !s.pause(ctx, retryAfter, nil) {
				return
			}
		}
		s.reportLost(ctx)
	}
}

// pause waits for a time or for early, and reports false when the Store is being closed.
func (s *Store) pause(ctx context.Context, wait time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-early:
	case <-timer.C:
	}
	return true
}

// reportLost tells once per second at most what was lost since the last time.
func (s *Store) reportLost(ctx context.Context) {
	q := &s.queue
	q.mu.Lock()
	now, rows, messages := s.opts.Now(), q.lostRows, q.lostMessages
	due := rows+messages > 0 && (q.closed || now.Sub(q.reported) >= reportEvery)
	if due {
		q.lostRows, q.lostMessages, q.reported = 0, 0, now
	}
	q.mu.Unlock()
	if due {
		s.opts.Logger.ErrorContext(ctx, "logs were dropped", "operations", rows, "messages", messages)
	}
}
