package storetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// benchRecords makes pages of records of about 1 KB, as a sync would send them.
func benchRecords(pages, perPage int) []json.RawMessage {
	words := strings.Fields("account invoice customer shipping total pending address contact region owner status active billing renewal priority subject")
	all := make([]json.RawMessage, pages)
	seed := uint64(42)
	next := func() uint64 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return seed >> 33
	}
	for p := range all {
		var b strings.Builder
		for i := range perPage {
			b.WriteByte("[,"[min(i, 1)])
			fmt.Fprintf(&b, `{"id":"rec_%08d","email":"user%d@example.com","amount":%d`, p*perPage+i, next(), next())
			for f := range 16 {
				fmt.Fprintf(&b, `,"%s_%d":"%s %s %x %s"`, words[f], f, words[next()%16], words[next()%16], next(), words[next()%16])
			}
			b.WriteByte('}')
		}
		b.WriteByte(']')
		all[p] = json.RawMessage(b.String())
	}
	return all
}

// cpu is what the process used so far, in microseconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Utime.Sec+usage.Stime.Sec)*1e6 + float64(usage.Utime.Usec+usage.Stime.Usec)
}

// BenchmarkRecords is the storage part of a sync: 10,000 new records in pages of 100, the same again unchanged, one in ten
// changed, and all of them read in pages of 1,000. It reports CPU per record; on PostgreSQL that of this process alone.
func BenchmarkRecords(b *testing.B) {
	const records = 10_000
	pages := benchRecords(100, records/100)
	changed := make([][2]json.RawMessage, len(pages))
	for i, page := range pages {
		text := string(page)
		for version := range changed[i] {
			changed[i][version] = json.RawMessage(strings.ReplaceAll(text, `0","email"`, `0","version":`+fmt.Sprint(version)+`,"email"`))
		}
	}
	workloads := []struct {
		name string
		do   func(bench *recordBench, round int) // round 0 is not measured
	}{
		{"new", func(bench *recordBench, round int) {
			bench.stream.ConnectionID = int64(round)
			bench.saveAll(func(i int) json.RawMessage { return pages[i] }, len(pages))
		}},
		{"unchanged", func(bench *recordBench, _ int) {
			bench.saveAll(func(i int) json.RawMessage { return pages[i] }, len(pages))
		}},
		{"one-in-ten", func(bench *recordBench, round int) {
			bench.saveAll(func(i int) json.RawMessage { return changed[i][round%2] }, len(pages))
		}},
		{"read", func(bench *recordBench, round int) {
			if round == 0 {
				bench.saveAll(func(i int) json.RawMessage { return pages[i] }, len(pages))
			}
			q := record.PageQuery{Limit: 1000}
			for n := 0; n < records; {
				page, err := bench.Page(bench.Context(), bench.stream, q)
				if n += len(page.Records); err != nil || page.Next.IsZero() != (n == records) {
					bench.Fatalf("read %d records: %v", n, err)
				}
				q.Cursor = page.Next
			}
		}},
	}
	engines := []struct {
		name string
		open func(t testing.TB) store.Options
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}}
	for _, engine := range engines {
		for _, workload := range workloads {
			b.Run(engine.name+"/"+workload.name, func(b *testing.B) {
				bench := newRecordBench(b, storetest.Open(b, engine.open(b)))
				workload.do(bench, 0)
				before := cpu(b)
				for round := 1; b.Loop(); round++ {
					workload.do(bench, round)
				}
				b.ReportMetric((cpu(b)-before)/float64(b.N)/records, "cpu-µs/record")
			})
		}
	}
}

// saveAll saves pages as one run.
func (b *recordBench) saveAll(page func(i int) json.RawMessage, n int) {
	b.run.Generation++
	for i := range n {
		if _, err := b.Save(b.Context(), b.stream, b.run, page(i), record.Merge{}); err != nil {
			b.Fatal(err)
		}
	}
}
