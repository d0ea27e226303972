package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// recordDay is when the record tests begin.
var recordDay = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// recordBench is a records cache over a store, with a clock that only the test moves.
type recordBench struct {
	testing.TB
	*record.Service

	vault       *vault.Vault
	checkpoints *checkpoint.Service
	stream      record.Stream
	run         record.Run
	now         atomic.Int64 // microseconds
}

func newRecordBench(t testing.TB, s *store.Store) *recordBench {
	t.Helper()
	return newRecordBenchWith(t, s, storetest.Vault(t, s))
}

func newRecordBenchWith(t testing.TB, s *store.Store, v *vault.Vault) *recordBench {
	t.Helper()
	b := &recordBench{
		TB: t, vault: v, stream: record.Stream{EnvironmentID: 1, ConnectionID: 7, Model: "Contact"},
		run: record.Run{Generation: 1, Checkpoint: "sync:contacts:base"},
	}
	b.now.Store(recordDay.UnixMicro())
	clock := func() time.Time { return time.UnixMicro(b.now.Load()).UTC() }
	b.checkpoints = checkpoint.New(checkpoint.Options{Store: s.Checkpoints(), Now: clock})
	service, err := record.New(record.Options{Store: s.Records(), Vault: v, Checkpoints: b.checkpoints, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	b.Service = service
	return b
}

// onAnotherNode is the same cache over the same database, opened once more.
func (b *recordBench) onAnotherNode(s *store.Store) *recordBench {
	b.Helper()
	return newRecordBenchWith(b.TB, s, b.vault)
}

func (b *recordBench) tick(d time.Duration) { b.now.Add(d.Microseconds()) }

type batchWriter = func(ctx context.Context, stream record.Stream, run record.Run, records json.RawMessage, merge record.Merge) (record.Result, error)

func (b *recordBench) must(write batchWriter, records string) record.Result {
	b.Helper()
	result, err := write(b.Context(), b.stream, b.run, json.RawMessage(records), record.Merge{})
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// counts is a result as "added updated deleted unchanged".
func counts(r record.Result) string {
	return fmt.Sprint(r.Added, r.Updated, r.Deleted, r.Unchanged)
}

// read is a record as a client reads it.
type read struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Metadata struct {
		First   string  `json:"first_seen_at"`
		Last    string  `json:"last_modified_at"`
		Action  string  `json:"last_action"`
		Deleted *string `json:"deleted_at"`
		Pruned  *string `json:"pruned_at"`
		Cursor  string  `json:"cursor"`
	} `json:"_nango_metadata"`
}

func (b *recordBench) page(q record.PageQuery) ([]read, record.Page) {
	b.Helper()
	page, err := b.Page(b.Context(), b.stream, q)
	if err != nil {
		b.Fatal(err)
	}
	all := make([]read, len(page.Records))
	for i, raw := range page.Records {
		if err := json.Unmarshal(raw, &all[i]); err != nil {
			b.Fatalf("%s: %v", raw, err)
		}
	}
	return all, page
}

// shown is the stream as "id name ACTION" lines, with a mark for what is pruned.
func (b *recordBench) shown(q record.PageQuery) string {
	b.Helper()
	all, _ := b.page(q)
	lines := make([]string, len(all))
	for i, one := range all {
		lines[i] = strings.TrimSpace(one.ID+" "+one.Name) + " " + one.Metadata.Action
		if one.Metadata.Pruned != nil {
			lines[i] += " pruned"
		}
	}
	return strings.Join(lines, ", ")
}

func (b *recordBench) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (b *recordBench) wantStream(want string) {
	b.Helper()
	b.want("stream", b.shown(record.PageQuery{}), want)
}

// wantLive checks the stored count and that it is what the stream holds.
func (b *recordBench) wantLive(want int64) {
	b.Helper()
	counts, err := b.Counts(b.Context(), b.stream.EnvironmentID, b.stream.ConnectionID)
	if err != nil {
		b.Fatal(err)
	}
	var live int64
	for _, one := range counts {
		if one.Model == b.stream.Model {
			live = one.Live
		}
	}
	if live != want {
		b.Errorf("%d live records are counted, want %d", live, want)
	}
}

func TestEveryTransitionOfARecord(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		const one, other = `[{"id":"a","name":"one"}]`, `[{"id":"a","name":"two"}]`
		prune := func() {
			cursor, _, err := b.Edge(t.Context(), b.stream, true)
			if err == nil {
				_, err = b.Prune(t.Context(), b.stream, cursor, 10)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		do := map[string]func() string{
			"save one":    func() string { return counts(b.must(b.Save, one)) },
			"save two":    func() string { return counts(b.must(b.Save, other)) },
			"update two":  func() string { return counts(b.must(b.Update, other)) },
			"delete":      func() string { return counts(b.must(b.Delete, `[{"id":"a"}]`)) },
			"delete two":  func() string { return counts(b.must(b.Delete, other)) },
			"delete then": func() string { return counts(b.must(b.Delete, `[{"id":"a","deletedAt":"2020-01-02T03:04:05Z"}]`)) },
			"prune":       func() string { prune(); return "" },
		}
		const (
			still = iota // neither time moves
			moved        // last_modified_at moves
			born         // both do
		)
		tests := []struct {
			before, step, counts, after string
			times                       int
		}{
			{"", "save one", "1 0 0 0", "a one ADDED", born},
			{"save one", "save one", "0 0 0 1", "a one ADDED", still},
			{"save one", "save two", "0 1 0 0", "a two UPDATED", moved},
			{"save one", "update two", "0 1 0 0", "a two UPDATED", moved},
			{"save one,update two", "update two", "0 0 0 0", "a two UPDATED", still},
			{"save one,update two", "save two", "0 1 0 0", "a two UPDATED", moved},
			{"save two", "update two", "0 0 0 0", "a two ADDED", still},
			{"save one", "delete", "0 0 1 0", "a one DELETED", moved},
			{"save one", "delete two", "0 0 1 0", "a two DELETED", moved},
			{"save one", "delete then", "0 0 1 0", "a one DELETED", moved},
			{"save one", "prune", "", "a ADDED pruned", still},
			{"save one,prune", "save one", "0 0 0 1", "a one ADDED", still},
			{"save one,prune", "save two", "0 1 0 0", "a two UPDATED", moved},
			{"save one,prune", "update two", "0 1 0 0", "a two UPDATED", moved},
			{"save one,prune", "delete", "0 0 1 0", "a DELETED pruned", moved},
			{"save one,prune", "delete two", "0 0 1 0", "a two DELETED", moved},
			{"save one,delete", "save one", "1 0 0 0", "a one ADDED", born},
			{"save one,delete", "save two", "1 0 0 0", "a two ADDED", born},
			{"save one,delete", "update two", "0 0 0 0", "a one DELETED", still},
			{"save one,delete", "delete", "0 0 0 0", "a one DELETED", moved},
			{"save one,delete then", "delete then", "0 0 0 1", "a one DELETED", still},
			{"save one,delete,prune", "save one", "1 0 0 0", "a one ADDED", born},
			{"", "delete", "0 0 0 0", "a DELETED", born},
			{"", "delete two", "0 0 0 0", "a two DELETED", born},
			{"", "update two", "0 0 0 0", "", still},
		}
		for i, test := range tests {
			b.stream.ConnectionID = int64(100 + i)
			for name := range strings.SplitSeq(test.before, ",") {
				if name != "" {
					do[name]()
				}
				b.tick(time.Second)
			}
			before, _ := b.page(record.PageQuery{})
			got := do[test.step]()
			label := fmt.Sprintf("%q then %q", test.before, test.step)
			b.want(label+": counts", got, test.counts)
			b.want(label, b.shown(record.PageQuery{}), test.after)
			after, _ := b.page(record.PageQuery{})
			var first, last bool
			if len(after) > 0 {
				first = len(before) == 0 || before[0].Metadata.First != after[0].Metadata.First
				last = len(before) == 0 || before[0].Metadata.Last != after[0].Metadata.Last
			}
			if first != (test.times == born) || last != (test.times >= moved) {
				t.Errorf("%s: first seen moved: %t, last modified moved: %t", label, first, last)
			}
			live := int64(0)
			if strings.HasSuffix(test.after, "ED") && !strings.Contains(test.after, "DELETED") || strings.Contains(test.after, "ADDED pruned") {
				live = 1
			}
			b.wantLive(live)
		}
	})
}

func TestARecordIsReadAsTheWireContractSays(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		b.now.Store(time.Date(2026, 8, 20, 9, 0, 0, 123450000, time.UTC).UnixMicro())
		b.must(b.Save, `[ {"z":1, "id":42,"title":"a\u003cb é","_nango_metadata":{"x":1},"nested":{"id":5}} ]`)
		cursor := record.Cursor{At: time.Date(2026, 8, 20, 9, 0, 0, 123450000, time.UTC), ID: b.stream.RecordID("42")}
		want := `{"z":1,"id":"42","title":"a\u003cb é","nested":{"id":5},"_nango_metadata":{"first_seen_at":"2026-08-20T09:00:00.12345+00:00",` +
			`"last_modified_at":"2026-08-20T09:00:00.12345+00:00","last_action":"ADDED","deleted_at":null,"pruned_at":null,"cursor":"` + cursor.String() + `"}}`
		_, page := b.page(record.PageQuery{})
		b.want("record", string(page.Records[0]), want)
		if parsed, err := record.ParseCursor(cursor.String()); err != nil || parsed != cursor {
			t.Errorf("cursor %v comes back as %v, %v", cursor, parsed, err)
		}
		if page.Next != (record.Cursor{}) {
			t.Errorf("the last page has a next cursor: %v", page.Next)
		}
		if _, err := b.Prune(t.Context(), b.stream, cursor, 1); err != nil {
			t.Fatal(err)
		}
		_, page = b.page(record.PageQuery{})
		want = `{"id":"42","_nango_metadata":{"first_seen_at":"2026-08-20T09:00:00.12345+00:00","last_modified_at":"2026-08-20T09:00:00.12345+00:00",` +
			`"last_action":"ADDED","deleted_at":null,"pruned_at":"2026-08-20T09:00:00.12345+00:00","cursor":"` + cursor.String() + `"}}`
		b.want("pruned record", string(page.Records[0]), want)
	})
}

