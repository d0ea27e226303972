package logstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/logstore"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// clock moves a microsecond each time it is read, so that nothing happens at the same time.
type clock struct {
	mu sync.Mutex
	at time.Time
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newClock() *clock { return &clock{at: noon} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Microsecond)
	return c.at
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

// bench is a store of logs on one engine, with a clock.
type bench struct {
	*logstore.Store

	clock *clock
	base  *store.Store
	dir   string
}

// open opens the logs once more: a second node, or the same one after a restart.
func (b *bench) open(t testing.TB, opts logstore.Options) *logstore.Store {
	t.Helper()
	s, err := b.base.OpenLogs(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the logs: %v", err)
		}
	})
	return s
}

func run(t *testing.T, opts logstore.Options, test func(t *testing.T, b *bench)) {
	t.Helper()
	storetest.RunOptions(t, func(t *testing.T, base store.Options) {
		c := newClock()
		base.Now = c.now
		b := &bench{clock: c, base: storetest.Open(t, base), dir: filepath.Join(base.DataDir, "logs")}
		b.Store = b.open(t, opts)
		test(t, b)
	})
}

// record is an operation that began at at, as package oplog would write it.
func record(at time.Time, env int64, edit func(r *oplog.Record)) oplog.Record {
	r := oplog.Record{
		ID: oplog.NewID(at), Kind: oplog.SyncRun, State: oplog.Running, Message: "Sync executed", EnvironmentID: env,
		CreatedAt: at, UpdatedAt: at, StartedAt: &at, ExpiresAt: noon.AddDate(1, 0, 0),
	}
	if edit != nil {
		edit(&r)
	}
	return r
}

func (b *bench) save(t testing.TB, at time.Time, env int64, edit func(r *oplog.Record)) oplog.Record {
	t.Helper()
	r := record(at, env, edit)
	if err := b.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bench) append(t testing.TB, r oplog.Record, texts ...string) {
	t.Helper()
	var all []oplog.Message
	for _, text := range texts {
		all = append(all, oplog.Message{ID: text, Level: oplog.Info, Type: "log", Source: "user", Text: text, CreatedAt: b.clock.now()})
	}
	if err := b.Append(t.Context(), r, all); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) search(t testing.TB, q oplog.Query) []string {
	t.Helper()
	page, err := b.Operations(t.Context(), q)
	if err != nil {
		t.Fatalf("search %+v: %v", q, err)
	}
	if len(page.Records) != page.Total && page.Cursor == "" && q.Cursor == "" {
		t.Errorf("search %+v: %d of %d and no cursor", q, len(page.Records), page.Total)
	}
	names := []string{}
	for _, r := range page.Records {
		names = append(names, r.ConnectionName)
	}
	return names
}

