package vault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/vault"
)

const (
	lease       = 15 * time.Second
	retireAfter = 10 * time.Minute
)

func TestRotationSealsWithTheNewKeyAndRemovesTheOldOneLater(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	for i := range 250 { // more than two batches
		c := w.column.Context(fmt.Sprintf("%03d", i))
		w.column.Put(c.ID, seal(t, v, "value "+c.ID, c))
	}
	old := keyOf(t, w.column.Get("000"))

	start := w.Now()
	primary, err := v.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if waited := w.Now().Sub(start); waited != lease {
		t.Errorf("the key was promoted after %v, want after a lease", waited)
	}
	var steps []vault.Progress
	report, err := v.Rewrap(t.Context(), func(p vault.Progress) { steps = append(steps, p) })
	if err != nil {
		t.Fatal(err)
	}
	if report.Resealed != 250 || len(report.Retired) != 0 || !report.RetireAt.Equal(w.Now().Add(retireAfter)) {
		t.Errorf("report %+v, want 250 re-sealed and the old key to go in 10 minutes", report)
	}
	if len(steps) != 6 || steps[0] != (vault.Progress{Pass: 1, Column: "connections.credentials", Scanned: 100, Resealed: 100}) {
		t.Errorf("progress %+v, want three batches in each of two passes", steps)
	}
	for i := range 250 {
		c := w.column.Context(fmt.Sprintf("%03d", i))
		if got, err := v.Open(w.column.Get(c.ID), c); err != nil || string(got) != "value "+c.ID || keyOf(t, w.column.Get(c.ID)) != primary {
			t.Fatalf("row %s: %q, %v", c.ID, got, err)
		}
	}

	w.advance(retireAfter - time.Second)
	if report, err := v.Rewrap(t.Context(), nil); err != nil || len(report.Retired) != 0 {
		t.Errorf("too early: %+v, %v", report, err)
	}
	w.advance(time.Second)
	if report, err := v.Rewrap(t.Context(), nil); err != nil || len(report.Retired) != 1 || report.Retired[0] != old || report.Resealed != 0 {
		t.Errorf("in time: %+v, %v; want key %d retired", report, err, old)
	}
	status, err := v.Status(t.Context())
	if err != nil || status.PrimaryKeyID != primary || status.StagedKeyID != 0 || len(status.OldKeyIDs) != 0 {
		t.Errorf("status %+v, %v", status, err)
	}
	if report, err := v.Rewrap(t.Context(), nil); err != nil || report.Scanned != 0 {
		t.Errorf("with one key there is nothing to do: %+v, %v", report, err)
	}
}

func TestKeyThatIsStillWrittenIsNotRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	late := seal(t, v, "late", w.column.Context("late"))
	if _, err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err := v.Rewrap(t.Context(), nil); err != nil || report.RetireAt.IsZero() {
		t.Fatalf("%+v, %v", report, err)
	}
	w.column.Put("late", late) // by somebody who has held it since before the rotation
	w.advance(retireAfter)
	report, err := v.Rewrap(t.Context(), nil)
	if err != nil || report.Resealed != 1 || len(report.Retired) != 0 || !report.RetireAt.Equal(w.Now().Add(retireAfter)) {
		t.Errorf("%+v, %v; want the late value re-sealed and the wait started anew", report, err)
	}
	if got, err := v.Open(w.column.Get("late"), w.column.Context("late")); err != nil || string(got) != "late" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUnreadableRowKeepsItsKeyAndStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	w.column.Put("1", seal(t, v, "one", w.column.Context("1")))
	w.column.Put("2", w.column.Get("1")) // copied from another row
	w.column.Put("3", []byte("junk"))
	w.column.Put("4", seal(t, v, "four", w.column.Context("4")))
	if _, err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := v.Rewrap(t.Context(), nil)
		if err != nil || report.UnreadableCount != 2 || len(report.Unreadable) != 2 || report.Unreadable[0] != w.column.Context("2") {
			t.Fatalf("%+v, %v; want rows 2 and 3 unreadable", report, err)
		}
		if len(report.Retired) != 0 || !report.RetireAt.IsZero() {
			t.Fatalf("%+v: the key of an unreadable row is about to go", report)
		}
		w.advance(retireAfter)
	}
	for id, want := range map[string]string{"1": "one", "4": "four"} {
		if got, err := v.Open(w.column.Get(id), w.column.Context(id)); err != nil || string(got) != want {
			t.Errorf("row %s: %q, %v", id, got, err)
		}
	}
	w.column.Put("2", seal(t, v, "two", w.column.Context("2")))
	if report, err := v.Rewrap(t.Context(), nil); err != nil || report.RetireAt.IsZero() {
		t.Errorf("%+v, %v: junk under no key keeps a key alive", report, err)
	}
}