func TestABatchIsTakenWholeOrRefused(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		for _, bad := range []string{
			`{}`, ``, `[`, `[{"id":"a"}]x`, `[1]`, `[{"id":"a"},{"id":"a",}]`, `[{"id":"ok"},{"name":"x"}]`, `[{"id":"ok"},{"id":""}]`, `[{"id":0}]`,
			`[{"id":true}]`, `[{"id":null}]`, `[{"id":["a"]}]`, `[{"id":"\u0000"}]`, `[{"id":"` + strings.Repeat("é", 256) + `"}]`,
			`[` + strings.Repeat(`{"id":"a"},`, record.MaxBatch) + `{"id":"a"}]`,
		} {
			_, err := b.Save(t.Context(), b.stream, b.run, json.RawMessage(bad), record.Merge{})
			var refusal *errs.Error
			if !errors.As(err, &refusal) || refusal.Status != 400 || len(refusal.Issues) == 0 {
				t.Errorf("%.40s: %v, want a 400 that says where", bad, err)
			}
		}
		if _, err := b.Delete(t.Context(), b.stream, b.run, json.RawMessage(`[{"id":"a","deletedAt":"soon"}]`), record.Merge{}); errs.Code(err) != "invalid_body" {
			t.Errorf("a deletedAt that is no time: %v", err)
		}
		b.wantStream("")
		b.must(b.Save, `[]`)
		result := b.must(b.Save, `[{"id":"a","name":"first"},{"id":"`+strings.Repeat("é", 255)+`"},{"id":"a","name":"second"},{"id":1.5},{"id":"1.5"},{"\u0069d":"b\u0000c"}]`)
		b.want("counts", counts(result), "4 0 0 0")
		if diff := cmp.Diff([]string{"a", "1.5"}, result.Duplicates); diff != "" {
			t.Error(diff)
		}
		b.wantStream("a first ADDED, " + strings.Repeat("é", 255) + " ADDED, 1.5 ADDED, bc ADDED")
		b.wantLive(4)
	})
}

