package vm_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

// script is a stand-in for the SDK: it calls the bundle's default export and packs what comes out. Host calls are
// available to the bundle as host.call.
const script = `globalThis.__run = async (text) => {
	globalThis.host = __host;
	const { default: main } = __loadBundle();
	return JSON.stringify((await main(JSON.parse(text))) ?? null);
};`

func newEngine(t testing.TB) *vm.Engine {
	t.Helper()
	e, err := vm.NewEngine(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// run executes a bundle whose host calls are echoed: op "echo" answers the payload, op "fail" rejects with it, anything else
// is never answered.
func run(t testing.TB, e *vm.Engine, bundle string, limits vm.Job) vm.Outcome {
	t.Helper()
	code, err := e.CompileBundle("test.cjs", bundle)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.New(false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	limits.Request, limits.Bundle = `{"n":1}`, code
	limits.Call = func(id uint32, op, payload string) error {
		switch op {
		case "echo":
			go m.Deliver(id, true, payload)
		case "fail":
			go m.Deliver(id, false, payload)
		}
		return nil
	}
	return m.Run(limits)
}

// eval runs the body of an async function and returns what it returned.
func eval(t testing.TB, e *vm.Engine, body string) any {
	t.Helper()
	out := run(t, e, "exports.default = async (input) => {"+body+"\n}", vm.Job{CPU: slow * 20 * time.Second})
	if out.Err != nil {
		t.Fatalf("%s: %v", body, out.Err)
	}
	var v any
	if err := json.Unmarshal([]byte(out.Result), &v); err != nil {
		t.Fatalf("%s: %q: %v", body, out.Result, err)
	}
	return v
}

func TestRun(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	if got := eval(t, e, `return 40 + input.n + (await host.call("echo", "1") | 0)`); got != 42.0 {
		t.Errorf("got %v", got)
	}
	got := eval(t, e, `try { await host.call("fail", '{"code":"x","message":"no"}') } catch (e) { return [e instanceof Error, e.message, e.hostError.code] }`)
	if s, _ := json.Marshal(got); string(s) != `[true,"no","x"]` {
		t.Errorf("got %s", s)
	}
	if got := eval(t, e, `return (await new Promise(r => setTimeout(r, 5, "late"))) + host.callSync("hash", '["sha1","hex","text","a"]')`); got != `late"86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"` {
		t.Errorf("got %v", got)
	}
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	tests := map[string]struct {
		bundle string
		want   error
		text   string
	}{
		"a lost rejection":         {`exports.default = () => { Promise.reject(new Error("lost")); return new Promise(() => {}) }`, vm.ErrStuck, ""},
		"a promise nobody settles": {`exports.default = () => new Promise(() => {})`, vm.ErrStuck, ""},
		"an endless loop":          {`exports.default = () => { for (;;); }`, vm.ErrCPU, ""},
		"a loop that catches":      {`exports.default = () => { for (;;) try { for (;;); } catch {} }`, vm.ErrCPU, ""},
		"endless promises":         {`exports.default = async () => { for (;;) await null }`, vm.ErrCPU, ""},
		"endless timers":           {`exports.default = () => new Promise(() => { const f = () => { for (let i = 0; i < 1e5; i++); setImmediate(f) }; f() })`, vm.ErrCPU, ""},
		"a timer that throws":      {`exports.default = () => new Promise(() => setTimeout(() => { throw new Error("boo") }, 1))`, vm.ErrScript, "boo"},
		"a heap bomb":              {`exports.default = () => { const a = []; for (;;) a.push(new Array(1000).fill(1)) }`, vm.ErrScript, "out of memory"},
		"eval":                     {`exports.default = () => eval("1")`, vm.ErrScript, "eval is not supported"},
		"new Function":             {`exports.default = () => new Function("return 1")()`, vm.ErrScript, "eval is not supported"},
		"a module that is no part": {`require("fs")`, vm.ErrScript, "Module 'fs' is not allowed"},
		"a thrown null":            {`exports.default = () => { throw null }`, vm.ErrScript, "null"},
		"deep recursion":           {`exports.default = () => { const f = () => f() + 1; return f() }`, vm.ErrScript, "stack overflow"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cpu := 200 * time.Millisecond
			if !errors.Is(test.want, vm.ErrCPU) {
				cpu = slow * 5 * time.Second
			}
			out := run(t, e, test.bundle, vm.Job{CPU: cpu, Memory: 32 << 20})
			if !errors.Is(out.Err, test.want) || !strings.Contains(out.Err.Error(), test.text) {
				t.Errorf("got %v, want %v with %q", out.Err, test.want, test.text)
			}
		})
	}
}

func TestUnhandledRejectionsAreReported(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	out := run(t, e, `exports.default = async () => {
		Promise.reject(new Error("lost"));
		const late = Promise.reject("late");
		await null;
		late.catch(() => {});
		return 1;
	}`, vm.Job{})
	if out.Err != nil || len(out.Unhandled) != 1 || out.Unhandled[0] != "Error: lost" {
		t.Errorf("got %+v", out)
	}
}
