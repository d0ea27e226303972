package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// fakeLogs answers with one operation and remembers what it was asked.
type fakeLogs struct {
	asked   oplog.Query
	message oplog.MessageQuery
	events  chan oplog.Event
	ended   chan struct{}
}

func (f *fakeLogs) Operations(_ context.Context, q oplog.Query) (oplog.Page, error) {
	f.asked = q
	if q.Cursor == "bad" {
		return oplog.Page{}, oplog.ErrCursor
	}
	return oplog.Page{Records: []oplog.Record{{ID: "1795262400000_AAAAAAAA", Kind: oplog.SyncRun}}, Total: 7, Cursor: "next"}, nil
}

func (f *fakeLogs) Operation(_ context.Context, environmentID int64, id string) (oplog.Record, error) {
	if environmentID != 3 || id != "known" {
		return oplog.Record{}, oplog.ErrNotFound
	}
	return oplog.Record{ID: id}, nil
}

func (f *fakeLogs) Messages(_ context.Context, _ int64, id string, q oplog.MessageQuery) (oplog.MessagePage, error) {
	f.message = q
	if id != "known" {
		return oplog.MessagePage{}, oplog.ErrNotFound
	}
	return oplog.MessagePage{Messages: []oplog.Message{}}, nil
}

func (f *fakeLogs) Tail(ctx context.Context, q oplog.Query) (<-chan oplog.Event, error) {
	f.asked = q
	context.AfterFunc(ctx, func() { close(f.ended) })
	return f.events, nil
}

// fakeTenants knows the tokens "reader" and "writer" of environment 3.
type fakeTenants struct{ Tenants }

func (fakeTenants) Authenticate(_ context.Context, token string) (tenant.Principal, error) {
	p := tenant.Principal{Environment: tenant.Environment{ID: 3}, Scopes: []string{tenant.ScopeLogsRead}}
	switch token {
	case "writer":
		p.Scopes = []string{tenant.ScopeRecordsWrite}
	case "reader":
	default:
		return tenant.Principal{}, errs.New(http.StatusUnauthorized, "unknown_user_account", "No")
	}
	return p, nil
}

func logsServer() (*Server, *fakeLogs) {
	f := &fakeLogs{events: make(chan oplog.Event, 1), ended: make(chan struct{})}
	s := New(Options{Logs: f, Tenants: fakeTenants{}})
	s.logRoutes()
	return s, f
}

func askLogs(s *Server, token, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestTheFiltersOfLogsAreReadInEveryForm(t *testing.T) {
	t.Parallel()
	s, f := logsServer()
	w := askLogs(s, "reader", "/logs/operations?type=sync,action:run&type=proxy&status=failed,timeout&integration=crm&connection=a,b&function=f&function=g"+
		"&from=2026-11-20&to=2026-11-21T10:00:00%2B01:00&search=a%20b&limit=1000&cursor=c")
	want := oplog.Query{
		EnvironmentID: 3, Types: []string{"sync", "action:run", "proxy"}, States: []oplog.State{oplog.Failed, oplog.Timeout}, Integrations: []string{"crm"},
		Connections: []string{"a,b", "a", "b"}, Functions: []string{"f", "g"}, From: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		To: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), Text: "a b", Limit: 1000, Cursor: "c",
	}
	if diff := cmp.Diff(want, f.asked); w.Code != http.StatusOK || diff != "" {
		t.Errorf("%d %s %s", w.Code, w.Body, diff)
	}
	var answer struct {
		Data       []map[string]any `json:"data"`
		Pagination map[string]any   `json:"pagination"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"total": 7.0, "cursor": "next"}, answer.Pagination); diff != "" || len(answer.Data) != 1 || answer.Data[0]["id"] != "1795262400000_AAAAAAAA" {
		t.Errorf("%s %s", w.Body, diff)
	}
	askLogs(s, "reader", "/logs/operations/known/messages?search=x&level=warn,error&order=asc&limit=5")
	if diff := cmp.Diff(oplog.MessageQuery{Text: "x", Levels: []oplog.Level{oplog.Warn, oplog.Error}, OldestFirst: true, Limit: 5}, f.message); diff != "" {
		t.Error(diff)
	}
}

func TestWhatLogsAreNotAskedForIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := logsServer()
	for target, want := range map[string]string{
		"/logs/operations?limit=1001":                                      "400 invalid_query_params",
		"/logs/operations?limit=0":                                         "400 invalid_query_params",
		"/logs/operations?limit=x":                                         "400 invalid_query_params",
		"/logs/operations?status=broken":                                   "400 invalid_query_params",
		"/logs/operations?type=SYNC":                                       "400 invalid_query_params",
		"/logs/operations?type=sync,":                                      "400 invalid_query_params",
		"/logs/operations?from=yesterday":                                  "400 invalid_query_params",
		"/logs/operations?from=2026-11-21&to=2026-11-20":                   "400 invalid_query_params",
		"/logs/operations?unknown=1":                                       "400 invalid_query_params",
		"/logs/operations?integration=":                                    "400 invalid_query_params",
		"/logs/operations?integration=" + strings.Repeat("x", 256):         "400 invalid_query_params",
		"/logs/operations?search=" + strings.Repeat("x", 257):              "400 invalid_query_params",
		"/logs/operations?connection=a" + strings.Repeat(",b", 51):         "400 invalid_query_params",
		"/logs/operations?cursor=bad":                                      "400 invalid_cursor",
		"/logs/operations/unknown":                                         "404 not_found",
		"/logs/operations/known?x=1":                                       "400 invalid_query_params",
		"/logs/operations/unknown/messages":                                "404 not_found",
		"/logs/operations/known/messages?level=loud":                       "400 invalid_query_params",
		"/logs/operations/known/messages?order=up":                         "400 invalid_query_params",
		"/logs/tail?limit=5":                                               "400 invalid_query_params",
		"/logs/operations?status=failed&status=success&function=a&limit=1": "200 ",
		"/logs/operations/known":                                           "200 ",
		"/logs/operations/known/messages":                                  "200 ",
	} {
		w := askLogs(s, "reader", target)
		var body struct {
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if want != strconv.Itoa(w.Code)+" "+body.Error.Code {
			t.Errorf("%.80s = %d %s, want %s", target, w.Code, w.Body, want)
		}
	}
	for token, want := range map[string]int{"writer": http.StatusForbidden, "nobody": http.StatusUnauthorized} {
		for _, target := range []string{"/logs/operations", "/logs/operations/known", "/logs/operations/known/messages", "/logs/tail"} {
			if w := askLogs(s, token, target); w.Code != want {
				t.Errorf("%s reads %s: %d", token, target, w.Code)
			}
		}
	}
}

func TestTailStreamsEventsUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	s, f := logsServer()
	server := httptest.NewServer(s)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/logs/tail?type=sync&search=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer reader")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.Header.Get("Content-Type") != "text/event-stream" || f.asked.EnvironmentID != 3 || f.asked.Text != "x" {
		t.Errorf("%v for %+v", answer.Header, f.asked)
	}
	f.events <- oplog.Event{Record: oplog.Record{ID: "op1"}, Messages: []oplog.Message{{Text: "two\nlines"}}}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e oplog.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Record.ID != "op1" || e.Messages[0].Text != "two\nlines" {
				t.Errorf("%s: %v", data, err)
			}
			break
		}
	}
	cancel()
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Error("the server goes on after the client has gone")
	}
}
