package logstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/store/logstore"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// benchLogs are logs as they are in use: 8 messages of some 580 bytes per operation, 50 integrations of which few are common,
// 5 % failed, "timeout" in 1 % of the texts, and one rare word per day.
type benchLogs struct {
	random *rand.Rand
	texts  []string
}

func newBenchLogs() *benchLogs {
	l := &benchLogs{random: rand.New(rand.NewPCG(1, 2))}
	for i := range 400 {
		l.texts = append(l.texts, fmt.Sprintf("contact%d%c", i*7919%1000, 'a'+i%26))
	}
	return l
}

func (l *benchLogs) word() string { return l.texts[l.random.IntN(len(l.texts))] }

func (l *benchLogs) operation(at time.Time, rare bool) (oplog.Record, []oplog.Message) {
	n := int(float64(50) * l.random.Float64() * l.random.Float64())
	end := at.Add(time.Second)
	r := oplog.Record{
		ID: oplog.NewID(at), Kind: oplog.SyncRun, State: oplog.Success, Message: "Sync executed", EnvironmentID: 1, CreatedAt: at, UpdatedAt: end,
		StartedAt: &at, EndedAt: &end, ExpiresAt: at.Add(24 * time.Hour), IntegrationName: fmt.Sprint("integration-", n),
		ConnectionName: fmt.Sprint("connection-", l.random.IntN(1000)), FunctionName: "contacts", ProviderName: "acme",
	}
	if l.random.IntN(20) == 0 {
		r.State = oplog.Failed
	}
	all := make([]oplog.Message, 8)
	for i := range all {
		text := "saved a batch of " + l.word() + " and " + l.word()
		if l.random.IntN(100) == 0 {
			text += " after a timeout"
		}
		if rare && i == 3 {
			text += " xylophone"
		}
		all[i] = oplog.Message{
			ID: oplog.NewID(at)[10:], Source: "internal", Level: oplog.Info, Type: "http", Text: text, CreatedAt: at,
			Request:  &oplog.HTTPRequest{URL: fmt.Sprintf("https://api.acme.test/v1/contacts?page=%d&size=100", l.random.IntN(500)), Method: "GET", Headers: map[string]string{"accept": "application/json", "user-agent": "patchbay"}},
			Response: &oplog.HTTPResponse{Code: 200, Headers: map[string]string{"content-type": "application/json", "x-request-id": oplog.NewID(at)}},
		}
	}
	return r, all
}

func benchStores(b *testing.B, bench func(b *testing.B, s *logstore.Store)) {
	engines := map[string]func(b *testing.B) *logstore.Store{}
	engines["sqlite"] = func(b *testing.B) *logstore.Store { return openBench(b, false) }
	engines["postgres"] = func(b *testing.B) *logstore.Store { return openBench(b, true) }
	for name, open := range engines {
		b.Run(name, func(b *testing.B) { bench(b, open(b)) })
	}
}

func openBench(b *testing.B, postgres bool) *logstore.Store {
	opts := storetest.SQLite(b)
	if postgres {
		opts = storetest.Postgres(b)
	}
	opts.Now = newClock().now
	s, err := storetest.Open(b, opts).OpenLogs(b.Context(), logstore.Options{Retention: 30 * 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func write(b *testing.B, s *logstore.Store, operations, days int, l *benchLogs) {
	b.Helper()
	for i := range operations {
		d := i * days / operations
		at := noon.Add(-time.Duration(d)*24*time.Hour - time.Duration(i%30000)*time.Second)
		r, messages := l.operation(at, i%max(1, operations/days) == 7)
		if err := s.Save(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if err := s.Append(b.Context(), r, messages); err != nil {
			b.Fatal(err)
		}
		if i%256 == 255 {
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWrite is the cost of one message, with its share of the operation.
func BenchmarkWrite(b *testing.B) {
	benchStores(b, func(b *testing.B, s *logstore.Store) {
		l := newBenchLogs()
		b.ResetTimer()
		write(b, s, (b.N+7)/8, 1, l)
		b.StopTimer()
		if size, err := s.Size(b.Context()); err == nil {
			b.ReportMetric(float64(size)/float64(b.N), "B/msg")
		}
	})
}

// BenchmarkSearch looks through 15 days with 120,000 messages.
func BenchmarkSearch(b *testing.B) {
	benchStores(b, func(b *testing.B, s *logstore.Store) {
		write(b, s, 15_000, 15, newBenchLogs())
		for name, q := range map[string]oplog.Query{
			"rare word":        {Text: "xylophone"},
			"common word":      {Text: "batch"},
			"newest":           {},
			"of integration":   {Integrations: []string{"integration-3"}},
			"failed timeouts":  {Integrations: []string{"integration-0"}, States: []oplog.State{oplog.Failed}, Text: "timeout"},
			"last hour failed": {States: []oplog.State{oplog.Failed}, From: noon.Add(-time.Hour)},
		} {
			q.EnvironmentID = 1
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					page, err := s.Operations(b.Context(), q)
					if err != nil || page.Total == 0 {
						b.Fatalf("found %d, %v", page.Total, err)
					}
				}
			})
		}
	})
}
