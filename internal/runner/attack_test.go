package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// quick are limits that make an attack end soon, patient ones leave time to reach what the attack is about.
var (
	quick   = runner.Limits{Memory: 24 << 20, CPU: 300 * time.Millisecond, Wall: 20 * time.Second}
	patient = runner.Limits{Memory: 24 << 20, CPU: slow * 3 * time.Second, Wall: slow * 20 * time.Second}
)

// TestAttackEndsTyped runs hostile and broken functions one after the other on one pool: each ends with its type, and an
// innocent function works after it.
//
//nolint:tparallel // one after the other, so that a pool broken by one is found by the next
func TestAttackEndsTyped(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	type want struct {
		kind    string
		cause   error
		message string
	}
	internal := func(message string) want { return want{runner.TypeInternal, nil, message} }
	memory := want{runner.TypeOutOfMemory, runner.ErrOutOfMemory, "memory"}
	cpu := want{runner.TypeCPUExceeded, runner.ErrCPUExceeded, "computed"}
	tests := []struct {
		name string
		body string
		want want
	}{
		{"throw a string", `throw "x"`, internal("x")},
		{"throw much text", `Promise.reject(new Error("\u0001".repeat(1e5))); throw new Error("\u0001".repeat(1e5))`, internal("")},
		{"throw a megabyte from a timer", `await new Promise(() => setTimeout(() => { throw new Error("\u0001".repeat(1e6)) }, 1))`, internal("uncaught")},
		{"throw null", `throw null`, internal("null")},
		{"reject with undefined", `return Promise.reject()`, internal("undefined")},
		{"throw an object that throws", `throw { get message() { throw 1 }, get name() { throw 2 }, toJSON() { throw 3 } }`, internal("")},
		{"endless loop", `for (;;);`, cpu},
		{"endless loop that catches", `for (;;) { try { for (;;); } catch {} finally { continue } }`, cpu},
		{"endless loop in a getter", `return { get x() { for (;;); } }`, cpu},
		{"endless promises", `for (;;) await null`, cpu},
		{"endless generator", `for (const x of (function* () { for (;;) yield 1 })());`, cpu},
		{"catastrophic regex", `/^(a+)+$/.test("a".repeat(40) + "b")`, cpu},
		{"endless toJSON", `const o = {}; return { toJSON() { for (;;); } }`, cpu},
		{"heap bomb", `const a = []; for (;;) a.push({ a: [1, 2, 3] })`, memory},
		{"heap bomb that catches", `const a = []; for (;;) try { a.push(new Array(1000).fill(0)) } catch {}`, cpu},
		{"10 GB at once", `new Uint8Array(10e9)`, want{runner.TypeInternal, nil, ""}},
		{"array buffers", `const a = []; for (;;) a.push(new ArrayBuffer(1 << 20))`, memory},
		{"growing string", `let s = "x"; for (;;) s += s`, want{"", nil, ""}},
		{"huge map", `const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })`, memory},
		{"stack overflow", `const f = () => f() + 1; return f()`, internal("stack overflow")},
		{"deep JSON", `return JSON.parse("[".repeat(1e6))`, internal("")},
		{"eval", `return eval("1")`, internal("eval is not supported")},
		{"new Function", `return new Function("return 1")()`, internal("eval is not supported")},
		{"function by constructor", `return (async () => {}).constructor("return 1")()`, internal("eval is not supported")},
		{"import", `return import("std")`, internal("")},
		{"a promise nobody settles", `await new Promise(() => {})`, want{runner.TypeInternal, runner.ErrNeverSettles, "nothing will settle"}},
		{"output too large", `return "x".repeat(3 << 20)`, want{runner.TypeInternal, runner.ErrOutputTooLarge, "too large"}},
		{"output that is no JSON", `const o = {}; o.o = o; return o`, internal("circular")},
		{"a million timers", `for (let i = 0; i < 1e6; i++) setTimeout(() => {}, 1e6)`, internal("timers")},
		{"a timer that throws", `await new Promise(() => setTimeout(() => { throw new Error("late") }, 1))`, internal("late")},
		{"blocking wait", `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`, internal("")},
		{"broken promises", `Promise.prototype.then = () => { throw 1 }; JSON.parse = null; globalThis.Promise = null; return 1`, want{"", nil, ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := action(test.body)
			req.Limits = patient
			if errors.Is(test.want.cause, runner.ErrCPUExceeded) {
				req.Limits = quick
			}
			r, err := p.Run(t.Context(), req, &host{})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.want.kind == "": // any end is fine
			case r.Error == nil:
				t.Fatalf("it returned %.100s", r.Output)
			case r.Error.Type != test.want.kind || !errors.Is(r.Error, test.want.cause) && test.want.cause != nil || !strings.Contains(string(r.Error.Payload), test.want.message):
				t.Errorf("got %v", r.Error)
			case !json.Valid(r.Error.Payload):
				t.Errorf("payload is no JSON: %s", r.Error.Payload)
			}
			assertWorks(t, p)
		})
	}
}

