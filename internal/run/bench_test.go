package run_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/run"
)

// cpu is the computing time of this process and of the runner processes, so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	sum := children(b)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return sum
}

// children is that of the children that live; getrusage counts those that have ended.
func children(b *testing.B) (sum time.Duration) {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	const ticks = 100 // per second, on every Linux architecture that Go runs on
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 13 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(n) * time.Second / ticks
		}
	}
	return sum
}

// BenchmarkWarmAction is a trivial action from the HTTP request to the HTTP answer, everything warm. The limit of the project is
// 1.5 ms of CPU for one without zod, which takes some milliseconds to load into each machine.
func BenchmarkWarmAction(b *testing.B) {
	for name, action := range map[string]string{"trivial": "plain", "zod": "echo"} {
		b.Run(name, func(b *testing.B) {
			w := actionWorld(b, onSQLite(b))
			for range 100 {
				if a := w.action(action, `{"n":1}`); a.status != http.StatusOK {
					b.Fatalf("%d %s", a.status, a.body)
				}
			}
			before := cpu(b)
			for b.Loop() {
				w.action(action, `{"n":1}`)
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// rows serves pages of rows of about 1 KB.
func rows(pages, size int) http.HandlerFunc {
	bodies := make([]string, pages)
	for p := range bodies {
		var all []map[string]any
		for i := range size {
			id := strconv.Itoa(p*size + i)
			all = append(all, map[string]any{
				"id": id, "name": "Person " + id, "email": "person" + id + "@example.com", "tags": []string{"one", "two", "three"},
				"profile": map[string]any{"bio": strings.Repeat("A line about "+id+". ", 850/(len(id)+15)), "score": p},
			})
		}
		body := map[string]any{"rows": all}
		if p+1 < pages {
			body["next"] = strconv.Itoa(p + 1)
		}
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		bodies[p] = string(text)
	}
	return func(rw http.ResponseWriter, r *http.Request) {
		p, _ := strconv.Atoi(r.URL.Query().Get("cursor")) // none is the first
		reply(rw, http.StatusOK, bodies[p])
	}
}

// BenchmarkSync10k saves 100 pages of 100 records of 1 KB, mapped with zod: new ones, then twice that number unchanged. The
// limits of the project are 200 and 150 µs of CPU per record, in all processes; the third party that it is measured with is in
// this one.
func BenchmarkSync10k(b *testing.B) {
	for _, test := range []struct {
		name  string
		pages int
		new   bool
	}{{"new", 100, true}, {"unchanged", 200, false}} {
		b.Run(test.name, func(b *testing.B) {
			w := newWorld(b, onSQLite(b), options{})
			const size = 100
			w.on("/rows", rows(test.pages, size))
			w.deploy("mapped")
			w.connection = w.connect("user-1")
			ran := 0
			opts := ""
			if test.new {
				opts = `{"reset":true,"emptyCache":true}`
			} else {
				w.trigger("mapped", "")
				ran++
				w.ran("mapped", ran)
			}
			var spent time.Duration
			for b.Loop() {
				if test.new && ran > 0 { // emptying is not what is measured
					stream := w.stream("Mapped")
					if _, err := w.records.DeleteModel(b.Context(), stream); err != nil {
						b.Fatal(err)
					}
				}
				before := cpu(b)
				w.trigger("mapped", opts)
				ran++
				st := w.ran("mapped", ran)
				spent += cpu(b) - before
				want := run.Counts{}
				if test.new {
					want.Added = test.pages * size
				}
				if st.LatestStatus != "SUCCESS" || st.LatestResult["Mapped"] != want {
					b.Fatalf("%+v", st)
				}
			}
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N*test.pages*size), "cpu-µs/record")
		})
	}
}