func TestNodeThatMissedTheNewsLearnsOfANewKey(t *testing.T) {
	t.Parallel()
	w := newWorld()
	here, there := w.node(t), w.node(t)
	w.store.Deaf = true
	primary, err := here.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := w.column.Context("1")
	sealed := seal(t, here, "x", c)

	before := w.store.Looks
	if got, err := there.Open(sealed, c); err != nil || string(got) != "x" {
		t.Fatalf("a value under a key this node has not seen: %q, %v", got, err)
	}
	if looks := w.store.Looks - before; looks != 1 {
		t.Errorf("%d looks at the database, want one", looks)
	}
	if id := keyOf(t, seal(t, there, "x", c)); id != primary {
		t.Error("the node still seals with the old key")
	}

	// A node that only seals notices at the end of its lease.
	third := w.node(t)
	if primary, err = here.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.advance(lease)
	if id := keyOf(t, seal(t, third, "x", c)); id != primary {
		t.Error("a node seals with a keyset that it has not compared for a lease")
	}
}

func TestJunkDoesNotFloodTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	before, start := w.store.Looks, w.Now()
	const junk = 50
	for i := range junk {
		value := []byte{1, 0xff, 0xff, 0xff, byte(i), 1, 2, 3}
		if _, err := v.Open(value, w.column.Context("1")); !errors.Is(err, vault.ErrUnreadable) {
			t.Fatal(err)
		}
	}
	if looks, took := w.store.Looks-before, w.Now().Sub(start); looks > junk || took < (junk-1)*200*time.Millisecond {
		t.Errorf("%d looks in %v, want one in 200 ms at the most", looks, took)
	}
	for range junk {
		if _, err := v.Open([]byte("no sealed value"), w.column.Context("1")); !errors.Is(err, vault.ErrUnreadable) {
			t.Fatal(err)
		}
	}
	if took := w.Now().Sub(start); took > junk*200*time.Millisecond {
		t.Error("what is no sealed value made the vault look or wait")
	}
}