func TestEveryFilterFindsItsOperationsInItsEnvironmentOnly(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		add := func(name string, age time.Duration, kind oplog.Kind, state oplog.State, integration, function string) {
			b.save(t, noon.Add(-age), 1, func(r *oplog.Record) {
				r.ConnectionName, r.Kind, r.State, r.IntegrationName, r.FunctionName = name, kind, state, integration, function
			})
		}
		add("a", time.Minute, oplog.SyncRun, oplog.Success, "crm", "contacts")
		add("b", 2*time.Hour, oplog.SyncPause, oplog.Failed, "crm", "deals")
		add("c", 30*time.Hour, oplog.ActionRun, oplog.Running, "mail", "send")
		add("d", 80*time.Hour, oplog.WebhookSync, oplog.Success, "mail", "")
		b.save(t, noon.Add(-time.Minute), 2, func(r *oplog.Record) { r.ConnectionName, r.IntegrationName = "foreign", "crm" })
		for _, c := range []struct {
			name string
			q    oplog.Query
			want []string
		}{
			{"nothing", oplog.Query{}, []string{"a", "b", "c", "d"}},
			{"a type", oplog.Query{Types: []string{"sync"}}, []string{"a", "b"}},
			{"a kind", oplog.Query{Types: []string{"sync:pause"}}, []string{"b"}},
			{"a type and a kind", oplog.Query{Types: []string{"action", "sync:run"}}, []string{"a", "c"}},
			{"two types", oplog.Query{Types: []string{"action", "webhook"}}, []string{"c", "d"}},
			{"a state", oplog.Query{States: []oplog.State{oplog.Success}}, []string{"a", "d"}},
			{"states", oplog.Query{States: []oplog.State{oplog.Failed, oplog.Running}}, []string{"b", "c"}},
			{"an integration", oplog.Query{Integrations: []string{"crm"}}, []string{"a", "b"}},
			{"integrations", oplog.Query{Integrations: []string{"crm", "mail", "other"}}, []string{"a", "b", "c", "d"}},
			{"a connection", oplog.Query{Connections: []string{"c"}}, []string{"c"}},
			{"another's connection", oplog.Query{Connections: []string{"foreign"}}, []string{}},
			{"functions", oplog.Query{Functions: []string{"send", "deals"}}, []string{"b", "c"}},
			{"from", oplog.Query{From: noon.Add(-2 * time.Hour)}, []string{"a", "b"}},
			{"to", oplog.Query{To: noon.Add(-2 * time.Hour)}, []string{"c", "d"}},
			{"from and to", oplog.Query{From: noon.Add(-30 * time.Hour), To: noon.Add(-time.Hour)}, []string{"b", "c"}},
			{"all together", oplog.Query{
				Types: []string{"sync"}, States: []oplog.State{oplog.Failed}, Integrations: []string{"crm"}, Connections: []string{"b"},
				Functions: []string{"deals"}, From: noon.Add(-3 * time.Hour), To: noon, Text: "executed",
			}, []string{"b"}},
			{"a quote in a name", oplog.Query{Connections: []string{`' OR "1"="1`, "x"}}, []string{}},
		} {
			c.q.EnvironmentID = 1
			if diff := cmp.Diff(c.want, b.search(t, c.q)); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
		}
	})
}

func TestTextFindsWhatAnyFieldOrMessageHolds(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		b.save(t, noon, 1, func(r *oplog.Record) {
			r.ConnectionName, r.FunctionName, r.ProviderName = "row", "fetch-invoices", "acme"
			r.Error = &oplog.Failure{Name: "quota_error", Message: "Über quota", Type: "provider", Payload: json.RawMessage(`{"hint":"upgrade plan"}`)}
			r.Request = &oplog.HTTPRequest{Method: "POST", URL: "https://api.test/v2/things/42?page=3", Headers: map[string]string{"x-tenant": "blue"}, Body: "rowbody"}
			r.Response = &oplog.HTTPResponse{Code: 429, Headers: map[string]string{"retry-after": "77"}, Body: "slow down"}
			r.Meta = json.RawMessage(`{"batch":"b-1234"}`)
		})
		r := b.save(t, noon, 1, func(r *oplog.Record) { r.ConnectionName = "msg" })
		if err := b.Append(t.Context(), r, []oplog.Message{{
			Text: "Connection reset by peer", Error: &oplog.Failure{Name: "econnreset", Message: "socket hang up", Type: "network"},
			Request:  &oplog.HTTPRequest{URL: "https://files.test/6ba7b810-9dad-11d1-80b4-00c04fd430c8", Headers: map[string]string{"if-none-match": "etag9"}},
			Response: &oplog.HTTPResponse{Code: 503}, Meta: json.RawMessage(`{"deep":{"key":["needle"]}}`),
			Persist: &oplog.PersistResults{Model: "Contact", AddedKeys: []string{"rec-771"}},
		}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.append(t, r, "second chunk speaks of elephants", "日本語のメッセージ")
		for search, want := range map[string]string{
			"invoices": "row", "fetch-inv": "row", "acme": "row", "QUOTA_error": "row", "über": "row", "upgrade plan": "row", "v2/things/42": "row",
			"https://api.test/v2": "row", "x-tenant": "row", "rowbody": "row", "429": "row", "b-1234": "row", "slow quota": "row",
			"reset": "msg", `"reset by"`: "msg", "econnreset": "msg", "hang up": "msg", "6ba7b810-9dad-11d1-80b4-00c04fd430c8": "msg", "6ba7b810-9dad-11": "msg",
			"if-none-match": "msg", "503": "msg", "needle": "msg", "contact": "msg", "rec-771": "msg", "elephants": "msg",
			"elephants reset": "msg", `"chunk speaks" executed`: "msg", "日本語のメ": "msg", "executed": "msg row",
			`"res by"`: "", `"reset peer"`: "", "econnreset quota": "", "things/43": "", "7ba7b810": "", "''": "msg row", "row": "row",
			`"elephant"`: "", "elephant": "msg", "NOT": "", "executed OR zzz": "", "exec*": "msg row", `ex"ecuted`: "", `'); DROP TABLE logs_chunks; --`: "",
		} {
			got := b.search(t, oplog.Query{EnvironmentID: 1, Text: search})
			slices.Sort(got)
			if strings.Join(got, " ") != want {
				t.Errorf("%s finds %q, want %q", search, got, want)
			}
		}
		if _, err := b.Operations(t.Context(), oplog.Query{EnvironmentID: 1, Text: "1 2 3 4 5 6 7 8 9"}); !errors.Is(err, oplog.ErrText) {
			t.Errorf("nine words: %v", err)
		}
	})
}