func TestAnUpdateIsLaidOverDeeply(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		b.must(b.Save, `[{"id":1,"name":"one","tags":["a","b"],"deep":{"x":{"y":1,"z":2},"gone":1}},{"id":"2"}]`)
		result := b.must(b.Update, `[{"id":"1","tags":["c"],"deep":{"x":{"y":9},"gone":null},"new":{"k":1}},{"id":"unknown","name":"x"}]`)
		b.want("counts", counts(result), "0 1 0 0")
		raws, err := b.GetByIDs(t.Context(), b.stream, []string{"1", "unknown"})
		if err != nil || len(raws) != 1 {
			t.Fatal(raws, err)
		}
		text, _, _ := strings.Cut(string(raws[0]), `,"_nango_metadata"`)
		b.want("record", text, `{"id":"1","name":"one","tags":["c"],"deep":{"x":{"y":9,"z":2},"gone":null},"new":{"k":1}`)
		b.want("whole record again", counts(b.must(b.Save, `[{"id":1,"name":"one","tags":["a","b"],"deep":{"x":{"y":1,"z":2},"gone":1}},{"id":"2"}]`)), "0 1 0 1")
	})
}

func TestPagesFollowTheLastChange(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		b.must(b.Save, `[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"},{"id":"e"}]`)
		first, page := b.page(record.PageQuery{Limit: 2})
		if len(first) != 2 || page.Next.String() != first[1].Metadata.Cursor {
			t.Fatalf("a page of two ends with %q, its next cursor is %q", first[len(first)-1].Metadata.Cursor, page.Next)
		}
		b.tick(time.Minute)
		b.must(b.Save, `[{"id":"a","name":"new"},{"id":"f"}]`)
		b.must(b.Delete, `[{"id":"c"}]`)
		b.want("rest", b.shown(record.PageQuery{Cursor: page.Next}), "d ADDED, e ADDED, a new UPDATED, f ADDED, c DELETED")
		filters := []struct {
			filter record.Filter
			want   string
		}{
			{record.Filter{Added: true}, "b ADDED, d ADDED, e ADDED, f ADDED"},
			{record.Filter{Updated: true}, "a new UPDATED"},
			{record.Filter{Deleted: true}, "c DELETED"},
			{record.Filter{Added: true, Deleted: true}, "b ADDED, d ADDED, e ADDED, f ADDED, c DELETED"},
			{record.Filter{Updated: true, Deleted: true}, "a new UPDATED, c DELETED"},
			{record.Filter{Added: true, Updated: true}, "b ADDED, d ADDED, e ADDED, a new UPDATED, f ADDED"},
		}
		for _, f := range filters {
			b.want(fmt.Sprint(f.filter), b.shown(record.PageQuery{Filter: f.filter}), f.want)
		}
		b.want("modified after", b.shown(record.PageQuery{ModifiedAfter: recordDay.Add(time.Minute)}), "a new UPDATED, f ADDED, c DELETED")
		b.want("ids", b.shown(record.PageQuery{IDs: []string{"c", "b", "x"}}), "b ADDED, c DELETED")
		b.want("no ids", b.shown(record.PageQuery{IDs: []string{}}), "")
		for _, stranger := range []record.Stream{
			{EnvironmentID: 2, ConnectionID: 7, Model: "Contact"}, {EnvironmentID: 1, ConnectionID: 8, Model: "Contact"}, {EnvironmentID: 1, ConnectionID: 7, Model: "Contact::eu"},
		} {
			if page, err := b.Page(t.Context(), stranger, record.PageQuery{}); err != nil || len(page.Records) > 0 {
				t.Errorf("%v sees records of %v: %s, %v", stranger, b.stream, page.Records, err)
			}
		}
	})
}