// assertWorks checks that an innocent function runs.
func assertWorks(t *testing.T, p *runner.Pool) {
	t.Helper()
	r, err := p.Run(t.Context(), action(`return input.n + 1`), &host{})
	if err != nil || r.Error != nil || string(r.Output) != "3" {
		t.Fatalf("the pool is broken: %s %v %v", r.Output, r.Error, err)
	}
}

func TestBrokenBundleIsItsAuthorsError(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	for name, test := range map[string]struct{ code, message string }{
		"syntax error":           {"const x = 1;\nexports.default = {{", "(broken.cjs:2:"},
		"no default export":      {`exports.other = 1`, "Invalid script exports"},
		"nothing":                {``, "Invalid script exports"},
		"throws while it loads":  {`throw new TypeError("at load")`, "at load"},
		"loops while it loads":   {`for (;;);`, "computed"},
		"forbidden module":       {`require("fs")`, "Module 'fs' is not allowed"},
		"hashbang and a comment": {"#!/usr/bin/env node\n//# sourceMappingURL=x", ""},
		"closes the wrapper":     {`}); (function () { for (;;); })(); (function () {`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := action("")
			req.Limits = patient
			if strings.HasPrefix(name, "loops") {
				req.Limits = quick
			}
			req.Bundle = runner.Bundle{Hash: name, Code: test.code, Name: "broken.cjs", SDKVersion: "1-zero"}
			r, err := p.Run(t.Context(), req, &host{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Error == nil || !strings.Contains(string(r.Error.Payload), test.message) {
				t.Errorf("got %s %v", r.Output, r.Error)
			}
			assertWorks(t, p)
		})
	}
}

// A built-in that computes without listening is stopped by killing its process; the function is told the truth, and another
// run in the same process that made no host call yet is run again.
func TestDeafFunctionIsKilled(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Memory = -1
	p := newPool(t, runner.Options{Workers: 1, Limits: map[runner.Kind]runner.Limits{runner.KindAction: limits}})
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := p.Run(t.Context(), action(`return new Array(1e8).join("abcdefghij").length`), &host{})
		if err != nil || !errors.Is(r.Error, runner.ErrCPUExceeded) {
			t.Errorf("got %s %v %v", r.Output, r.Error, err)
		}
	})
	wg.Go(func() {
		r, err := p.Run(t.Context(), action(`await new Promise(r => setTimeout(r, 1000)); return "again"`), &host{})
		if err != nil || string(r.Output) != `"again"` {
			t.Errorf("neighbour: got %s %v %v", r.Output, r.Error, err)
		}
	})
	wg.Wait()
	assertWorks(t, p)
}

// The compiler can not be interrupted either, and reads nested brackets again and again.
func TestBundleThatNeverCompilesIsKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	req := action("")
	req.Limits = quick
	nested := strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + ";"
	req.Bundle = runner.Bundle{Hash: "slow", Name: "slow.cjs", SDKVersion: "1-zero", Code: strings.Repeat(nested, 2000)}
	r, err := p.Run(t.Context(), req, &host{})
	if err != nil || !errors.Is(r.Error, runner.ErrCPUExceeded) {
		t.Errorf("got %s %v %v", r.Output, r.Error, err)
	}
	assertWorks(t, p)
}