func TestPagesMissNothingAndRepeatNothingWhileOperationsAreAdded(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		var want []string
		for i := range 120 {
			name := fmt.Sprint("op", i)
			at := noon.Add(-time.Duration(i/3) * time.Hour) // three at the same time, over three days
			b.save(t, at, 1, func(r *oplog.Record) { r.ConnectionName = name })
			want = append(want, name)
			if i%50 == 0 {
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, limit := range []int{1, 7, 60, 120, 1000} {
			var got []string
			q := oplog.Query{EnvironmentID: 1, Limit: limit, To: noon.Add(time.Second)}
			for pages := 0; ; pages++ {
				page, err := b.Operations(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if page.Total != len(want) || len(page.Records) > limit || pages > 120 {
					t.Fatalf("limit %d, page %d: %d records, total %d", limit, pages, len(page.Records), page.Total)
				}
				for _, r := range page.Records {
					got = append(got, r.ConnectionName)
				}
				if q.Cursor = page.Cursor; q.Cursor == "" {
					break
				}
				b.save(t, noon.Add(time.Minute), 1, nil)
				if len(page.Records) == 0 {
					t.Errorf("limit %d: an empty page has a cursor", limit)
				}
			}
			slices.Sort(got)
			sorted := slices.Sorted(slices.Values(want))
			if diff := cmp.Diff(sorted, got); diff != "" {
				t.Errorf("limit %d: %s", limit, diff)
			}
		}
		for _, cursor := range []string{"x", "!!", "MS4y.", "LTEuMg", "MQ", "MS54"} {
			if _, err := b.Operations(t.Context(), oplog.Query{EnvironmentID: 1, Cursor: cursor}); !errors.Is(err, oplog.ErrCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
	})
}

func TestAnOperationIsReplacedAndReadableAtOnce(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		r := b.save(t, noon, 1, func(r *oplog.Record) { r.Meta = json.RawMessage(`{"a":"x\u0000y"}`); r.ConnectionName = "nul\x00\xff" })
		got, err := b.Operation(t.Context(), 1, r.ID)
		if diff := cmp.Diff(r.Meta, got.Meta); err != nil || diff != "" || got.State != oplog.Running {
			t.Errorf("read back %+v, %v, %s", got, err, diff)
		}
		end := noon.Add(time.Second)
		r.State, r.EndedAt, r.IntegrationName = oplog.Success, &end, "crm"
		if err := b.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		page, err := b.Operations(t.Context(), oplog.Query{EnvironmentID: 1, Integrations: []string{"crm"}})
		if err != nil || page.Total != 1 || page.Records[0].State != oplog.Success || !page.Records[0].EndedAt.Equal(end) {
			t.Errorf("replaced: %+v, %v", page, err)
		}
		if got := b.search(t, oplog.Query{EnvironmentID: 1, States: []oplog.State{oplog.Running}}); len(got) != 0 {
			t.Errorf("the old row is still found: %q", got)
		}
		for _, id := range []string{"", "x", r.ID + "x", "1700000000000_AAAAAAAA", "9999999999999_AAAAAAAA", "-000000000001_AAAAAAAA", "' OR 1=1 --"} {
			if _, err := b.Operation(t.Context(), 1, id); !errors.Is(err, oplog.ErrNotFound) {
				t.Errorf("operation %q: %v", id, err)
			}
		}
		if _, err := b.Load(t.Context(), 2, r.ID); !errors.Is(err, oplog.ErrNotFound) {
			t.Errorf("another environment's operation: %v", err)
		}
		if _, err := b.Messages(t.Context(), 2, r.ID, oplog.MessageQuery{}); !errors.Is(err, oplog.ErrNotFound) {
			t.Errorf("another environment's messages: %v", err)
		}
	})
}

func TestMessagesAreFilteredAndPagedInBothDirections(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		r := b.save(t, noon, 1, nil)
		other := b.save(t, noon, 1, nil)
		b.append(t, other, "not ours")
		var want []string
		for i := range 200 {
			text := fmt.Sprintf("line-%03d", i)
			want = append(want, text)
			b.append(t, r, text)
			if i%9 == 0 {
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		end := noon.Add(time.Minute)
		r.State, r.EndedAt = oplog.Success, &end
		if err := errors.Join(b.Save(t.Context(), r), b.Append(t.Context(), r, []oplog.Message{{Text: "late warning", Level: oplog.Warn, CreatedAt: end}})); err != nil {
			t.Fatal(err)
		}
		want = append(want, "late warning")
		read := func(q oplog.MessageQuery) (texts []string) {
			for {
				page, err := b.Messages(t.Context(), 1, r.ID, q)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range page.Messages {
					texts = append(texts, m.Text)
				}
				if q.Cursor == "" && page.Cursor == "" && page.Total != len(texts) {
					t.Errorf("%+v: total %d, want %d", q, page.Total, len(texts))
				}
				if q.Cursor = page.Cursor; q.Cursor == "" {
					return texts
				}
			}
		}
		backwards := slices.Clone(want)
		slices.Reverse(backwards)
		for _, limit := range []int{3, 50, 201, 500} {
			if diff := cmp.Diff(want, read(oplog.MessageQuery{Limit: limit, OldestFirst: true})); diff != "" {
				t.Errorf("oldest first by %d: %s", limit, diff)
			}
			if diff := cmp.Diff(backwards, read(oplog.MessageQuery{Limit: limit})); diff != "" {
				t.Errorf("newest first by %d: %s", limit, diff)
			}
		}
		for name, c := range map[string]struct {
			q    oplog.MessageQuery
			want []string
		}{
			"text":        {oplog.MessageQuery{Text: "line-01", OldestFirst: true, Limit: 4}, want[10:20]},
			"level":       {oplog.MessageQuery{Levels: []oplog.Level{oplog.Warn, oplog.Error}}, want[200:]},
			"time":        {oplog.MessageQuery{From: end}, want[200:]},
			"before":      {oplog.MessageQuery{To: noon}, nil},
			"two words":   {oplog.MessageQuery{Text: "warn late"}, want[200:]},
			"other words": {oplog.MessageQuery{Text: "ours"}, nil},
		} {
			if diff := cmp.Diff(c.want, read(c.q)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if _, err := b.Messages(t.Context(), 1, r.ID, oplog.MessageQuery{Cursor: "nonsense"}); !errors.Is(err, oplog.ErrCursor) {
			t.Errorf("a wrong cursor: %v", err)
		}
	})
}

func TestWhatIsWrittenSurvivesARestartAndMayBeContinued(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		r := b.save(t, noon, 1, nil)
		b.append(t, r, "before")
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
		if err := b.Save(t.Context(), r); err == nil {
			t.Error("a closed store takes operations")
		}
		b.Store = b.open(t, logstore.Options{})
		log := oplog.New(oplog.Options{Writer: b.Store, Now: b.clock.now})
		op, err := log.Resume(t.Context(), 1, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		op.Log(t.Context(), oplog.Info, "after")
		op.Success(t.Context())
		page, err := b.Messages(t.Context(), 1, r.ID, oplog.MessageQuery{OldestFirst: true})
		if err != nil || page.Total != 2 || page.Messages[0].Text != "before" || page.Messages[1].Text != "after" {
			t.Errorf("messages %+v, %v", page, err)
		}
		if got, err := b.Operation(t.Context(), 1, r.ID); err != nil || got.State != oplog.Success {
			t.Errorf("operation %+v, %v", got, err)
		}
	})
}

func TestLostOperationsAreClosedAndLiveOnesAreNot(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		add := func(kind oplog.Kind, state oplog.State, life time.Duration) string {
			return b.save(t, noon, 1, func(r *oplog.Record) {
				r.Kind, r.State, r.ExpiresAt = kind, state, noon.Add(life)
			}).ID
		}
		want := map[string]oplog.State{
			add(oplog.ActionRun, oplog.Running, 15*time.Minute):        oplog.Timeout,
			add(oplog.CreateConnection, oplog.Waiting, 30*time.Minute): oplog.Cancelled,
			add(oplog.SyncRun, oplog.Running, 24*time.Hour):            oplog.Running,
			add(oplog.ActionRun, oplog.Success, 15*time.Minute):        oplog.Success,
			add(oplog.ActionRun, oplog.Failed, 15*time.Minute):         oplog.Failed,
		}
		for range 600 { // more than one batch
			want[add(oplog.WebhookForward, oplog.Waiting, time.Minute)] = oplog.Timeout
		}
		b.clock.set(noon.Add(time.Hour))
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, state := range want {
			r, err := b.Operation(t.Context(), 1, id)
			if err != nil || r.State != state {
				t.Fatalf("%s is %s, want %s, %v", id, r.State, state, err)
			}
			if closed := state == oplog.Timeout; closed != (r.Error != nil) || closed && r.DurationMs == 0 {
				t.Errorf("%s: error %+v, duration %d", state, r.Error, r.DurationMs)
			}
		}
		page, err := b.Operations(t.Context(), oplog.Query{EnvironmentID: 1, States: []oplog.State{oplog.Timeout}, Limit: 1})
		if err != nil || page.Total != 601 {
			t.Errorf("found %d, %v", page.Total, err)
		}
	})
}