func TestDatabaseThatIsDownStopsSealingAfterTheLeaseAndNeverOpening(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	c := w.column.Context("1")
	sealed := seal(t, v, "x", c)
	w.store.Err = errors.New("connection refused")
	w.advance(lease - time.Second)
	if _, err := v.Seal([]byte("x"), c); err != nil {
		t.Errorf("within the lease: %v", err)
	}
	w.advance(time.Second)
	if _, err := v.Seal([]byte("x"), c); !errors.Is(err, w.store.Err) {
		t.Errorf("after the lease: %v", err)
	}
	if got, err := v.Open(sealed, c); err != nil || string(got) != "x" {
		t.Errorf("opening: %q, %v", got, err)
	}
	if _, err := v.Open([]byte{1, 0, 0, 0, 0, 0}, c); !errors.Is(err, w.store.Err) || errors.Is(err, vault.ErrUnreadable) {
		t.Errorf("a value under an unknown key while nobody can tell: %v", err)
	}
	w.store.Err = nil
	if _, err := v.Seal([]byte("x"), c); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestInterruptedRotationIsFinished: the process dies after the new key was published, or in the middle of re-sealing.
func TestInterruptedRotationIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	for i := range 250 {
		c := w.column.Context(fmt.Sprintf("%03d", i))
		w.column.Put(c.ID, seal(t, v, c.ID, c))
	}
	dying, die := context.WithCancel(t.Context())
	w.waiting = die
	if _, err := v.Rotate(dying); !errors.Is(err, context.Canceled) {
		t.Fatalf("Rotate: %v", err)
	}
	w.waiting = nil
	status, err := v.Status(t.Context())
	if err != nil || status.StagedKeyID == 0 || status.StagedKeyID == status.PrimaryKeyID {
		t.Fatalf("status %+v, %v; want a published key that is not primary", status, err)
	}

	next := w.node(t)
	id, err := next.Rotate(t.Context())
	if err != nil || id != status.StagedKeyID {
		t.Fatalf("Rotate = %d, %v; want the published key %d and not a third one", id, err, status.StagedKeyID)
	}
	dying, die = context.WithCancel(t.Context())
	done := 0
	if _, err := next.Rewrap(dying, func(p vault.Progress) { done = p.Resealed; die() }); !errors.Is(err, context.Canceled) || done != 100 {
		t.Fatalf("%d re-sealed when it died, %v; want one batch", done, err)
	}

	last := w.node(t)
	if err := last.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.advance(retireAfter)
	if err := last.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err = last.Status(t.Context())
	if err != nil || status.PrimaryKeyID != id || len(status.OldKeyIDs) != 0 {
		t.Errorf("status %+v, %v; want one key", status, err)
	}
	for i := range 250 {
		c := w.column.Context(fmt.Sprintf("%03d", i))
		if got, err := last.Open(w.column.Get(c.ID), c); err != nil || string(got) != c.ID {
			t.Fatalf("row %s: %q, %v", c.ID, got, err)
		}
	}
}

// TestNoReadFailsWhateverTheOrder lets three nodes read, write, hold values back, miss notifications, rotate, re-seal, die in
// the middle and clean up in any order. The one rule is that nobody holds a value back, or passes it on, for as long as
// RetireAfter.
func TestNoReadFailsWhateverTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		m := &model{world: w, nodes: []*vault.Vault{w.node(t), w.node(t), w.node(t)}, want: map[string]string{}, since: map[string]time.Time{}}
		t.Repeat(map[string]func(*rapid.T){
			"write":    m.write,
			"hold":     m.hold,
			"copy":     m.copy,
			"release":  m.release,
			"pass":     m.pass,
			"news":     func(t *rapid.T) { w.store.Deaf = rapid.Bool().Draw(t, "deaf") },
			"restart":  func(t *rapid.T) { m.nodes[m.pick(t)] = w.node(t) },
			"rotate":   m.rotate,
			"rewrap":   m.rewrap,
			"maintain": m.maintain,
			"":         m.check,
		})
	})
}

type model struct {
	*world

	nodes []*vault.Vault
	want  map[string]string // row -> plaintext
	held  []heldValue
	since map[string]time.Time // sealed value that was held -> since when
	n     int
}

// heldValue is sealed but not stored yet.
type heldValue struct {
	id, text string
	sealed   []byte
	since    time.Time
}

func (m *model) pick(t *rapid.T) int { return rapid.IntRange(0, len(m.nodes)-1).Draw(t, "node") }

func (m *model) row(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(1, 4).Draw(t, "row")) }

