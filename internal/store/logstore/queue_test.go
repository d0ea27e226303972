package logstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// stuck is days on a disk that does not answer until it is freed, and then only with err.
type stuck struct {
	free chan struct{}
	err  error
}

func (s stuck) list(context.Context) ([]day, error) { return nil, nil }
func (s stuck) write(context.Context, day, func(context.Context, *engine.DB) error) error {
	<-s.free
	return s.err
}

func (s stuck) read(context.Context, day, func(context.Context, *engine.DB) error) error {
	return errNoDay
}
func (s stuck) prepare(context.Context, day) error       { return nil }
func (s stuck) drop(context.Context, day) error          { return nil }
func (s stuck) size(context.Context, day) (int64, error) { return 0, nil }
func (s stuck) rest(time.Time) error                     { return nil }
func (s stuck) close() error                             { return nil }

func stuckStore(t *testing.T, d stuck, logged *strings.Builder) *Store {
	t.Helper()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Now: time.Now, Logger: slog.New(slog.NewTextHandler(logged, nil)), Retention: defaultRetention}
	s := &Store{opts: opts, days: d, codec: c, queue: newQueue(), bus: newBus()}
	background, cancel := context.WithCancel(context.Background())
	s.background = cancel
	s.finished.Go(func() { s.runWriter(background) })
	return s
}

func TestAFullQueueDropsMessagesBeforeRowsAndBlocksNobodyForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		disk := stuck{free: make(chan struct{})}
		s := stuckStore(t, disk, &logged)
		ctx, text := t.Context(), strings.Repeat("x", 1<<20)
		slowest := time.Duration(0)
		timed := func(write func() error) {
			begin := time.Now()
			if err := write(); err != nil {
				t.Error(err)
			}
			slowest = max(slowest, time.Since(begin))
		}
		for range 200 {
			r := oplog.Record{ID: oplog.NewID(time.Now())}
			timed(func() error { return s.Save(ctx, r) })
			timed(func() error { return s.Append(ctx, r, []oplog.Message{{Text: text}}) })
		}
		if slowest > patience {
			t.Errorf("a caller waited %s", slowest)
		}
		s.queue.mu.Lock()
		rows, messages, size, waiting := s.queue.lostRows, s.queue.lostMessages, s.queue.size, len(s.queue.order)
		s.queue.mu.Unlock()
		if rows != 0 || messages < 100 || messages > 175 || size > 2*queueSize || waiting < 150 {
			t.Errorf("lost %d rows and %d messages; %d operations with %d bytes wait", rows, messages, size, waiting)
		}
		close(disk.free)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(logged.String(), "logs were dropped"); n == 0 || n > 12 || !strings.Contains(logged.String(), "operations=0 messages=") {
			t.Errorf("%d reports: %s", n, logged.String())
		}
	})
}

func TestADiskThatFailsIsTriedAgainAndGivenUpLoudly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		disk := stuck{free: make(chan struct{}), err: errors.New("no space left")}
		close(disk.free)
		s := stuckStore(t, disk, &logged)
		if err := s.Save(t.Context(), oplog.Record{ID: oplog.NewID(time.Now())}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(logged.String(), "no space left"); n != tries {
			t.Errorf("tried %d times, want %d", n, tries)
		}
		if !strings.Contains(logged.String(), "operations=1 messages=0") {
			t.Errorf("the loss is not reported: %s", logged.String())
		}
		if err := s.Close(); err != nil {
			t.Errorf("nothing is left to write: %v", err)
		}
	})
}

func TestTheBeginAndTheEndOfAShortOperationAreOneWrite(t *testing.T) {
	t.Parallel()
	q := newQueue()
	r := oplog.Record{ID: "a", State: oplog.Running}
	_ = q.add(r, true, nil)
	_ = q.add(r, false, []oplog.Message{{Text: "1"}, {Text: "2"}})
	_ = q.add(oplog.Record{ID: "b"}, false, []oplog.Message{{Text: "other"}})
	r.State = oplog.Success
	_ = q.add(r, true, nil)
	_ = q.add(r, false, []oplog.Message{{Text: "3"}})
	got := q.take()
	if len(got) != 2 || got[0].record.State != oplog.Success || !got[0].save || len(got[0].messages) != 3 || got[1].save || len(q.take()) != 0 {
		t.Errorf("queued %+v", got)
	}
	// What failed comes first again, with what was queued meanwhile behind it.
	r.State = oplog.Failed
	_ = q.add(r, true, nil)
	_ = q.add(r, false, []oplog.Message{{Text: "4"}})
	q.putBack(got)
	again := q.take()
	texts := ""
	for _, m := range again[1].messages {
		texts += m.Text
	}
	if len(again) != 2 || again[0].record.ID != "b" || again[1].record.State != oplog.Failed || texts != "1234" {
		t.Errorf("queued again %+v, messages %s", again, texts)
	}
}

func FuzzSearchTerms(f *testing.F) {
	f.Add(`a "b c" d-e`, "x A b  c, D/E f")
	f.Add(`"`, "İ\x00é\xff")
	f.Fuzz(func(t *testing.T, search, text string) {
		all, err := terms(search)
		if err != nil {
			return
		}
		var d document
		d.add(text)
		for _, one := range all {
			for _, word := range one.words {
				if word == "" || strings.ContainsAny(word, "\"' :*&|!<>()\\") || len(word) > wordLimit {
					t.Fatalf("the word %q would mean something in a query", word)
				}
			}
		}
		// A text is found by each of its own words, and by all of it in quotes.
		for word := range strings.FieldsSeq(d.String()) {
			if own, err := terms(word); err != nil || !allIn(own, d.String()) {
				t.Errorf("%q is not found by its word %q", text, word)
			}
		}
		if own, err := terms(`"` + strings.ReplaceAll(text, `"`, " ") + `"`); err != nil || !allIn(own, d.String()) {
			t.Errorf("%q is not found by itself", text)
		}
	})
}

func TestADocumentEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	var d document
	d.add(strings.Repeat("word ", documentLimit+100))
	d.add("more")
	if n := len(strings.Fields(d.String())); n != documentLimit {
		t.Errorf("%d words", n)
	}
	var long document
	long.add("é" + strings.Repeat("x", 1000) + " " + strings.Repeat("é", 1000))
	for word := range strings.FieldsSeq(long.String()) {
		if len(word) > wordLimit {
			t.Errorf("a word of %d bytes", len(word))
		}
	}
	if v := vector("b a b"); v != "'b':1,3 'a':2 " {
		t.Errorf("vector %s", v)
	}
	if v := vector(strings.Repeat("a ", 300)); strings.Count(v, ",") != 254 {
		t.Errorf("%d places", strings.Count(v, ",")+1)
	}
	if got := fmt.Sprint(dayOfID("1795262400000_abcdefgh")); got != "20261121 true" {
		t.Errorf("day %s", got)
	}
}