// fill writes some megabytes that do not compress into the day of at.
func (b *bench) fill(t testing.TB, at time.Time) string {
	t.Helper()
	r := b.save(t, at, 1, nil)
	for i := range 20 {
		b.append(t, r, fmt.Sprintf("%d-%s", i, noise(50_000)))
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return r.ID
}

func noise(n int) string {
	var s strings.Builder
	for s.Len() < n {
		s.WriteString(oplog.NewID(noon)[14:])
		s.WriteByte(' ')
	}
	return s.String()
}

// disk is how many bytes the logs take.
func (b *bench) disk(t testing.TB) (total int64) {
	t.Helper()
	if b.base.Postgres() {
		n, err := b.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	err := filepath.Walk(b.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestRetentionDropsOldDaysAndGivesTheDiskBack(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{Retention: 72 * time.Hour}, func(t *testing.T, b *bench) {
		// Closing the files leaves nothing in a write-ahead log.
		restart := func() {
			t.Helper()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b.Store = b.open(t, logstore.Options{Retention: 72 * time.Hour})
		}
		today := b.fill(t, noon)
		restart()
		before := b.disk(t)
		var old []string
		for days := 2; days <= 3; days++ {
			old = append(old, b.fill(t, noon.AddDate(0, 0, -days)))
		}
		restart()
		if grown := b.disk(t); grown < before+3<<20 {
			t.Fatalf("two days take %d bytes: nothing is tested", grown-before)
		}
		b.clock.set(noon.AddDate(0, 0, 2))
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		restart()
		if after := b.disk(t); after > before+1<<20 { // two new days are empty, but have their tables
			t.Errorf("%d bytes before, %d after the old days were dropped", before, after)
		}
		for _, id := range old {
			if _, err := b.Operation(t.Context(), 1, id); !errors.Is(err, oplog.ErrNotFound) {
				t.Errorf("an operation of a dropped day: %v", err)
			}
		}
		if _, err := b.Operation(t.Context(), 1, today); err != nil {
			t.Errorf("an operation that is not old: %v", err)
		}
		// What comes late for a day that is gone does not bring the day back.
		b.save(t, noon.AddDate(0, 0, -30), 1, nil)
		if page, err := b.Operations(t.Context(), oplog.Query{EnvironmentID: 1}); err != nil || page.Total != 1 {
			t.Errorf("%d operations, %v", page.Total, err)
		}
	})
}

func TestTheSizeLimitDropsTheOldestDaysAndNeverToday(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		ids := map[int]string{}
		for days := 3; days >= 0; days-- {
			ids[days] = b.fill(t, noon.AddDate(0, 0, -days))
		}
		restart := func(limit int64) {
			t.Helper()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b.Store = b.open(t, logstore.Options{MaxBytes: limit})
			if err := b.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		restart(0)
		before := b.disk(t)
		limit := before * 6 / 10
		restart(limit)
		if after := b.disk(t); after > limit || after < before/3 {
			t.Errorf("%d bytes became %d with a limit of %d", before, after, limit)
		}
		if _, err := b.Operation(t.Context(), 1, ids[3]); !errors.Is(err, oplog.ErrNotFound) {
			t.Errorf("the oldest day: %v", err)
		}
		if _, err := b.Operation(t.Context(), 1, ids[1]); err != nil {
			t.Errorf("yesterday: %v", err)
		}
		restart(1)
		if _, err := b.Operation(t.Context(), 1, ids[0]); err != nil {
			t.Errorf("today, over the limit on its own: %v", err)
		}
	})
}

func TestOneOperationThatCannotBeWrittenTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		first := b.save(t, noon, 1, func(r *oplog.Record) { r.ConnectionName = "first" })
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		stolen := first
		stolen.EnvironmentID = 2 // an id is taken once
		if err := b.Save(t.Context(), stolen); err != nil {
			t.Fatal(err)
		}
		b.save(t, noon, 1, func(r *oplog.Record) { r.ConnectionName = "second" })
		if err := b.Flush(t.Context()); err == nil {
			t.Error("a row changed its environment")
		}
		_ = b.Flush(t.Context()) // the second try writes each on its own
		for range 20 {           // until it is given up
			_ = b.Flush(t.Context())
		}
		got := b.search(t, oplog.Query{EnvironmentID: 1})
		slices.Sort(got)
		if diff := cmp.Diff([]string{"first", "second"}, got); diff != "" {
			t.Error(diff)
		}
		if got := b.search(t, oplog.Query{EnvironmentID: 2}); len(got) != 0 {
			t.Errorf("environment 2 has %q", got)
		}
	})
}