func TestMergingKeepsWhatOthersChanged(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		b.must(b.Save, `[{"id":"a","name":"old"},{"id":"b","name":"old"},{"id":"c","name":"old"}]`)
		merge, err := b.StartMerge(t.Context(), b.stream, record.IgnoreIfModifiedAfter)
		if err != nil {
			t.Fatal(err)
		}
		b.must(b.Save, `[{"id":"a","name":"hook"}]`)
		b.must(b.Delete, `[{"id":"b"}]`)
		result, err := b.Save(t.Context(), b.stream, b.run, json.RawMessage(`[{"id":"a","name":"sync"},{"id":"b","name":"sync"},{"id":"c","name":"sync"},{"id":"d","name":"sync"}]`), merge)
		if err != nil {
			t.Fatal(err)
		}
		b.want("counts", counts(result), "1 1 0 0")
		if result.Skipped != 2 {
			t.Errorf("%d records were skipped, want 2", result.Skipped)
		}
		b.wantStream("a hook UPDATED, b old DELETED, c sync UPDATED, d sync ADDED")
		last, _, err := b.Edge(t.Context(), b.stream, true)
		if err != nil || result.NextMerge != (record.Merge{Strategy: record.IgnoreIfModifiedAfter, Cursor: last}) {
			t.Errorf("the next batch merges at %v, want %v (%v)", result.NextMerge, last, err)
		}
	})
}

