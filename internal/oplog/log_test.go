package oplog_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// memory is a Writer that remembers.
type memory struct {
	mu       sync.Mutex
	saved    []oplog.Record
	appended [][]oplog.Message
	err      error
}

func (m *memory) Save(_ context.Context, r oplog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saved = append(m.saved, r)
	return m.err
}

func (m *memory) Append(ctx context.Context, _ oplog.Record, messages []oplog.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appended = append(m.appended, messages)
	return errors.Join(m.err, ctx.Err())
}

func (m *memory) Load(_ context.Context, environmentID int64, id string) (oplog.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range slices.Backward(m.saved) {
		if r.ID == id && r.EnvironmentID == environmentID {
			return r, nil
		}
	}
	return oplog.Record{}, oplog.ErrNotFound
}

func (m *memory) last() oplog.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[len(m.saved)-1]
}

func (m *memory) texts() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, batch := range m.appended {
		var texts []string
		for _, one := range batch {
			texts = append(texts, one.Text)
		}
		all = append(all, strings.Join(texts, ","))
	}
	return all
}

func TestAnOperationIsOneRowThatEndsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w memory
		var ended []oplog.Record
		log := oplog.New(oplog.Options{Writer: &w, Ended: func(r oplog.Record) { ended = append(ended, r) }})
		ctx := t.Context()
		op := log.Begin(ctx, oplog.Record{Kind: oplog.SyncRun, EnvironmentID: 7, Meta: json.RawMessage(`{"k":"hidden-value"}`)})
		op.Hide(secret.New("hidden-value"))
		first := w.last()
		if !regexp.MustCompile(`^\d{13}_[0-9A-Za-z]{8}$`).MatchString(op.ID()) || first.ID != op.ID() || first.State != oplog.Running || first.Message != "Sync executed" {
			t.Errorf("began as %+v", first)
		}
		op.Change(ctx, func(r *oplog.Record) { r.ConnectionName, r.ID, r.State = "c1", "other", oplog.Failed })
		if got := w.last(); got.ConnectionName != "c1" || got.ID != op.ID() || got.State != oplog.Running {
			t.Errorf("changed to %+v", got)
		}
		time.Sleep(1500 * time.Millisecond)
		op.Fail(ctx, oplog.Failure{Name: "boom", Message: "token hidden-value refused"})
		op.Success(ctx)
		last := w.last()
		if last.State != oplog.Failed || last.EndedAt == nil || last.DurationMs != 1500 || last.Error.Message != "token [redacted] refused" || string(last.Meta) != `{"k":"[redacted]"}` {
			t.Errorf("ended as %+v, %+v", last, last.Error)
		}
		if len(ended) != 1 || cmp.Diff(last, ended[0]) != "" {
			t.Errorf("told of %d ends: %+v", len(ended), ended)
		}
	})
}

func TestMessagesAreWrittenAfterASecondAtMostAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w memory
		op := oplog.New(oplog.Options{Writer: &w}).Begin(t.Context(), oplog.Record{Kind: oplog.ActionRun})
		op.Log(t.Context(), oplog.Info, "one")
		op.Log(t.Context(), oplog.Warn, "two")
		if got := w.texts(); len(got) != 0 {
			t.Errorf("written at once: %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		op.Log(gone, oplog.Debug, "three")
		op.Success(gone)
		op.Log(gone, oplog.Debug, "late")
		time.Sleep(time.Second)
		synctest.Wait()
		op.Append(t.Context(), oplog.Message{Text: strings.Repeat("x", 9000), Request: &oplog.HTTPRequest{Body: strings.Repeat("y", 64<<10)}})
		if diff := cmp.Diff([]string{"one,two", "three", "late"}, w.texts()[:3]); diff != "" || len(w.texts()) != 4 {
			t.Errorf("%d batches %s", len(w.texts()), diff)
		}
		m := w.appended[0][1]
		if m.ID == "" || m.ID == w.appended[0][0].ID || m.Source != "internal" || m.Type != "log" || m.Level != oplog.Warn || m.CreatedAt.IsZero() {
			t.Errorf("filled in as %+v", m)
		}
		if m := w.appended[3][0]; m.Type != "http" || m.Level != oplog.Info {
			t.Errorf("filled in as %s %s", m.Type, m.Level)
		}
	})
}

func TestALogThatCannotBeWrittenDisturbsNobodyAndIsReported(t *testing.T) {
	t.Parallel()
	w := memory{err: errors.New("disk full")}
	var reported strings.Builder
	op := oplog.New(oplog.Options{Writer: &w, Logger: slog.New(slog.NewTextHandler(&reported, nil))}).Begin(t.Context(), oplog.Record{Kind: oplog.ProxyCall})
	op.Log(t.Context(), oplog.Info, "x")
	op.Success(t.Context())
	if n := strings.Count(reported.String(), "disk full"); n != 3 {
		t.Errorf("reported %d times, want once per write: %s", n, reported.String())
	}
}

func TestAnOperationIsResumedInItsEnvironmentOnly(t *testing.T) {
	t.Parallel()
	var w memory
	log := oplog.New(oplog.Options{Writer: &w})
	op := log.Begin(t.Context(), oplog.Record{Kind: oplog.CreateConnection, EnvironmentID: 1})
	if _, err := log.Resume(t.Context(), 2, op.ID()); !errors.Is(err, oplog.ErrNotFound) {
		t.Errorf("another environment's operation: %v", err)
	}
	again, err := log.Resume(t.Context(), 1, op.ID())
	if err != nil {
		t.Fatal(err)
	}
	again.Success(t.Context())
	if got := w.last(); got.ID != op.ID() || got.State != oplog.Success {
		t.Errorf("resumed as %+v", got)
	}
}
