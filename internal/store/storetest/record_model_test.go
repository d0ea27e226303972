package storetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// modelRecord is a record as the model believes it to be.
type modelRecord struct {
	ID                                string
	Content                           map[string]string
	Created, Updated, Deleted, Pruned int64

	hashed     string
	generation int64
}

func (r modelRecord) action() string {
	switch {
	case r.Deleted != 0:
		return "DELETED"
	case r.Created == r.Updated:
		return "ADDED"
	}
	return "UPDATED"
}

// recordModel is the records cache as its documentation tells it, for one stream.
type recordModel struct {
	records map[string]*modelRecord
	clock   int64
	opened  bool // the stream exists
	window  int64
}

// batchItem is one record of a generated batch.
type batchItem struct {
	id      string
	content map[string]string
}

func (b batchItem) text() string {
	members := []string{fmt.Sprintf(`"id":%q`, b.id)}
	for _, name := range slices.Sorted(maps.Keys(b.content)) {
		members = append(members, fmt.Sprintf("%q:%q", name, b.content[name]))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// next is the time of the next change.
func (m *recordModel) next(now int64) int64 {
	m.clock = max(m.clock+1, now)
	return m.clock
}

func (m *recordModel) batch(op string, items []batchItem, generation, now int64) (r record.Result) {
	if len(items) > 0 && !m.opened {
		m.opened, m.clock = true, now-1
	}
	seen := map[string]bool{}
	for _, it := range items {
		if seen[it.id] {
			r.Duplicates = append(r.Duplicates, it.id)
			continue
		}
		seen[it.id] = true
		m.one(&r, op, it, m.records[it.id], generation, now)
	}
	return r
}

func (m *recordModel) one(r *record.Result, op string, it batchItem, old *modelRecord, generation, now int64) {
	fresh := &modelRecord{ID: it.id, Content: it.content, hashed: it.text(), generation: generation}
	if old != nil {
		fresh.generation = max(generation, old.generation)
	}
	same := old != nil && old.hashed == fresh.hashed
	switch {
	case op == "update":
		fresh.hashed = "partial " + it.text()
		if old == nil || old.Deleted != 0 || same || old.hashed == fresh.hashed {
			return
		}
		fresh.Content = map[string]string{}
		if old.Pruned == 0 {
			maps.Copy(fresh.Content, old.Content)
		}
		maps.Copy(fresh.Content, it.content)
		fresh.Created, fresh.Updated = old.Created, m.next(now)
		r.Updated++
	case op == "delete":
		fresh.Updated = m.next(now)
		fresh.Deleted, fresh.Created = fresh.Updated, fresh.Updated
		if old != nil {
			fresh.Created = old.Created
			if len(it.content) == 0 {
				fresh.Content, fresh.hashed, fresh.Pruned = old.Content, old.hashed, old.Pruned
			}
			if old.Deleted == 0 {
				r.Deleted++
			}
		}
	case old == nil || old.Deleted != 0:
		fresh.Created = m.next(now)
		fresh.Updated = fresh.Created
		r.Added++
	case same:
		fresh.Created, fresh.Updated = old.Created, old.Updated
		r.Unchanged++
	default:
		fresh.Created, fresh.Updated = old.Created, m.next(now)
		r.Updated++
	}
	m.records[it.id] = fresh
}

func (m *recordModel) deleteUnseen(generation, now int64) []string {
	deleted := []string{}
	for _, id := range slices.Sorted(maps.Keys(m.records)) {
		if r := m.records[id]; r.Deleted == 0 && r.generation < generation {
			r.Updated = m.next(now)
			r.Deleted = r.Updated
			deleted = append(deleted, id)
		}
	}
	return deleted
}

func (m *recordModel) inOrder() []*modelRecord {
	return slices.SortedFunc(maps.Values(m.records), func(a, b *modelRecord) int { return int(a.Updated - b.Updated) })
}

// machine drives the model and the real thing side by side.
type recordMachine struct {
	*recordBench

	t     *rapid.T
	model recordModel
}

func (m *recordMachine) items() []batchItem {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) batchItem {
		content := rapid.MapOfN(rapid.SampledFrom([]string{"name", "note"}), rapid.SampledFrom([]string{"x", "y"}), 0, 2).Draw(t, "content")
		return batchItem{rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "id"), content}
	}), 0, 5).Draw(m.t, "items")
}

