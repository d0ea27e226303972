package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// TestMain lets the test binary be its own runner process.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "runner":
			os.Exit(runner.Main(context.Background(), os.Stdin, os.Stdout))
		case "liar": // greets with nonsense
			_, _ = os.Stdout.WriteString("hello, server")
			_, _ = io.Copy(io.Discard, os.Stdin)
		}
	}
	os.Exit(m.Run())
}

func newPool(t testing.TB, o runner.Options) *runner.Pool {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	p := runner.NewPool(o)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// host answers "http" by fn and remembers the log lines; every other op gets {}.
type host struct {
	mu   sync.Mutex
	logs []string
	http func(ctx context.Context, payload []byte) ([]byte, error)
}

func (h *host) Call(ctx context.Context, op string, payload []byte) ([]byte, error) {
	switch op {
	case "http":
		if h.http != nil {
			return h.http(ctx, payload)
		}
		return []byte(`{"status":200,"statusText":"OK","headers":{},"body":"{\"ok\":1}"}`), nil
	case "log":
		h.mu.Lock()
		defer h.mu.Unlock()
		h.logs = append(h.logs, string(payload))
	}
	return []byte(`{}`), nil
}

// gate is a host whose "http" calls report on entered and then wait for leave or the end of the run.
type gate struct {
	host
	entered chan struct{}
	leave   chan struct{}
}

func newGate() *gate {
	g := &gate{entered: make(chan struct{}, 100), leave: make(chan struct{})}
	g.http = func(ctx context.Context, _ []byte) ([]byte, error) {
		g.entered <- struct{}{}
		select {
		case <-g.leave:
			return []byte(`{"status":200,"headers":{}}`), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g
}

const callOnce = `await nango.get({endpoint: '/x'}); return "done"`

func action(body string) runner.Request {
	code := "exports.default = {type: 'action', exec: async (nango, input) => {" + body + "\n}}"
	return runner.Request{
		Tenant:  "1",
		Kind:    runner.KindAction,
		Bundle:  runner.Bundle{Hash: fmt.Sprintf("%x", code), Code: code, Name: "act-test.cjs", SDKVersion: "0.71.10-zero"},
		Input:   json.RawMessage(`{"n":2}`),
		Context: json.RawMessage(`{"connectionId":"c","providerConfigKey":"p","provider":"x"}`),
	}
}

func TestActionReturnsItsOutput(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{})
	r, err := p.Run(t.Context(), action(`const r = await nango.get({endpoint: '/x'}); return {n: input.n * 21, ok: r.data.ok}`), &host{})
	if err != nil || r.Error != nil {
		t.Fatal(err, r.Error)
	}
	if string(r.Output) != `{"n":42,"ok":1}` {
		t.Errorf("output %s", r.Output)
	}
	if r.Telemetry.CPU <= 0 || r.Telemetry.Wall <= 0 || r.Telemetry.PeakMemory <= 0 || r.Telemetry.HostCalls == 0 {
		t.Errorf("telemetry %+v", r.Telemetry)
	}
}

func TestFunctionUsesZod(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{})
	req := action("")
	req.Bundle = runner.Bundle{Hash: "zod", Name: "zod.cjs", SDKVersion: "1-zero", Code: `
		const z = require("zod");
		const schema = z.object({n: z.number().int().positive(), at: z.iso.datetime().optional(), tags: z.array(z.string()).default([])});
		exports.default = {type: "action", exec: async (nango, input) => {
			const bad = schema.safeParse({n: "2"});
			return {parsed: schema.parse(input), message: bad.error.issues[0].message, code: bad.error.issues[0].code};
		}};`}
	r, err := p.Run(t.Context(), req, &host{})
	want := `{"parsed":{"n":2,"tags":[]},"message":"Invalid input: expected number, received string","code":"invalid_type"}`
	if err != nil || string(r.Output) != want {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
}

func TestInspectDescribesTheFunction(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{})
	req := action("")
	req.Kind = runner.KindInspect
	req.Bundle.Hash, req.Bundle.Code = "inspect", `exports.default = require("nango").createAction({description: "does things", version: "1.2.3",
		input: require("zod").z.object({a: require("zod").z.string()}), output: require("zod").z.void(), exec: async () => {}})`
	req.Context = json.RawMessage(`{"functionName":"do-it","providerConfigKey":"github"}`)
	r, err := p.Run(t.Context(), req, &host{})
	if err != nil || !strings.Contains(string(r.Output), `"description":"does things"`) || !strings.Contains(string(r.Output), `"ActionInput_github_doit"`) {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
}

func TestFiftyRunsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 2, VMs: 20})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			req := action(`const r = await nango.post({endpoint: '/x', data: input}); await new Promise(r => setTimeout(r, 1)); return r.data`)
			req.Input = json.RawMessage(fmt.Sprintf(`{"i":%d}`, i))
			r, err := p.Run(t.Context(), req, &host{http: func(_ context.Context, payload []byte) ([]byte, error) {
				var call struct{ Data string }
				if err := json.Unmarshal(payload, &call); err != nil {
					return nil, err
				}
				return json.Marshal(map[string]any{"status": 200, "headers": map[string]string{}, "body": call.Data})
			}})
			if want := fmt.Sprintf(`{"i":%d}`, i); err != nil || string(r.Output) != want {
				t.Errorf("run %d: got %s %v %v", i, r.Output, r.Error, err)
			}
		})
	}
	wg.Wait()
}

func TestRunsShareNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	req := action(`globalThis.count = (globalThis.count ?? 0) + 1; Array.prototype.at = null; return count`)
	for range 5 {
		r, err := p.Run(t.Context(), req, &host{})
		if err != nil || string(r.Output) != "1" {
			t.Fatalf("got %s %v %v", r.Output, r.Error, err)
		}
	}
}

// What the confined process would have to read from files must be in the binary.
func TestGlobalsWorkInTheConfinedProcess(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	r, err := p.Run(t.Context(), action(`
		const { createHmac, randomUUID } = require("node:crypto");
		return [
			new Date(0).toLocaleString("en-US", {timeZone: "America/New_York"}),
			createHmac("sha256", "k").update("d").digest("hex").length, randomUUID().length, Buffer.from("é").toString("hex"),
			new URL("/a?b=ü", "https://bücher.example").href, ["é", "f", "e"].sort((a, b) => a.localeCompare(b)).join(""),
			new Date(2026, 0, 1).getTimezoneOffset(),
		]`), &host{})
	want := `["12/31/1969, 7:00:00 PM",64,36,"c3a9","https://xn--bcher-kva.example/a?b=%C3%BC","eéf",0]`
	if err != nil || string(r.Output) != want {
		t.Errorf("got %s %v %v, want %s", r.Output, r.Error, err, want)
	}
}

func TestGlueIsOutOfReach(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	r, err := p.Run(t.Context(), action(`return ["native", "fetch", "__host", "__run", "__loadBundle", "std", "os", "process", "Deno"].filter((n) => n in globalThis)`), &host{})
	if err != nil || string(r.Output) != "[]" {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
}

func TestKilledProcessIsALostRun(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	g := newGate()
	done := make(chan error, 1)
	go func() {
		_, err := p.Run(t.Context(), action(callOnce), g)
		done <- err
	}()
	<-g.entered
	for _, pid := range p.Pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, runner.ErrWorkerLost) {
		t.Errorf("got %v", err)
	}
	assertWorks(t, p)
}

// A run without a host call had no effect: when its process dies it is run again, and nobody notices.
func TestKilledProcessIsNoticedByNobodyIfNothingHappened(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	g := newGate()
	lost := make(chan error, 1)
	go func() {
		_, err := p.Run(t.Context(), action(callOnce), g)
		lost <- err
	}()
	<-g.entered
	clean := make(chan runner.Result, 1)
	go func() {
		r, err := p.Run(t.Context(), action(`await new Promise(r => setTimeout(r, 300)); return 7`), &host{})
		if err != nil {
			t.Error(err)
		}
		clean <- r
	}()
	for p.Busy() < 2 {
		runtime.Gosched()
	}
	for _, pid := range p.Pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := <-lost; !errors.Is(err, runner.ErrWorkerLost) {
		t.Errorf("the run with an effect: %v", err)
	}
	if r := <-clean; string(r.Output) != "7" {
		t.Errorf("the run without: %s %v", r.Output, r.Error)
	}
}

// A service manager's stop reaches all processes; those of the pool wait for the server's decision.
func TestProcessIgnoresSignalsToStop(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	g := newGate()
	done := make(chan runner.Result, 1)
	go func() {
		r, err := p.Run(t.Context(), action(callOnce), g)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-g.entered
	for _, pid := range p.Pids() {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(g.leave)
	if r := <-done; string(r.Output) != `"done"` {
		t.Errorf("got %s %v", r.Output, r.Error)
	}
}

func TestManyRunsSpreadOverProcesses(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 3})
	g := newGate()
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if r, err := p.Run(t.Context(), action(callOnce), g); err != nil || r.Error != nil {
				t.Error(err, r.Error)
			}
		})
	}
	for range 30 {
		<-g.entered
	}
	for deadline := time.Now().Add(20 * time.Second); len(p.Pids()) < 2 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := len(p.Pids()); n != 2 {
		t.Errorf("%d processes; one tenant may have all but one of three", n)
	}
	close(g.leave)
	wg.Wait()
}

