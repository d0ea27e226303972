package engine

import (
	"context"
	"sync"
)

// Resync is the payload every listener gets when notes may have been lost: a cache must be emptied, a poller must look.
const Resync = "\x00resync"

// bus carries hints between the parts of a process and, on PostgreSQL, between nodes. A note may be lost or come twice;
// whoever listens must also look by itself from time to time.
type bus struct {
	mu        sync.Mutex
	listeners map[string]map[*listener]struct{}
	closed    bool
}

type listener struct{ deliver func(payload string) }

func newBus() *bus { return &bus{listeners: map[string]map[*listener]struct{}{}} }

// Listen calls deliver for each note on topic until cancel is called. deliver runs on the sender's goroutine and must not
// block: set a flag, empty a cache, or do a non-blocking send.
func (db *DB) Listen(topic string, deliver func(payload string)) (cancel func()) {
	return db.bus.listen(topic, deliver)
}

// Notify sends a note when the transaction of ctx commits, or at once without one. It reaches every node on PostgreSQL.
func (db *DB) Notify(ctx context.Context, topic, payload string) error {
	if db.pg != nil {
		return db.pg.notify(ctx, db, topic, payload)
	}
	db.AfterCommit(ctx, func() { db.bus.publish(topic, payload) })
	return nil
}

func (b *bus) listen(topic string, deliver func(string)) func() {
	l := &listener{deliver}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners[topic] == nil {
		b.listeners[topic] = map[*listener]struct{}{}
	}
	b.listeners[topic][l] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners[topic], l)
	}
}

func (b *bus) publish(topic, payload string) {
	for _, l := range b.of(topic) {
		l.deliver(payload)
	}
}

func (b *bus) resync() {
	b.mu.Lock()
	topics := make([]string, 0, len(b.listeners))
	for topic := range b.listeners {
		topics = append(topics, topic)
	}
	b.mu.Unlock()
	for _, topic := range topics {
		b.publish(topic, Resync)
	}
}

func (b *bus) of(topic string) []*listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	all := make([]*listener, 0, len(b.listeners[topic]))
	for l := range b.listeners[topic] {
		all = append(all, l)
	}
	return all
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