func (m *recordMachine) batch(op string, write batchWriter) func(*rapid.T) {
	return func(t *rapid.T) {
		m.t = t
		items := m.items()
		texts := make([]string, len(items))
		for i, it := range items {
			texts[i] = it.text()
		}
		got, err := write(m.Context(), m.stream, m.run, json.RawMessage("["+strings.Join(texts, ",")+"]"), record.Merge{})
		if err != nil {
			t.Fatal(err)
		}
		got.Keys = nil
		if diff := cmp.Diff(m.model.batch(op, items, m.run.Generation, m.now.Load()), got); diff != "" {
			t.Fatalf("%s %v: %s", op, texts, diff)
		}
	}
}

func (m *recordMachine) end(t *rapid.T) {
	deleted, err := m.TrackDeletesEnd(m.Context(), m.stream, m.run)
	if m.model.window == 0 {
		if !errors.Is(err, record.ErrNoWindow) {
			t.Fatalf("an end without a start: %v", err)
		}
		return
	}
	if diff := cmp.Diff(m.model.deleteUnseen(m.model.window, m.now.Load()), deleted); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	m.model.window = 0
}

func (m *recordMachine) prune(t *rapid.T) {
	all := m.model.inOrder()
	if len(all) == 0 {
		return
	}
	until := all[rapid.IntRange(0, len(all)-1).Draw(t, "until")]
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	want := record.PruneResult{}
	for _, r := range all {
		if r.Updated <= until.Updated && r.Pruned == 0 && want.Count < limit {
			r.Pruned = m.now.Load()
			want.Count++
			want.More = r != until
		}
	}
	got, err := m.Prune(m.Context(), m.stream, record.Cursor{At: time.UnixMicro(until.Updated).UTC(), ID: m.stream.RecordID(until.ID)}, limit)
	if err != nil || got != want {
		t.Fatalf("pruned %+v, want %+v (%v)", got, want, err)
	}
}

// check compares everything that a client can see.
func (m *recordMachine) check(t *rapid.T) {
	var want, got []map[string]string
	live := int64(0)
	for _, r := range m.model.inOrder() {
		one := map[string]string{"id": r.ID, "action": r.action(), "created": at(r.Created), "updated": at(r.Updated), "deleted": at(r.Deleted), "pruned": at(r.Pruned)}
		if r.Pruned == 0 {
			maps.Copy(one, r.Content)
		}
		if r.Deleted == 0 {
			live++
		}
		want = append(want, one)
	}
	for q := (record.PageQuery{Limit: 4}); ; {
		page, err := m.Page(m.Context(), m.stream, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range page.Records {
			got = append(got, flat(t, raw))
		}
		if q.Cursor = page.Next; page.Next.IsZero() {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	m.wantLive(live)
}

func at(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.999999-07:00")
}

func flat(t *rapid.T, raw json.RawMessage) map[string]string {
	var content map[string]any
	var one read
	if err := errors.Join(json.Unmarshal(raw, &content), json.Unmarshal(raw, &one)); err != nil {
		t.Fatal(err)
	}
	delete(content, "_nango_metadata")
	all := map[string]string{"action": one.Metadata.Action, "created": one.Metadata.First, "updated": one.Metadata.Last, "deleted": "", "pruned": ""}
	if one.Metadata.Deleted != nil {
		all["deleted"] = *one.Metadata.Deleted
	}
	if one.Metadata.Pruned != nil {
		all["pruned"] = *one.Metadata.Pruned
	}
	for name, value := range content {
		all[name] = value.(string)
	}
	return all
}

func TestRecordsBehaveAsTheModelDoes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		var connections atomic.Int64
		v := storetest.Vault(t, s)
		rapid.Check(t, func(rt *rapid.T) {
			m := &recordMachine{recordBench: newRecordBenchWith(t, s, v), t: rt, model: recordModel{records: map[string]*modelRecord{}}}
			m.stream.ConnectionID = 1000 + connections.Add(1)
			rt.Repeat(map[string]func(*rapid.T){
				"save":   m.batch("save", m.Save),
				"update": m.batch("update", m.Update),
				"delete": m.batch("delete", m.Delete),
				"run":    func(*rapid.T) { m.run.Generation++ },
				"tick":   func(t *rapid.T) { m.now.Add(rapid.Int64Range(0, 3).Draw(t, "µs")) },
				"start": func(t *rapid.T) {
					if err := m.TrackDeletesStart(m.Context(), m.stream, m.run); err != nil {
						t.Fatal(err)
					}
					if m.model.window == 0 {
						m.model.window = m.run.Generation
					}
				},
				"end": m.end,
				"previous": func(t *rapid.T) {
					deleted, err := m.DeletePrevious(m.Context(), m.stream, m.run)
					if diff := cmp.Diff(m.model.deleteUnseen(m.run.Generation, m.now.Load()), deleted); diff != "" || err != nil {
						t.Fatal(diff, err)
					}
				},
				"prune": m.prune,
				"empty": func(t *rapid.T) {
					if rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
						return
					}
					n, err := m.DeleteModel(m.Context(), m.stream)
					if err != nil || n != len(m.model.records) {
						t.Fatalf("removed %d records, want %d (%v)", n, len(m.model.records), err)
					}
					clear(m.model.records)
				},
				"": m.check,
			})
		})
	})
}