func TestAWindowDeletesWhatNoRunHad(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		ctx := t.Context()
		if _, err := b.TrackDeletesEnd(ctx, b.stream, b.run); !errors.Is(err, record.ErrNoWindow) {
			t.Errorf("an end without a start: %v", err)
		}
		b.must(b.Save, `[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"},{"id":"e"}]`)
		b.run.Generation = 2
		open := func() {
			if err := b.TrackDeletesStart(ctx, b.stream, b.run); err != nil {
				t.Fatal(err)
			}
		}
		open()
		b.must(b.Save, `[{"id":"a"}]`)                    // unchanged, but seen
		b.must(b.Update, `[{"id":"e","name":"partial"}]`) // seen, as it was written
		b.run.Generation = 3                              // the run failed; the next one goes on
		open()
		b.must(b.Save, `[{"id":"b","name":"changed"}]`)
		b.must(b.Delete, `[{"id":"d"}]`)
		b.tick(time.Minute)
		deleted, err := b.TrackDeletesEnd(ctx, b.stream, b.run)
		if diff := cmp.Diff([]string{"c"}, deleted); diff != "" || err != nil {
			t.Error(diff, err)
		}
		b.wantStream("a ADDED, e partial UPDATED, b changed UPDATED, d DELETED, c DELETED")
		b.wantLive(3)
		if _, err := b.TrackDeletesEnd(ctx, b.stream, b.run); !errors.Is(err, record.ErrNoWindow) {
			t.Errorf("the window is still open: %v", err)
		}
		open()
		if _, err := b.checkpoints.Reset(ctx, checkpoint.Key{EnvironmentID: 1, ConnectionID: 7, Name: b.run.Checkpoint}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.TrackDeletesEnd(ctx, b.stream, b.run); !errors.Is(err, record.ErrNoWindow) {
			t.Errorf("a reset left the window open: %v", err)
		}
		deleted, err = b.DeletePrevious(ctx, b.stream, b.run)
		if diff := cmp.Diff([]string{"a", "e"}, deleted); diff != "" || err != nil {
			t.Error(diff, err)
		}
		b.wantLive(1)
	})
}

func TestAWindowOverManyRecordsDeletesEachOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		for n := range 3 {
			b.must(b.Save, numbered(n*900, 900, "x"))
		}
		b.run.Generation = 2
		b.must(b.Save, numbered(450, 900, "x"))
		deleted, err := b.DeletePrevious(t.Context(), b.stream, b.run)
		if err != nil || len(deleted) != 1800 {
			t.Errorf("%d records were deleted, want 1800 (%v)", len(deleted), err)
		}
		b.wantLive(900)
		n, err := b.DeleteModel(t.Context(), b.stream)
		if err != nil || n != 2700 {
			t.Errorf("%d records were removed, want 2700 (%v)", n, err)
		}
		b.wantStream("")
		if all, err := b.Counts(t.Context(), 1, 0); err != nil || len(all) != 0 {
			t.Errorf("an empty stream is counted: %v, %v", all, err)
		}
	})
}

// numbered is a batch of records with the ids from, from+1, ….
func numbered(from, n int, name string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%06d","name":%q}`, from+i, name)
	}
	b.WriteByte(']')
	return b.String()
}