func (m *model) sealNew(t *rapid.T) heldValue {
	m.n++
	h := heldValue{id: m.row(t), text: fmt.Sprint("value ", m.n), since: m.Now()}
	var err error
	if h.sealed, err = m.nodes[m.pick(t)].Seal([]byte(h.text), m.column.Context(h.id)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (m *model) store(h heldValue) {
	m.column.Put(h.id, h.sealed)
	m.want[h.id] = h.text
}

func (m *model) write(t *rapid.T) { m.store(m.sealNew(t)) }

func (m *model) hold(t *rapid.T) { m.held = append(m.held, m.sealNew(t)) }

// copy reads a row to write it back later, as a transaction does that changes another column.
func (m *model) copy(t *rapid.T) {
	id := m.row(t)
	sealed := m.column.Get(id)
	if sealed == nil {
		return
	}
	since, wasHeld := m.since[string(sealed)]
	if !wasHeld {
		since = m.Now()
	}
	if m.Now().Sub(since) < retireAfter {
		m.held = append(m.held, heldValue{id, m.want[id], sealed, since})
	}
}

func (m *model) release(t *rapid.T) {
	if len(m.held) > 0 {
		i := rapid.IntRange(0, len(m.held)-1).Draw(t, "held")
		m.since[string(m.held[i].sealed)] = m.held[i].since
		m.store(m.held[i])
		m.held = append(m.held[:i], m.held[i+1:]...)
	}
}

// pass lets time go by, in which what was held too long is stored or given up.
func (m *model) pass(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Second, lease, retireAfter / 2, retireAfter}).Draw(t, "time")
	kept := m.held[:0]
	for _, h := range m.held {
		if m.Now().Add(d).Sub(h.since) < retireAfter {
			kept = append(kept, h)
		} else if rapid.Bool().Draw(t, "stored") {
			m.since[string(h.sealed)] = h.since
			m.store(h)
		}
	}
	m.held = kept
	m.advance(d)
}

func (m *model) rotate(t *rapid.T) {
	ctx, die := context.WithCancel(context.Background())
	defer die()
	m.waiting = func() { // others go on while the rotation waits
		for range rapid.IntRange(0, 4).Draw(t, "meanwhile") {
			rapid.SampledFrom([]func(*rapid.T){m.write, m.hold, m.copy, m.release, m.check}).Draw(t, "what")(t)
		}
		if rapid.IntRange(0, 3).Draw(t, "dies") == 0 {
			die()
		}
	}
	defer func() { m.waiting = nil }()
	if _, err := m.nodes[m.pick(t)].Rotate(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
}

func (m *model) rewrap(t *rapid.T) {
	ctx, die := context.WithCancel(context.Background())
	defer die()
	_, err := m.nodes[m.pick(t)].Rewrap(ctx, func(vault.Progress) {
		for range rapid.IntRange(0, 2).Draw(t, "meanwhile") {
			rapid.SampledFrom([]func(*rapid.T){m.write, m.release, m.check}).Draw(t, "what")(t)
		}
		if rapid.IntRange(0, 5).Draw(t, "dies") == 0 {
			die()
		}
	})
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
}

func (m *model) maintain(t *rapid.T) {
	if err := m.nodes[m.pick(t)].Maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (m *model) check(t *rapid.T) {
	for id, want := range m.want {
		for i, v := range m.nodes {
			if got, err := v.Open(m.column.Get(id), m.column.Context(id)); err != nil || string(got) != want {
				t.Fatalf("node %d, row %s: %q, %v; want %q", i, id, got, err, want)
			}
		}
	}
}

func TestBackgroundKeepsTheKeysFresh(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	looked := make(chan struct{})
	c := w.column.Context("1")
	go func() {
		defer close(looked)
		_, _ = w.node(t).Rotate(t.Context()) // the note makes the other node look
	}()
	<-looked
	if _, err := v.Seal([]byte("x"), c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Seal([]byte("x"), c); err != nil {
		t.Errorf("a stopped vault does not seal: %v", err)
	}
}

func BenchmarkSeal1KB(b *testing.B) {
	w := newWorld()
	opts := w.options()
	opts.Now = nil
	v, _, err := vault.Open(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	plaintext, c := make([]byte, 1024), w.column.Context("7a6c5c0e-8a61-4f5d-9d0f-0a2b4b5d6c7e")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Seal(plaintext, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen1KB(b *testing.B) {
	w := newWorld()
	v, _, err := vault.Open(b.Context(), w.options())
	if err != nil {
		b.Fatal(err)
	}
	c := w.column.Context("7a6c5c0e-8a61-4f5d-9d0f-0a2b4b5d6c7e")
	sealed, err := v.Seal(make([]byte, 1024), c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(sealed, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	w := newWorld()
	v, _, err := vault.Open(b.Context(), w.options())
	if err != nil {
		b.Fatal(err)
	}
	value := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		v.Hash("api_key", value)
	}
}