func TestTailShowsWhatPassesTheFilterAsItHappens(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		b.clock.set(time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all, err := b.Tail(ctx, oplog.Query{EnvironmentID: 1})
		if err != nil {
			t.Fatal(err)
		}
		some, err := b.Tail(ctx, oplog.Query{EnvironmentID: 1, Types: []string{"action"}, Text: "boom"})
		if err != nil {
			t.Fatal(err)
		}
		b.save(t, time.Now(), 2, nil)
		quiet := b.save(t, time.Now(), 1, func(r *oplog.Record) { r.Kind = oplog.ActionRun })
		loud := b.save(t, time.Now(), 1, func(r *oplog.Record) { r.Kind = oplog.ActionRun })
		b.append(t, loud, "it went boom")
		seen := map[string]int{}
		messages := 0
		for len(seen) < 2 || messages < 1 {
			e := next(t, all)
			seen[e.Record.ID]++
			messages += len(e.Messages)
		}
		if seen[quiet.ID] == 0 || seen[loud.ID] == 0 || messages != 1 {
			t.Errorf("seen %v and %d messages", seen, messages)
		}
		if e := next(t, some); e.Record.ID != loud.ID || len(e.Messages) != 1 || e.Messages[0].Text != "it went boom" {
			t.Errorf("the filtered one shows %+v", e)
		}
		cancel()
		for range all { // until it is closed
		}
		if e, open := <-some; open {
			t.Errorf("one event too many: %+v", e)
		}
		if _, err := b.Tail(t.Context(), oplog.Query{Text: "1 2 3 4 5 6 7 8 9"}); !errors.Is(err, oplog.ErrText) {
			t.Errorf("a wrong search: %v", err)
		}
	})
}

