package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// fakeRecords answers with one page and remembers what it was asked.
type fakeRecords struct {
	stream record.Stream
	query  record.PageQuery
	until  record.Cursor
	limit  int
	page   record.Page
	err    error
}

func (f *fakeRecords) Page(_ context.Context, stream record.Stream, q record.PageQuery) (record.Page, error) {
	f.stream, f.query = stream, q
	return f.page, f.err
}

func (f *fakeRecords) Prune(_ context.Context, stream record.Stream, until record.Cursor, limit int) (record.PruneResult, error) {
	f.stream, f.until, f.limit = stream, until, limit
	return record.PruneResult{Count: 3, More: true}, f.err
}

// recordTenants lets a key do what its name says.
type recordTenants struct{ Tenants }

func (recordTenants) Authenticate(_ context.Context, token string) (tenant.Principal, error) {
	return tenant.Principal{Environment: tenant.Environment{ID: 3}, Scopes: []string{token}}, nil
}

type recordIntegrations struct{ Integrations }

func (recordIntegrations) Get(_ context.Context, environmentID int64, key string) (*integration.Integration, error) {
	if environmentID != 3 || key != "acme" {
		return nil, integration.ErrNotFound
	}
	return &integration.Integration{ID: 5, EnvironmentID: environmentID, Key: key}, nil
}

type recordConnections struct{ Connections }

func (recordConnections) Get(_ context.Context, i *integration.Integration, id string) (*connection.Connection, error) {
	if i.ID != 5 || id != "user" {
		return nil, connection.ErrNotFound
	}
	return &connection.Connection{ID: 77}, nil
}

func recordsServer() (*Server, *fakeRecords) {
	f := &fakeRecords{}
	return New(Options{Records: f, Tenants: recordTenants{}, Integrations: recordIntegrations{}, Connections: recordConnections{}}), f
}

// askRecords sends a request about the connection "user" of "acme"; headers come in pairs, an empty value drops the header.
func askRecords(s *Server, scope, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+scope)
	r.Header.Set("Connection-Id", "user")
	r.Header.Set("Provider-Config-Key", "acme")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

var recordCursor = record.Cursor{At: time.Date(2026, 1, 2, 3, 4, 5, 678123000, time.UTC), ID: record.Stream{}.RecordID("x")}

func TestRecordsAreAskedForAsTheContractSays(t *testing.T) {
	t.Parallel()
	recent := time.Now().UTC().Add(-time.Hour).Truncate(time.Minute)
	base := record.PageQuery{Limit: 100}
	tests := []struct {
		query, model string
		want         func(q *record.PageQuery)
	}{
		{"model=Contact", "Contact", func(*record.PageQuery) {}},
		{"model=Contact&variant=base", "Contact", func(*record.PageQuery) {}},
		{"model=Contact&variant=eu", "Contact::eu", func(*record.PageQuery) {}},
		{"model=Contact&limit=10000", "Contact", func(q *record.PageQuery) { q.Limit = 10_000 }},
		{"model=Contact&cursor=" + url.QueryEscape(recordCursor.String()), "Contact", func(q *record.PageQuery) { q.Cursor = recordCursor }},
		{"model=Contact&filter=added,DELETED", "Contact", func(q *record.PageQuery) { q.Filter = record.Filter{Added: true, Deleted: true} }},
		{"model=Contact&ids=1", "Contact", func(q *record.PageQuery) { q.IDs = []string{"1"} }},
		{"model=Contact&ids=1&ids=b,c", "Contact", func(q *record.PageQuery) { q.IDs = []string{"1", "b,c"} }},
		{"model=Contact&modified_after=" + recent.Format("2006-01-02T15:04Z"), "Contact", func(q *record.PageQuery) { q.ModifiedAfter = recent }},
		{
			"model=Contact&modified_after=" + recent.Add(-time.Hour).Format(time.RFC3339) + "&delta=" + recent.Format("2006-01-02T15:04:05.000Z"), "Contact",
			func(q *record.PageQuery) { q.ModifiedAfter = recent },
		},
	}
	for _, test := range tests {
		s, f := recordsServer()
		w := askRecords(s, tenant.ScopeRecordsRead, http.MethodGet, "/records/?"+test.query, "")
		if w.Code != http.StatusOK || w.Body.String() != `{"next_cursor":null,"records":[]}` {
			t.Errorf("%s: %d %s", test.query, w.Code, w.Body)
		}
		want := base
		test.want(&want)
		if diff := cmp.Diff(want, f.query); diff != "" {
			t.Errorf("%s: %s", test.query, diff)
		}
		if diff := cmp.Diff(record.Stream{EnvironmentID: 3, ConnectionID: 77, Model: test.model}, f.stream); diff != "" {
			t.Errorf("%s: %s", test.query, diff)
		}
	}
}