// TestAReaderThatFollowsCursorsMissesNothing: writers change records of one stream at once, from two nodes on PostgreSQL; a
// reader that only ever goes forward ends with the last state of each record, and never goes back.
func TestAReaderThatFollowsCursorsMissesNothing(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		first := newRecordBench(t, storetest.Open(t, opts))
		second := first
		if opts.PostgresURL != "" {
			second = first.onAnotherNode(storetest.Open(t, opts))
		}
		const writers, rounds = 4, 25
		done := make(chan error, writers)
		for w := range writers {
			node := first
			if w%2 == 1 {
				node = second
			}
			go func() {
				done <- node.churn(w, rounds)
			}()
		}
		seen := map[string]string{}
		var last record.Cursor
		follow := func() {
			for {
				page, err := first.Page(t.Context(), first.stream, record.PageQuery{Cursor: last, Limit: 7})
				if err != nil {
					t.Fatal(err)
				}
				for _, raw := range page.Records {
					var one read
					if err := json.Unmarshal(raw, &one); err != nil {
						t.Fatal(err)
					}
					cursor, err := record.ParseCursor(one.Metadata.Cursor)
					if err != nil || !cursor.At.After(last.At) {
						t.Fatalf("the reader went from %v to %v (%v)", last, cursor, err)
					}
					seen[one.ID], last = one.Name+one.Metadata.Action, cursor
				}
				if page.Next.IsZero() {
					return
				}
			}
		}
		for running := writers; running > 0; {
			select {
			case err := <-done:
				if running--; err != nil {
					t.Error(err)
				}
			default:
				follow()
			}
		}
		follow()
		want := map[string]string{}
		all, _ := first.page(record.PageQuery{Limit: record.MaxPage})
		for _, one := range all {
			want[one.ID] = one.Name + one.Metadata.Action
		}
		if diff := cmp.Diff(want, seen); diff != "" || len(want) != 20 {
			t.Errorf("of %d records the reader knows otherwise: %s", len(want), diff)
		}
		live := int64(0)
		for _, state := range want {
			if !strings.HasSuffix(state, "DELETED") {
				live++
			}
		}
		first.wantLive(live)
	})
}

// churn changes twenty records again and again.
func (b *recordBench) churn(writer, rounds int) error {
	for round := range rounds {
		var texts []string
		for i := range 5 {
			texts = append(texts, fmt.Sprintf(`{"id":"%d","name":"%d-%d"}`, (writer*3+round*7+i)%20, writer, round))
		}
		write := b.Save
		switch round % 5 {
		case 3:
			write = b.Delete
		case 4:
			write = b.Update
		}
		if _, err := write(b.Context(), b.stream, b.run, json.RawMessage("["+strings.Join(texts, ",")+"]"), record.Merge{}); err != nil {
			return err
		}
	}
	return nil
}