func next(t *testing.T, events <-chan oplog.Event) oplog.Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the tail has ended")
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happens")
	}
	return oplog.Event{}
}

func TestTwoNodesMayWriteOneOperation(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		nodes := []*logstore.Store{b.Store, b.open(t, logstore.Options{})}
		r := b.save(t, noon, 1, nil)
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		for n, node := range nodes {
			done.Go(func() {
				for i := range 20 {
					m := oplog.Message{Text: fmt.Sprintf("n%d-%d", n, i)}
					if err := errors.Join(node.Append(t.Context(), r, []oplog.Message{m}), node.Flush(t.Context())); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done.Wait()
		page, err := b.Messages(t.Context(), 1, r.ID, oplog.MessageQuery{OldestFirst: true})
		if err != nil || page.Total != 40 || len(page.Messages) != 40 {
			t.Errorf("%d messages are left of 40, %v", page.Total, err)
		}
	})
}

func TestHistogramCountsByTimeAndState(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		for i, state := range []oplog.State{oplog.Success, oplog.Success, oplog.Failed, oplog.Running} {
			b.save(t, noon.Add(-time.Duration(i)*10*time.Hour), 1, func(r *oplog.Record) { r.State = state })
		}
		b.save(t, noon, 2, nil)
		got, err := b.Histogram(t.Context(), oplog.Query{EnvironmentID: 1}, 24*time.Hour)
		midnight := noon.Truncate(24 * time.Hour)
		want := []oplog.Bucket{
			{Start: midnight.AddDate(0, 0, -1), Counts: map[oplog.State]int{oplog.Failed: 1, oplog.Running: 1}},
			{Start: midnight, Counts: map[oplog.State]int{oplog.Success: 2}},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}

// TestSearchFindsWhatReadingEverythingFinds compares both text indexes with a plain look at all texts.
func TestSearchFindsWhatReadingEverythingFinds(t *testing.T) {
	t.Parallel()
	run(t, logstore.Options{}, func(t *testing.T, b *bench) {
		env := int64(0)
		rapid.Check(t, func(rt *rapid.T) {
			env++
			word := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "10x", "1e5", "3f2a", "É", "v1", "the", "and", "or", "not", "x-y"})
			texts := map[string]string{}
			for i := range rapid.IntRange(1, 4).Draw(rt, "operations") {
				text := strings.Join(rapid.SliceOfN(word, 0, 6).Draw(rt, "text"), rapid.SampledFrom([]string{" ", "/", " - "}).Draw(rt, "separator"))
				name := fmt.Sprint("op", i)
				r := b.save(t, noon, env, func(r *oplog.Record) { r.ConnectionName, r.Message, r.Kind = name, "", oplog.Kind{} })
				b.append(t, r, text)
				texts[name] = r.ID + " " + name + " " + text
			}
			parts := rapid.SliceOfN(word, 1, 3).Draw(rt, "search")
			quoted := rapid.Bool().Draw(rt, "quoted")
			search := strings.Join(parts, " ")
			if quoted {
				search = `"` + search + `"`
			}
			want := []string{}
			for name, text := range texts {
				if holds(text, parts, quoted) {
					want = append(want, name)
				}
			}
			got := b.search(t, oplog.Query{EnvironmentID: env, Text: search})
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s in %q: %s", search, texts, diff)
			}
		})
	})
}

func holds(text string, parts []string, quoted bool) bool {
	plain := func(s string) string {
		s = strings.NewReplacer("-", " ", "/", " ", "_", " ").Replace(strings.ToLower(s))
		return " " + strings.Join(strings.Fields(s), " ")
	}
	if quoted {
		return strings.Contains(plain(text)+" ", plain(strings.Join(parts, " "))+" ")
	}
	for _, part := range parts {
		if !strings.Contains(plain(text), plain(part)) {
			return false
		}
	}
	return true
}
