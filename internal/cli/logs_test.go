package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
)

// logsServer is a server with two operations, of which one has failed, and a tail that tells of a third and then breaks.
type logsServer struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string
}

func newLogsServer(t *testing.T) *logsServer {
	t.Helper()
	s := &logsServer{}
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	end := at.Add(1500 * time.Millisecond)
	newer := oplog.Record{
		ID: "op2", Kind: oplog.SyncRun, State: oplog.Failed, CreatedAt: at.Add(time.Second), EndedAt: &end, DurationMs: 1500, IntegrationName: "crm",
		ConnectionName: "c1", FunctionName: "contacts", Error: &oplog.Failure{Name: "boom", Message: "red \x1b[31m\x07text"}, Meta: json.RawMessage(`{"k":1}`),
		Request: &oplog.HTTPRequest{Method: "GET", URL: "https://a.test"}, Response: &oplog.HTTPResponse{Code: 502},
	}
	older := oplog.Record{ID: "op1", Kind: oplog.ActionRun, State: oplog.Running, CreatedAt: at}
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux := http.NewServeMux()
	mux.HandleFunc("/logs/operations", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"data": []oplog.Record{newer, older}, "pagination": map[string]any{"total": 5, "cursor": "x"}})
	})
	mux.HandleFunc("/logs/operations/op2", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"data": newer}) })
	mux.HandleFunc("/logs/operations/op2/messages", func(w http.ResponseWriter, r *http.Request) {
		text, cursor := "first line", any("next")
		if r.URL.Query().Get("cursor") == "next" {
			text, cursor = "second line", nil
		}
		m := oplog.Message{Text: text, Level: oplog.Warn, CreatedAt: at, Retry: &oplog.Retry{Attempt: 1, Max: 2}, DurationMs: 20}
		answer(w, map[string]any{"data": []oplog.Message{m}, "pagination": map[string]any{"total": 2, "cursor": cursor}})
	})
	mux.HandleFunc("/logs/tail", func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range []oplog.Event{
			{Record: oplog.Record{ID: "op3", Kind: oplog.ProxyCall, State: oplog.Running, CreatedAt: at}},
			{Record: oplog.Record{ID: "op3", Kind: oplog.ProxyCall, State: oplog.Running, CreatedAt: at}, Messages: []oplog.Message{{Text: strings.Repeat("long ", 50_000), Level: oplog.Info}}},
			{Record: oplog.Record{ID: "op3", Kind: oplog.ProxyCall, State: oplog.Success, CreatedAt: at, EndedAt: &end}},
		} {
			data, _ := json.Marshal(e)
			_, _ = fmt.Fprintf(w, ": beat\n\nevent: operation\ndata: %s\n\n", data)
		}
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.RequestURI())
		s.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer good" {
			w.WriteHeader(http.StatusUnauthorized)
			answer(w, map[string]any{"error": map[string]string{"code": "unknown_user_account", "message": "The key is wrong"}})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *logsServer) last(t *testing.T) *url.URL {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := url.Parse(s.asked[len(s.asked)-1])
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func runLogs(ctx context.Context, args ...string) (out, progress string, err error) {
	var o, p strings.Builder
	cmd := newLogsCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&o)
	cmd.SetErr(&p)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(ctx)
	return o.String(), p.String(), err
}

func TestLogsListsTheNewestLastWithoutControlCharacters(t *testing.T) {
	t.Parallel()
	s := newLogsServer(t)
	out, progress, err := runLogs(t.Context(), "--url", s.URL, "--key", "good", "--type", "sync", "--type", "action", "--status", "failed,running",
		"--integration", "crm", "--search", "a b", "--since", "1h", "--limit", "2")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "action:run") || !strings.Contains(lines[1], "failed     sync:run") || !strings.Contains(lines[1], "1.5s  op2  crm · c1 · contacts") ||
		!strings.Contains(lines[2], "boom: red") {
		t.Errorf("printed\n%s", out)
	}
	if strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("a third party's text reaches the terminal: %q", out)
	}
	if !strings.Contains(progress, "3 older ones") {
		t.Errorf("progress %q", progress)
	}
	q := s.last(t).Query()
	from, err := time.Parse(time.RFC3339Nano, q.Get("from"))
	if err != nil || time.Since(from) < time.Hour || time.Since(from) > time.Hour+time.Minute {
		t.Errorf("from %s", q.Get("from"))
	}
	q.Del("from")
	if got := q.Encode(); got != "integration=crm&limit=2&search=a+b&status=failed%2Crunning&type=sync&type=action" {
		t.Errorf("asked for %s", got)
	}
}