func TestWallLimit(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	req := action(`await new Promise(r => setTimeout(r, 60000))`)
	req.Limits.Wall = 50 * time.Millisecond
	r, err := p.Run(t.Context(), req, &host{})
	if err != nil || !errors.Is(r.Error, runner.ErrTimedOut) || r.Error.Type != runner.TypeTimedOut {
		t.Errorf("got %v %v", r.Error, err)
	}
	if r.Telemetry.Wall > 5*time.Second {
		t.Errorf("it took %v", r.Telemetry.Wall)
	}
	assertWorks(t, p)
}

func TestWallLimitEndsHostCalls(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	req := action(`await nango.get({endpoint: '/x'})`)
	req.Limits.Wall = slow * 500 * time.Millisecond
	var ended error
	r, err := p.Run(t.Context(), req, &host{http: func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		ended = ctx.Err()
		return nil, ended
	}})
	if err != nil || !errors.Is(r.Error, runner.ErrTimedOut) || ended == nil {
		t.Errorf("got %v %v, the call saw %v", r.Error, err, ended)
	}
}

func TestCancelledRunReturnsItsCause(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	why := errors.New("why")
	for _, body := range []string{`await new Promise(r => setTimeout(r, 60000))`, `for (;;);`, `await nango.get({endpoint: '/x'})`} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(30*time.Millisecond, func() { cancel(why) })
		_, err := p.Run(ctx, action(body), &host{http: func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if !errors.Is(err, why) {
			t.Errorf("%s: got %v", body, err)
		}
		cancel(nil)
	}
	assertWorks(t, p)
}

func TestUnhandledRejectionIsAWarning(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	h := &host{}
	r, err := p.Run(t.Context(), action(`Promise.reject(new Error("lost")); Promise.reject("handled later").catch(() => {}); return 1`), h)
	if err != nil || string(r.Output) != "1" {
		t.Fatalf("got %s %v %v", r.Output, r.Error, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.logs) != 1 || !strings.Contains(h.logs[0], "Error: lost") || !strings.Contains(h.logs[0], `"level":"warn"`) {
		t.Errorf("logs: %q", h.logs)
	}
}

func TestCallsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	req := action(`return (await Promise.all(Array.from({length: 50}, () => nango.get({endpoint: '/x'})))).length`)
	req.Limits.HostCalls = 3
	var mu sync.Mutex
	now, most := 0, 0
	r, err := p.Run(t.Context(), req, &host{http: func(context.Context, []byte) ([]byte, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		defer func() { mu.Lock(); now--; mu.Unlock() }()
		return []byte(`{"status":200,"headers":{}}`), nil
	}})
	if err != nil || string(r.Output) != "50" {
		t.Fatalf("got %s %v %v", r.Output, r.Error, err)
	}
	if most > 3 {
		t.Errorf("%d calls at a time", most)
	}
}

func TestHostErrorsReachTheFunction(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	body := `try { await nango.get({endpoint: '/x'}); return "no error" } catch (e) { return e.code + ": " + e.message }`
	for want, err := range map[string]error{
		`"unknown_provider: no such provider"`: &runner.HostError{JSON: []byte(`{"code":"unknown_provider","message":"no such provider"}`)},
		`"internal_error: internal error"`:     errors.New("password=hunter2"),
	} {
		r, runErr := p.Run(t.Context(), action(body), &host{http: func(context.Context, []byte) ([]byte, error) {
			return nil, fmt.Errorf("wrapped: %w", err)
		}})
		if runErr != nil || string(r.Output) != want {
			t.Errorf("got %s %v %v, want %s", r.Output, r.Error, runErr, want)
		}
	}
	r, err := p.Run(t.Context(), action(body), &host{http: func(context.Context, []byte) ([]byte, error) { panic("boom") }})
	if err != nil || string(r.Output) != `"internal_error: internal error"` {
		t.Errorf("after a panic: %s %v %v", r.Output, r.Error, err)
	}
}
