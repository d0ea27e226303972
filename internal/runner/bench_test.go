package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

func benchmark(b *testing.B, req runner.Request, h runner.Host) {
	b.Helper()
	p := newPool(b, runner.Options{Workers: 1, Recycle: -1}) // a process that ends takes its CPU time with it
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

func BenchmarkWarmTrivialAction(b *testing.B) {
	benchmark(b, action(`return {n: input.n * 2}`), &host{})
}

func BenchmarkWarmZodAction(b *testing.B) {
	req := action(`return schema.parse(input)`)
	req.Bundle.Code = `const z = require("zod"); const schema = z.object({n: z.number()});` + req.Bundle.Code
	req.Bundle.Hash = "zod"
	benchmark(b, req, &host{})
}

func BenchmarkOneHTTPCall(b *testing.B) {
	benchmark(b, action(`return (await nango.get({endpoint: '/x', params: {a: 1}})).data`), &host{})
}

// BenchmarkZodMap is the work of a sync with one page of 100 records: HTTP call, validation, mapping, save.
func BenchmarkZodMap(b *testing.B) {
	page := make([]map[string]any, 100)
	for i := range page {
		page[i] = map[string]any{
			"id": i, "node_id": fmt.Sprintf("I_kwDO%08d", i), "title": "Something is broken in part " + fmt.Sprint(i), "state": "open",
			"user":   map[string]any{"id": i * 7, "login": "someone", "url": "https://api.example.com/users/someone"},
			"labels": []map[string]any{{"id": 1, "name": "bug"}, {"id": 2, "name": "help wanted"}},
			"body":   strings.Repeat("Lorem ipsum dolor sit amet. ", 8), "comments": 3, "locked": false,
			"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-02-03T04:05:06Z", "closed_at": nil,
		}
	}
	body, err := json.Marshal(page)
	if err != nil {
		b.Fatal(err)
	}
	reply, err := json.Marshal(map[string]any{"status": 200, "headers": map[string]string{}, "body": string(body)})
	if err != nil {
		b.Fatal(err)
	}
	req := action("")
	req.Kind = runner.KindSync
	req.Bundle.Hash, req.Bundle.Code = "zodmap", `
		const { z } = require("zod");
		const Raw = z.object({id: z.number(), title: z.string(), state: z.string(), user: z.object({id: z.number(), login: z.string()}),
			labels: z.array(z.object({name: z.string()})), body: z.string().nullable(), created_at: z.string(), updated_at: z.string(),
			closed_at: z.string().nullable()});
		const Issue = z.object({id: z.string(), title: z.string(), author: z.string(), labels: z.array(z.string()), body: z.string(), createdAt: z.string()});
		exports.default = {type: "sync", exec: async (nango) => {
			const r = await nango.get({endpoint: "/issues", params: {page: 1}});
			const issues = r.data.map((raw) => Raw.parse(raw)).map((x) => Issue.parse({id: String(x.id), title: x.title, author: x.user.login,
				labels: x.labels.map((l) => l.name), body: x.body ?? "", createdAt: x.created_at}));
			await nango.batchSave(issues, "Issue");
		}};`
	benchmark(b, req, &host{http: func(context.Context, []byte) ([]byte, error) { return reply, nil }})
}