func TestTenantsNeverShareAProcess(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 2})
	g := newGate()
	var wg sync.WaitGroup
	for _, tenant := range []string{"a", "b"} {
		wg.Go(func() {
			req := action(callOnce)
			req.Tenant = tenant
			if r, err := p.Run(t.Context(), req, g); err != nil || string(r.Output) != `"done"` {
				t.Errorf("got %s %v %v", r.Output, r.Error, err)
			}
		})
		<-g.entered
	}
	if n := len(p.Pids()); n != 2 {
		t.Errorf("%d processes for two tenants", n)
	}
	// A third tenant finds no place until a process is idle, and then gets a new one in its stead.
	old := p.Pids()
	wg.Go(func() {
		req := action(`return 1`)
		req.Tenant = "c"
		if r, err := p.Run(t.Context(), req, &host{}); err != nil || string(r.Output) != "1" {
			t.Errorf("got %s %v %v", r.Output, r.Error, err)
		}
		for _, pid := range p.Pids() {
			if pid != old[0] && pid != old[1] {
				return
			}
		}
		t.Errorf("the third tenant ran in a process of another: %v, then %v", old, p.Pids())
	})
	close(g.leave)
	wg.Wait()
}

func TestOneTenantLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 2, VMs: 1})
	g := newGate()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(g.leave)
	for range 3 {
		wg.Go(func() { _, _ = p.Run(t.Context(), action(callOnce), g) })
	}
	<-g.entered
	req := action(`return 1`)
	req.Tenant = "other"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if r, err := p.Run(ctx, req, &host{}); err != nil || string(r.Output) != "1" {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
}

func TestProcessIsReplacedAfterItsRuns(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1, Recycle: 2})
	seen := map[int]bool{}
	for range 6 {
		for _, pid := range p.Pids() {
			seen[pid] = true
		}
		assertWorks(t, p)
	}
	if len(seen) < 3 {
		t.Errorf("%d processes for 6 runs of 2 each", len(seen))
	}
}

func TestProcessOverItsMemoryIsKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1, WorkerMemory: 100 << 20})
	req := action(`const keep = []; for (let i = 0; i < 200; i++) { keep.push(new Uint8Array(1 << 20).fill(1)); if (i % 20 === 0) await new Promise(r => setTimeout(r, 50)) } return keep.length`)
	req.Limits.Memory = -1
	r, err := p.Run(t.Context(), req, &host{})
	if err != nil || !errors.Is(r.Error, runner.ErrOutOfMemory) {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
	assertWorks(t, p)
}

func TestIdleProcessesEnd(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 2, VMs: 1, IdleTimeout: time.Hour})
	for _, tenant := range []string{"a", "b"} {
		req := action(`return 1`)
		req.Tenant = tenant
		if _, err := p.Run(t.Context(), req, &host{}); err != nil {
			t.Fatal(err)
		}
	}
	p.Inspect(time.Now().Add(2 * time.Hour))
	for deadline := time.Now().Add(10 * time.Second); len(p.Pids()) != 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d processes are left", len(p.Pids()))
		}
	}
}

// Containers commonly refuse namespaces: the rest of the confinement still holds, and the operator hears of it once.
func TestPoolWorksWithoutNamespaces(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	p := runner.NewPool(runner.Options{Workers: 2, VMs: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p.RefuseNamespaces()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"a", "b", "c"} {
		req := action(`return 1`)
		req.Tenant = tenant
		if r, err := p.Run(t.Context(), req, &host{}); err != nil || string(r.Output) != "1" {
			t.Errorf("got %s %v %v", r.Output, r.Error, err)
		}
	}
	if i := p.Isolation(); i.Namespaces || i.Full() || len(i.Problems) != 1 {
		t.Errorf("isolation: %s", i)
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "confinement"); n != 1 || !strings.Contains(log.String(), "operation not permitted") {
		t.Errorf("%d reports:\n%s", n, log.String())
	}
}

func TestStartFailsWithAReason(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"no such program":          {"/no/such/program"},
		"a program that ends":      {"/bin/false"},
		"a program that lies":      {os.Args[0], "liar"},
		"a program with no answer": {"/bin/true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := runner.NewPool(runner.Options{Command: command, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			if err := p.Start(t.Context()); err == nil {
				t.Error("Start succeeded")
			}
			if _, err := p.Run(t.Context(), action(`return 1`), &host{}); !errors.Is(err, runner.ErrStopped) {
				t.Errorf("Run after a failed Start: %v", err)
			}
		})
	}
}

func TestStopWaitsForRuns(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	g := newGate()
	done := make(chan runner.Result, 1)
	go func() {
		r, err := p.Run(t.Context(), action(callOnce), g)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-g.entered
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(context.Background()) }()
	for {
		if _, err := p.Run(t.Context(), action(`return 1`), &host{}); errors.Is(err, runner.ErrStopped) {
			break
		}
	}
	close(g.leave)
	if r := <-done; string(r.Output) != `"done"` {
		t.Errorf("the run in progress: %s %v", r.Output, r.Error)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopWithoutPatienceCancelsRuns(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	g := newGate()
	done := make(chan error, 1)
	go func() {
		_, err := p.Run(t.Context(), action(callOnce), g)
		done <- err
	}()
	<-g.entered
	pids := p.Pids()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if err := <-done; !errors.Is(err, runner.ErrStopped) {
		t.Errorf("Run: %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d after Stop: %v", pid, err)
		}
	}
}
