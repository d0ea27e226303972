package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// TestMain lets the test binary be its own runner process.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "runner" {
		os.Exit(runner.Main(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func newPool(t testing.TB, o runner.Options) *runner.Pool {
	t.Helper()
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
	if string(r.Output) != `{"n":42,"ok":1}` || r.Telemetry.CPU <= 0 || r.Telemetry.PeakMemory <= 0 || r.Telemetry.HostCalls == 0 {
		t.Errorf("got %s, %+v", r.Output, r.Telemetry)
	}
}
