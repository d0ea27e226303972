package runner_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// cpuTime is what this process and its living children have used: getrusage counts children only when they have ended, so the
// scheduler's own figures, in nanoseconds for each thread, are added up.
func cpuTime(b *testing.B) (total time.Duration) {
	b.Helper()
	for _, pid := range append(children(b), os.Getpid()) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			b.Fatal(err)
		}
		for _, file := range threads {
			var ns int64
			if text, err := os.ReadFile(file); err == nil { // a thread may just have ended
				_, _ = fmt.Sscan(string(text), &ns)
			}
			total += time.Duration(ns)
		}
	}
	return total
}

// children are the processes whose parent is this one.
func children(t testing.TB) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		_, _ = fmt.Sscan(string(text), &pid)
		_, _ = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent)
		if parent == os.Getpid() && state != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func benchmark(b *testing.B, req runner.Request) {
	p := newPool(b, runner.Options{Workers: 1})
	h := &host{}
	work := func() {
		r, err := p.Run(b.Context(), req, h)
		if err != nil || r.Error != nil {
			b.Fatal(err, r.Error)
		}
	}
	for range 5 {
		work()
	}
	start := cpuTime(b)
	for b.Loop() {
		work()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N)/1e6, "cpu-ms/op")
}

func BenchmarkWarmTrivialAction(b *testing.B) { benchmark(b, action(`return {n: input.n * 2}`)) }

func BenchmarkWarmZodAction(b *testing.B) {
	req := action(`return schema.parse(input)`)
	req.Bundle.Code = `const z = require("zod"); const schema = z.object({n: z.number()});` + req.Bundle.Code
	req.Bundle.Hash = "zod"
	benchmark(b, req)
}

func BenchmarkOneHTTPCall(b *testing.B) {
	benchmark(b, action(`return (await nango.get({endpoint: '/x', params: {a: 1}})).data`))
}