func TestPruningGoesUpToTheCursor(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		b.must(b.Save, `[{"id":"a","name":"x"},{"id":"b","name":"x"},{"id":"c","name":"x"},{"id":"d","name":"x"}]`)
		all, _ := b.page(record.PageQuery{})
		until, err := record.ParseCursor(all[2].Metadata.Cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []record.PruneResult{{Count: 2, More: true}, {Count: 1}, {}} {
			got, err := b.Prune(t.Context(), b.stream, until, 2)
			if err != nil || got != step {
				t.Errorf("pruned %+v, want %+v (%v)", got, step, err)
			}
		}
		b.wantStream("a ADDED pruned, b ADDED pruned, c ADDED pruned, d x ADDED")
		b.must(b.Save, `[{"id":"b","name":"x"}]`) // comes back where it was
		b.wantStream("a ADDED pruned, b x ADDED, c ADDED pruned, d x ADDED")
		if got, err := b.Prune(t.Context(), b.stream, until, 10); err != nil || got != (record.PruneResult{Count: 1, More: true}) {
			t.Errorf("what came back was pruned as %+v (%v)", got, err)
		}
		counts, err := b.Counts(t.Context(), 1, 7)
		if diff := cmp.Diff([]record.Count{{Model: "Contact", Live: 4, Size: int64(len(`{"id":"d","name":"x"}`)), ChangedAt: recordDay.Add(3 * time.Microsecond)}}, counts); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

func TestRetentionPrunesAndDeletesWhatNobodyUses(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		ctx := t.Context()
		b.must(b.Save, `[{"id":"a","name":"x"},{"id":"b","name":"x"}]`)
		b.tick(20 * 24 * time.Hour)
		b.must(b.Save, `[{"id":"b","name":"y"}]`)
		clock := func() time.Time { return time.UnixMicro(b.now.Load()) }
		if n, err := b.PruneOld(ctx, clock(), 10); err != nil || n != 0 {
			t.Errorf("pruned %d after 20 days (%v)", n, err)
		}
		b.tick(11 * 24 * time.Hour)
		if n, err := b.PruneOld(ctx, clock(), 10); err != nil || n != 1 {
			t.Errorf("pruned %d after 31 days, want 1 (%v)", n, err)
		}
		b.wantStream("a ADDED pruned, b y UPDATED")
		b.tick(48 * 24 * time.Hour) // 59 days after the last save
		if n, _, err := b.DeleteIdle(ctx, clock(), 10); err != nil || n != 0 {
			t.Errorf("deleted %d streams after 59 days (%v)", n, err)
		}
		if err := b.Touch(ctx, b.stream); err != nil {
			t.Fatal(err)
		}
		b.tick(59 * 24 * time.Hour)
		if n, _, err := b.DeleteIdle(ctx, clock(), 10); err != nil || n != 0 {
			t.Errorf("deleted %d streams that a run used (%v)", n, err)
		}
		b.tick(2 * 24 * time.Hour)
		if streams, records, err := b.DeleteIdle(ctx, clock(), 10); err != nil || streams != 1 || records != 2 {
			t.Errorf("deleted %d streams with %d records, want 1 with 2 (%v)", streams, records, err)
		}
		b.wantStream("")
		if streams, _, err := b.DeleteIdle(ctx, clock(), 10); err != nil || streams != 0 {
			t.Errorf("deleted %d streams twice (%v)", streams, err)
		}
	})
}

func TestADeletedConnectionLeavesNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		b := newRecordBench(t, s)
		ctx := t.Context()
		b.must(b.Save, `[{"id":"a"}]`)
		if err := b.TrackDeletesStart(ctx, b.stream, b.run); err != nil {
			t.Fatal(err)
		}
		other := b.stream
		other.ConnectionID = 8
		if _, err := b.Save(ctx, other, b.run, json.RawMessage(`[{"id":"a"}]`), record.Merge{}); err != nil {
			t.Fatal(err)
		}
		if n, err := b.DeleteConnection(ctx, 2, 7); err != nil || n != 0 {
			t.Errorf("another environment deleted %d records (%v)", n, err)
		}
		if n, err := b.DeleteConnection(ctx, 1, 7); err != nil || n != 1 {
			t.Errorf("deleted %d records, want 1 (%v)", n, err)
		}
		b.wantStream("")
		if _, err := b.TrackDeletesEnd(ctx, b.stream, b.run); !errors.Is(err, record.ErrNoWindow) {
			t.Errorf("the window outlived its connection: %v", err)
		}
		b.stream = other
		b.wantStream("a ADDED")
	})
}

func TestARotationReachesEveryRecord(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		v, _, err := vault.Open(ctx, vault.Options{
			MasterKey: vault.GenerateMasterKey(), Store: s.Vault(), Sealed: s.Sealed(), RetireAfter: -1,
			Wait: func(context.Context, time.Duration) error { return nil }, Now: skippingClock(),
		})
		if err != nil {
			t.Fatal(err)
		}
		b := newRecordBenchWith(t, s, v)
		b.must(b.Save, numbered(0, 250, "x")) // more than one batch of the vault's
		b.stream.ConnectionID = 8
		b.must(b.Save, `[{"id":"a/b","name":"slash"},{"id":"é","name":"accent"}]`)
		if _, err := v.Rotate(ctx); err != nil {
			t.Fatal(err)
		}
		report, err := v.Rewrap(ctx, nil)
		if err != nil || report.Resealed < 252 || report.UnreadableCount != 0 || len(report.Retired) != 1 {
			t.Errorf("sealed %d values again, retired %v, could not read %v (%v)", report.Resealed, report.Retired, report.Unreadable, err)
		}
		b.wantStream("a/b slash ADDED, é accent ADDED")
		b.stream.ConnectionID = 7
		if all, _ := b.page(record.PageQuery{Limit: 1000}); len(all) != 250 || all[249].Name != "x" {
			t.Errorf("%d records are left", len(all))
		}
	})
}

// skippingClock is a clock that is a minute later each time.
func skippingClock() func() time.Time {
	var minutes atomic.Int64
	return func() time.Time { return recordDay.Add(time.Duration(minutes.Add(1)) * time.Minute) }
}