func TestLogsShowsOneOperationWithAllItsMessages(t *testing.T) {
	t.Parallel()
	s := newLogsServer(t)
	out, _, err := runLogs(t.Context(), "--url", s.URL, "--key", "good", "op2")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GET https://a.test", "502", `{"k":1}`, "warn   first line  20ms  attempt 2 of 3", "second line"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	out, _, err = runLogs(t.Context(), "--url", s.URL, "--key", "good", "--json", "op2")
	var e oplog.Event
	if err := errors.Join(err, json.Unmarshal([]byte(out), &e)); err != nil || e.Record.ID != "op2" || len(e.Messages) != 2 || e.Record.Error.Message != "red \x1b[31m\x07text" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLogsFollowsAndConnectsAgainUntilInterrupted(t *testing.T) {
	t.Parallel()
	s := newLogsServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost := writerFunc(func(text []byte) (int, error) {
		if strings.Contains(string(text), "connecting again") {
			cancel()
		}
		return len(text), nil
	})
	var out strings.Builder
	cmd := newLogsCommand()
	cmd.SetOut(&out)
	cmd.SetErr(lost)
	cmd.SetArgs([]string{"--url", s.URL, "--key", "good", "-f", "--connection", "c1", "--since", "1h"})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "proxy:call"); n != 2 || strings.Count(out.String(), "info   long") != 1 || !strings.Contains(out.String(), "op1") {
		t.Errorf("an operation that began and ended is shown %d times:\n%.2000s", n, out.String())
	}
	if got := s.last(t).RequestURI(); got != "/logs/tail?connection=c1" {
		t.Errorf("followed %s", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(text []byte) (int, error) { return f(text) }

func TestLogsSaysWhatToDoWhenItCannotWork(t *testing.T) {
	t.Parallel()
	s := newLogsServer(t)
	for name, c := range map[string]struct {
		args  []string
		want  string
		usage bool
	}{
		"a wrong key":     {[]string{"--url", s.URL, "--key", "bad"}, "The key is wrong", false},
		"a wrong tail":    {[]string{"--url", s.URL + "/x", "--key", "good", "-f"}, "is it a Patchbay server?", false},
		"no server":       {[]string{"--url", "http://127.0.0.1:1", "--key", "good"}, "is the server running?", false},
		"no URL":          {[]string{"--url", "localhost", "--key", "good"}, "http://localhost:3003", true},
		"a wrong time":    {[]string{"--url", s.URL, "--key", "good", "--since", "soon"}, "24h", true},
		"a wrong limit":   {[]string{"--url", s.URL, "--key", "good", "--limit", "0"}, "1 to 1000", true},
		"too many ids":    {[]string{"a", "b"}, "at most 1", true},
		"an unknown id":   {[]string{"--url", s.URL, "--key", "good", "op9"}, "404", false},
		"no key for prod": {[]string{"--url", s.URL, "--env", "pro-d"}, "PATCHBAY_SECRET_KEY_PRO_D", true},
	} {
		_, _, err := runLogs(t.Context(), c.args...)
		var usage usageError
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &usage) != c.usage {
			t.Errorf("%s: %v, usage %v", name, err, errors.As(err, &usage))
		}
		if err != nil && strings.Contains(err.Error(), "good") {
			t.Errorf("%s: the key is in %v", name, err)
		}
	}
	var refusal *errs.Error
	if _, _, err := runLogs(t.Context(), "--url", s.URL, "--key", "bad"); !errors.As(err, &refusal) || refusal.Code != "unknown_user_account" {
		t.Errorf("a refusal is %v", err)
	}
}

func TestLogsBeginWhenToldInAnyForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for given, want := range map[string]time.Time{"2d": now.AddDate(0, 0, -2), "90m": now.Add(-90 * time.Minute), "2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := logsSince(given, now); err != nil || !got.Equal(want) {
			t.Errorf("%s = %s, %v", given, got, err)
		}
	}
}