func TestRecordsAreAnsweredAsTheyAreStored(t *testing.T) {
	t.Parallel()
	s, f := recordsServer()
	f.page = record.Page{Records: []json.RawMessage{json.RawMessage(`{"id":"1","t":"<b>"}`), json.RawMessage(`{"id":"2"}`)}, Next: recordCursor}
	w := askRecords(s, tenant.ScopeRecordsRead, http.MethodGet, "/records?model=Contact", "")
	want := `{"next_cursor":"` + recordCursor.String() + `","records":[{"id":"1","t":"<b>"},{"id":"2"}]}`
	if w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	f.err = errors.New("disk on fire")
	if w = askRecords(s, tenant.ScopeRecordsRead, http.MethodGet, "/records?model=Contact", ""); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("an internal fault is answered %d %s", w.Code, w.Body)
	}
}

func TestWrongRequestsForRecordsAreRefused(t *testing.T) {
	t.Parallel()
	s, f := recordsServer()
	read, write := tenant.ScopeRecordsRead, tenant.ScopeRecordsWrite
	long := strings.Repeat("x", 257)
	cursor := recordCursor.String()
	tests := []struct {
		scope, method, target, body string
		headers                     []string
		status                      int
		code, path                  string
	}{
		{read, "GET", "/records", "", nil, 400, "invalid_query_params", "model"},
		{read, "GET", "/records?model=contact", "", nil, 400, "invalid_query_params", "model"},
		{read, "GET", "/records?model=C", "", nil, 400, "invalid_query_params", "model"},
		{read, "GET", "/records?model=Contact&variant=a%20b", "", nil, 400, "invalid_query_params", "variant"},
		{read, "GET", "/records?model=Contact&limit=0", "", nil, 400, "invalid_query_params", "limit"},
		{read, "GET", "/records?model=Contact&limit=10001", "", nil, 400, "invalid_query_params", "limit"},
		{read, "GET", "/records?model=Contact&limit=ten", "", nil, 400, "invalid_query_params", "limit"},
		{read, "GET", "/records?model=Contact&cursor=", "", nil, 400, "invalid_query_params", "cursor"},
		{read, "GET", "/records?model=Contact&cursor=nonsense", "", nil, 400, "invalid_query_params", "cursor"},
		{read, "GET", "/records?model=Contact&cursor=" + strings.Repeat("A", 1001), "", nil, 400, "invalid_query_params", "cursor"},
		{read, "GET", "/records?model=Contact&filter=added,gone", "", nil, 400, "invalid_query_params", "filter"},
		{read, "GET", "/records?model=Contact&filter=", "", nil, 400, "invalid_query_params", "filter"},
		{read, "GET", "/records?model=Contact&ids=" + long, "", nil, 400, "invalid_query_params", "ids/0"},
		{read, "GET", "/records?model=Contact" + strings.Repeat("&ids=1", 101), "", nil, 400, "invalid_query_params", "ids"},
		{read, "GET", "/records?model=Contact&modified_after=2020-01-01T00:00:00Z", "", nil, 400, "invalid_query_params", "modified_after"},
		{read, "GET", "/records?model=Contact&delta=2026-01-01", "", nil, 400, "invalid_query_params", "delta"},
		{read, "GET", "/records?model=Contact&delta=2026-01-01T00:00:00%2B00:00", "", nil, 400, "invalid_query_params", "delta"},
		{read, "GET", "/records?model=Contact&delta=2026-01-01T1:00Z", "", nil, 400, "invalid_query_params", "delta"},
		{read, "GET", "/records?model=Contact&page=2", "", nil, 400, "invalid_query_params", ""},
		{read, "GET", "/records?model=contact", "", []string{"Connection-Id", ""}, 400, "invalid_query_params", "model"},
		{read, "GET", "/records?model=Contact", "", []string{"Connection-Id", ""}, 400, "invalid_headers", "connection-id"},
		{read, "GET", "/records?model=Contact", "", []string{"Provider-Config-Key", ""}, 400, "invalid_headers", "provider-config-key"},
		{read, "GET", "/records?model=Contact", "", []string{"Connection-Id", "nobody"}, 400, "unknown_connection", ""},
		{read, "GET", "/records?model=Contact", "", []string{"Provider-Config-Key", "other"}, 400, "unknown_connection", ""},
		{write, "GET", "/records?model=Contact", "", nil, 403, "forbidden", ""},
		{read, "PATCH", "/records/prune", `{}`, nil, 403, "forbidden", ""},
		{write, "PATCH", "/records/prune?model=Contact", `{}`, nil, 400, "invalid_query_params", ""},
		{write, "PATCH", "/records/prune", `{"model":"Contact"}`, nil, 400, "invalid_body", "until_cursor"},
		{write, "PATCH", "/records/prune", `{"model":"Contact","until_cursor":"x"}`, nil, 400, "invalid_body", "until_cursor"},
		{write, "PATCH", "/records/prune", `{"model":"Contact","until_cursor":"` + cursor + `","limit":10001}`, nil, 400, "invalid_body", "limit"},
		{write, "PATCH", "/records/prune", `{"model":"Contact","until_cursor":"` + cursor + `","more":1}`, nil, 400, "invalid_body", ""},
		{write, "PATCH", "/records/prune", `{"model":"Contact","until_cursor":"` + cursor + `"}`, []string{"Connection-Id", "nobody"}, 400, "unknown_connection", ""},
	}
	for _, test := range tests {
		w := askRecords(s, test.scope, test.method, test.target, test.body, test.headers...)
		var answer struct {
			Error struct {
				Code   string `json:"code"`
				Errors []struct {
					Path []string `json:"path"`
				} `json:"errors"`
			} `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		path := ""
		if len(answer.Error.Errors) > 0 {
			path = strings.Join(answer.Error.Errors[0].Path, "/")
		}
		if w.Code != test.status || answer.Error.Code != test.code || path != test.path {
			t.Errorf("%s %.80s %s %v: %d %s, want %d %s at %q", test.method, test.target, test.body, test.headers, w.Code, w.Body, test.status, test.code, test.path)
		}
	}
	if f.stream != (record.Stream{}) {
		t.Errorf("a wrong request reached the records: %v", f.stream)
	}
}

func TestPruneAnswersWhetherThereIsMore(t *testing.T) {
	t.Parallel()
	s, f := recordsServer()
	body := `{"model":"Contact","variant":"eu","until_cursor":"` + recordCursor.String() + `"}`
	w := askRecords(s, tenant.ScopeRecordsWrite, http.MethodPatch, "/records/prune", body)
	if w.Code != http.StatusOK || w.Body.String() != `{"count":3,"has_more":true}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if f.stream.Model != "Contact::eu" || f.until != recordCursor || f.limit != 1000 {
		t.Errorf("pruned %v until %v, at most %d", f.stream, f.until, f.limit)
	}
}
