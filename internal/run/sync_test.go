package run_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// source is a third party with pages of items.
type source struct {
	mu    sync.Mutex
	pages [][]string // ids, or id=v
	asked []string
	// gate, when not nil, is called before a page is answered.
	gate func(r *http.Request, page int)
}

func (s *source) set(pages ...[]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = pages
}

func (s *source) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *source) serve(rw http.ResponseWriter, r *http.Request) {
	page, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		reply(rw, 400, `{}`)
		return
	}
	s.mu.Lock()
	gate := s.gate
	s.asked = append(s.asked, r.URL.Query().Encode())
	items := []map[string]string{}
	if page < len(s.pages) {
		for _, id := range s.pages[page] {
			id, v, _ := strings.Cut(id, "=")
			items = append(items, map[string]string{"id": id, "v": v})
		}
	}
	more := page+1 < len(s.pages)
	s.mu.Unlock()
	if gate != nil {
		gate(r, page)
	}
	body, err := json.Marshal(map[string]any{"items": items, "more": more})
	if err != nil {
		panic(err)
	}
	reply(rw, 200, string(body))
}

func newSource(w *world, pages ...[]string) *source {
	s := &source{pages: pages}
	w.on("/items", s.serve)
	return s
}

func TestTheLifeOfASync(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := newWorld(t, s, options{})
		src := newSource(w, []string{"a", "b"}, []string{"c"})
		w.deploy("items")
		w.connection = w.connect("user-1")

		st := w.ran("items", 1)
		if diff := cmp.Diff(map[string]run.Counts{"Item": {Added: 3}}, st.LatestResult); diff != "" || st.Status != "SUCCESS" || st.Type != "INITIAL" || st.RecordCount["Item"] != 3 ||
			st.Frequency != "every hour" || st.FinishedAt == "" || st.NextAt == nil || st.LatestStatus != "SUCCESS" || string(st.Checkpoint) != "null" {
			t.Errorf("after the first run: %+v %s", st, diff)
		}
		w.until("the webhook arrived", func() bool { return len(w.app.of("items")) == 1 })
		first := w.app.of("items")[0]
		if first.SyncType != "INITIAL" || !first.Success || first.Model != "Item" || first.ResponseResults != (run.Counts{Added: 3}) || !sameJSON(t, string(first.Checkpoints), `{"from":null,"to":null}`) {
			t.Errorf("first webhook: %+v", first)
		}

		// It does not run again before its hour is over, and then it knows when it ran.
		src.set([]string{"a=changed", "b"})
		w.advance(59 * time.Minute)
		if n := len(w.log.of(oplog.SyncRun, "items")); n != 1 {
			t.Errorf("%d runs within the hour", n)
		}
		w.advance(2 * time.Minute)
		st = w.ran("items", 2)
		if diff := cmp.Diff(map[string]run.Counts{"Item": {Updated: 1, Deleted: 1}}, st.LatestResult); diff != "" {
			t.Error(diff)
		}
		live, deleted := w.live("Item")
		if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, [][]string{live, deleted}); diff != "" {
			t.Error(diff)
		}
		asked := src.requests()
		if last := asked[len(asked)-1]; !strings.Contains(last, "since="+first.ModifiedAfter[:10]) {
			t.Errorf("the second run was not told of the first: %s", last)
		}
		w.until("the webhook arrived", func() bool { return len(w.app.of("items")) == 2 })
		if second := w.app.of("items")[1]; second.SyncType != "INCREMENTAL" || second.ResponseResults != (run.Counts{Updated: 1, Deleted: 1}) {
			t.Errorf("second webhook: %+v", second)
		}

		// A full run without emptying finds nothing new; with emptying everything is new.
		w.trigger("items", `{"reset":true}`)
		if st = w.ran("items", 3); st.LatestResult["Item"] != (run.Counts{}) {
			t.Errorf("after a full run: %+v", st.LatestResult)
		}
		if asked = src.requests(); asked[len(asked)-1] != "page=0&since=" {
			t.Errorf("a full run was told of an earlier one: %s", asked[len(asked)-1])
		}
		w.trigger("items", `{"reset":true,"emptyCache":true}`)
		if st = w.ran("items", 4); st.LatestResult["Item"] != (run.Counts{Added: 2}) {
			t.Errorf("after a full run with an empty cache: %+v", st.LatestResult)
		}
		if live, deleted = w.live("Item"); len(live) != 2 || len(deleted) != 0 {
			t.Errorf("records %v, deleted %v", live, deleted)
		}
		for _, op := range w.log.of(oplog.SyncRun, "items") {
			if op.State != oplog.Success {
				t.Errorf("operation %+v", op)
			}
		}
	})
}

func TestARunThatLostItsProcessIsTakenOverAndAnnouncedOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ops := takenOver(t, s, func(_ *world, _ *queue.Client, life *mortal) { life.dead.Store(true) })
		if ops[0].State != oplog.Failed || ops[0].Error.Type != "worker_lost" {
			t.Errorf("the lost run: %+v", ops[0])
		}
	})
}

func TestARunSurvivesTheStopOfItsServer(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ops := takenOver(t, s, func(w *world, node *queue.Client, _ *mortal) {
			if err := node.Stop(context.WithoutCancel(w.t.Context())); err != nil {
				w.t.Error(err)
			}
		})
		if ops[0].State != oplog.Cancelled {
			t.Errorf("the stopped run: %+v", ops[0])
		}
	})
}

// takenOver lets a first node get as far as the third page, ends it, and has a second one go on. It gives the two operations.
func takenOver(t *testing.T, s *store.Store, end func(w *world, node *queue.Client, life *mortal)) []oplog.Record {
	t.Helper()
	o := options{lease: 2 * time.Second, paused: true}
	w := newWorld(t, s, o)
	src := newSource(w, []string{"a", "b"}, []string{"c"}, []string{"d"})
	inside := make(chan struct{})
	var once sync.Once
	src.gate = func(r *http.Request, page int) {
		held := false
		if page == 2 {
			once.Do(func() { held = true; close(inside) })
		}
		if held {
			<-r.Context().Done()
		}
	}
	w.deploy("items")
	w.connection = w.connect("user-1")
	node, life := w.another(o)
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-inside
	end(w, node, life)
	w.start()
	st := w.ran("items", 2)
	if err := node.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	if st.Status != "SUCCESS" || st.LatestResult["Item"] != (run.Counts{Added: 4}) {
		t.Errorf("after the take-over: %+v", st)
	}
	if live, deleted := w.live("Item"); len(live) != 4 || len(deleted) != 0 {
		t.Errorf("records %v, deleted %v", live, deleted)
	}
	if diff := cmp.Diff([]string{"page=0&since=", "page=1&since=", "page=2&since=", "page=2&since="}, src.requests()); diff != "" {
		t.Errorf("it did not go on from the checkpoint: %s", diff)
	}
	ops := w.log.of(oplog.SyncRun, "items")
	if len(ops) != 2 || ops[1].State != oplog.Success {
		t.Fatalf("operations %+v", ops)
	}
	w.until("the webhook arrived", func() bool { return len(w.app.of("items")) > 0 })
	if got := w.app.of("items"); len(got) != 1 || got[0].ResponseResults != (run.Counts{Added: 4}) || got[0].ModifiedAfter > ops[0].StartedAt.UTC().Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("webhooks %+v", got)
	}
	return ops
}

func TestAPauseAbortsTheRunAndAStartResumesIt(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := newWorld(t, s, options{})
		src := newSource(w, []string{"a"}, []string{"b"})
		inside := make(chan struct{})
		var once sync.Once
		src.gate = func(r *http.Request, page int) {
			held := false
			if page == 1 {
				once.Do(func() { held = true; close(inside) })
			}
			if held {
				<-r.Context().Done()
			}
		}
		w.deploy("items")
		w.connection = w.connect("user-1")
		<-inside
		if st := w.status("items"); st.Status != "RUNNING" || st.FinishedAt != "" || string(st.Checkpoint) != `{"page":1}` {
			t.Errorf("while it runs: %+v", st)
		}
		w.trigger("items", "") // it runs already: accepted, without effect
		body := `{"provider_config_key":"fake","connection_id":"user-1","syncs":["items"]}`
		if a := w.do(http.MethodPost, "/sync/pause", body); a.status != 200 || a.body != `{"success":true}` {
			t.Fatalf("pause: %d %s", a.status, a.body)
		}
		st := w.ran("items", 1)
		if ops := w.log.of(oplog.SyncRun, "items"); st.Status != "PAUSED" || st.NextAt != nil || st.LatestStatus != "STOPPED" || ops[0].State != oplog.Cancelled {
			t.Errorf("after the pause: %+v %+v", st, ops)
		}
		w.advance(3 * time.Hour)
		w.trigger("items", "") // also while it is paused
		if st = w.ran("items", 2); st.Status != "PAUSED" || st.LatestStatus != "SUCCESS" {
			t.Errorf("after a trigger while paused: %+v", st)
		}
		if asked := src.requests(); asked[len(asked)-1] != "page=1&since=" {
			t.Errorf("the next run did not go on from the checkpoint: %v", asked)
		}
		if live, deleted := w.live("Item"); len(live) != 2 || len(deleted) != 0 {
			t.Errorf("records %v, deleted %v", live, deleted)
		}
		w.advance(3 * time.Hour)
		if a := w.do(http.MethodPost, "/sync/start", body); a.status != 200 {
			t.Fatalf("start: %d %s", a.status, a.body)
		}
		if st = w.ran("items", 3); st.Status != "SUCCESS" {
			t.Errorf("after the start: %+v", st)
		}
		w.until("the webhooks arrived", func() bool { return len(w.app.of("items")) == 2 })
		for _, hook := range w.app.of("items") {
			if !hook.Success {
				t.Errorf("an abort is no failure: %+v", hook)
			}
		}
		for kind, want := range map[oplog.Kind]int{oplog.SyncPause: 1, oplog.SyncUnpause: 1, oplog.SyncRequest: 2} {
			if ops := w.log.of(kind, "items"); len(ops) != want || ops[0].State != oplog.Success {
				t.Errorf("%v: %+v", kind, ops)
			}
		}
	})
}

func TestAResetReplacesTheRunThatGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{})
	src := newSource(w, []string{"a"}, []string{"b"})
	inside := make(chan struct{})
	var once sync.Once
	src.gate = func(r *http.Request, page int) {
		held := false
		if page == 1 {
			once.Do(func() { held = true; close(inside) })
		}
		if held {
			<-r.Context().Done()
		}
	}
	w.deploy("items")
	w.connection = w.connect("user-1")
	<-inside
	w.trigger("items", `{"reset":true,"emptyCache":true}`)
	st := w.ran("items", 2)
	if ops := w.log.of(oplog.SyncRun, "items"); ops[0].State != oplog.Cancelled || ops[1].State != oplog.Success || st.LatestResult["Item"] != (run.Counts{Added: 2}) {
		t.Errorf("%+v %+v", ops, st)
	}
	if asked := src.requests(); !slices.Equal(asked[2:], []string{"page=0&since=", "page=1&since="}) {
		t.Errorf("the full run did not begin at the beginning: %v", asked)
	}
}

func TestAFailedRunKeepsWhatItSavedAndTellsTheApp(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := newWorld(t, s, options{})
		fail := true
		w.on("/fails", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 200, fmt.Sprintf(`{"fail":%t}`, fail)) })
		w.deploy("fails", "wrong")
		w.connection = w.connect("user-1")
		if st := w.status("fails"); st.Status != "PAUSED" || st.LatestResult != nil || st.FinishedAt != "" {
			t.Errorf("autoStart false: %+v", st)
		}
		w.trigger("fails", "")
		st := w.ran("fails", 1)
		if st.Status != "PAUSED" || st.LatestStatus != "STOPPED" || st.RecordCount["Failure"] != 1 || st.LatestResult["Failure"] != (run.Counts{Added: 1}) {
			t.Errorf("after the failure: %+v", st)
		}
		w.until("the webhook arrived", func() bool { return len(w.app.of("fails")) == 1 })
		hook := w.app.of("fails")[0]
		if hook.Success || !sameJSON(t, string(hook.Error), `{"type":"script_error","description":"The function threw an ActionError","payload":{"why":"because"}}`) || hook.StartedAt == "" || hook.FailedAt == "" {
			t.Errorf("webhook %+v %s", hook, hook.Error)
		}
		c, err := w.connections.Get(t.Context(), w.integration, "user-1")
		ops := w.log.of(oplog.SyncRun, "fails")
		if err != nil || len(c.Errors) != 1 || c.Errors[0].Type != "sync" || c.Errors[0].LogID != ops[0].ID || ops[0].State != oplog.Failed || ops[0].Error.Type != "action_script_runtime_error" {
			t.Errorf("errors %+v, operations %+v, %v", c.Errors, ops, err)
		}
		fail = false
		w.trigger("fails", "")
		w.ran("fails", 2)
		if c, err = w.connections.Get(t.Context(), w.integration, "user-1"); err != nil || len(c.Errors) != 0 {
			t.Errorf("the success left the error: %+v %v", c.Errors, err)
		}
		w.trigger("wrong", "")
		w.ran("wrong", 1)
		if ops := w.log.of(oplog.SyncRun, "wrong"); ops[0].State != oplog.Failed || !strings.Contains(string(ops[0].Error.Payload), "is not one of the sync's: Wrong") {
			t.Errorf("a model of another sync: %+v", ops[0].Error)
		}
	})
}

func TestAnOlderSyncDeletesWhatItsRunDidNotHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{})
	body := `[{"id":"1"},{"id":"2"}]`
	w.on("/older", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 200, body) })
	w.deploy("older")
	w.connection = w.connect("user-1")
	w.trigger("older", "")
	w.ran("older", 1)
	body = `[{"id":"2"}]`
	w.trigger("older", "")
	if st := w.ran("older", 2); st.LatestResult["Older"] != (run.Counts{Deleted: 1}) {
		t.Errorf("%+v", st.LatestResult)
	}
	if live, deleted := w.live("Older"); !slices.Equal(live, []string{"2"}) || !slices.Equal(deleted, []string{"1"}) {
		t.Errorf("records %v, deleted %v", live, deleted)
	}
}

func TestALongRunIsInterruptedAtACheckpointAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{syncWall: time.Hour, lease: 2 * time.Hour})
	src := newSource(w, []string{"a"}, []string{"b"})
	var once sync.Once
	src.gate = func(*http.Request, int) { once.Do(func() { w.clock.advance(49 * time.Minute) }) }
	w.deploy("items")
	w.connection = w.connect("user-1")
	w.ran("items", 2)
	for _, op := range w.log.of(oplog.SyncRun, "items") {
		if op.State != oplog.Success {
			t.Errorf("%+v", op)
		}
	}
	if asked := src.requests(); len(asked) < 2 || !strings.HasPrefix(asked[1], "page=1&") {
		t.Errorf("the second run did not go on: %v", asked)
	}
	if live, deleted := w.live("Item"); len(live) != 2 || len(deleted) != 0 {
		t.Errorf("records %v, deleted %v", live, deleted)
	}
}

func TestABatchOf25000RecordsIsSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{})
	w.on("/big", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 200, `{"count":25000}`) })
	w.deploy("big")
	w.connection = w.connect("user-1")
	w.trigger("big", "")
	st := w.ran("big", 1)
	if st.LatestResult["Big"] != (run.Counts{Added: 25_000}) || st.RecordCount["Big"] != 25_000 {
		t.Errorf("%+v", st)
	}
	w.until("the webhook arrived", func() bool { return len(w.app.of("big")) == 1 })
}

func TestInstancesFollowConnectionsAndDeployments(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := newWorld(t, s, options{})
		newSource(w, []string{"a"})
		w.on("/older", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, 200, `[]`) })
		w.connection = w.connect("user-1")
		w.deploy("items")
		w.ran("items", 1)
		if live, _ := w.live("Item"); len(live) != 1 {
			t.Fatalf("records %v", live)
		}
		// A second deployment changes nothing of it.
		id := w.status("items").ID
		w.deploy("items", "older")
		if st := w.status("items"); st.ID != id {
			t.Errorf("the instance was replaced: %s, was %s", st.ID, id)
		}
		// A deployment without it removes it and its records, and nothing else.
		w.deploy("older")
		a := w.do(http.MethodGet, "/sync/status?syncs=*&provider_config_key=fake&connection_id=user-1", "")
		if strings.Contains(a.body, `"items"`) || !strings.Contains(a.body, `"older"`) {
			t.Errorf("after the deployment: %s", a.body)
		}
		w.until("its records are deleted", func() bool {
			live, deleted := w.live("Item")
			return len(live)+len(deleted) == 0
		})
		// So does a deleted connection.
		if _, err := w.connections.Delete(t.Context(), w.integration, "user-1"); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Runs().Syncs(t.Context(), w.env.ID, run.SyncFilter{}); err != nil || len(all) != 0 {
			t.Errorf("%+v %v", all, err)
		}
		if a := w.do(http.MethodGet, "/sync/status?syncs=*&provider_config_key=fake", ""); a.body != `{"syncs":[]}` {
			t.Errorf("%s", a.body)
		}
	})
}

func TestCommandsRefuseWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{paused: true})
	w.deploy("items")
	w.connection = w.connect("user-1")
	w.connect("user-2")
	const all = `"provider_config_key":"fake"`
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string // part of the body
	}{
		"start, unknown integration":    {"POST", "/sync/start", `{"syncs":[],"provider_config_key":"nope"}`, 400, `"code":"unknown_provider_config"`},
		"pause, unknown connection":     {"POST", "/sync/pause", `{"syncs":[],` + all + `,"connection_id":"nobody"}`, 404, `"code":"unknown_connection","payload":{"connectionId":"nobody","providerConfigKey":"fake"}`},
		"start, unknown sync":           {"POST", "/sync/start", `{"syncs":["nope"],` + all + `,"connection_id":"user-1"}`, 400, `"code":"no_syncs_found"`},
		"start, unknown variant":        {"POST", "/sync/start", `{"syncs":["items::x"],` + all + `,"connection_id":"user-1"}`, 400, `"code":"no_syncs_found"`},
		"start, some known":             {"POST", "/sync/start", `{"syncs":["nope","items"],` + all + `}`, 200, `{"success":true}`},
		"start, none known":             {"POST", "/sync/start", `{"syncs":["nope"],` + all + `}`, 400, `"code":"no_syncs_found"`},
		"start, as object":              {"POST", "/sync/start", `{"syncs":[{"name":"items","variant":"base"}],` + all + `}`, 200, `{"success":true}`},
		"start, object half":            {"POST", "/sync/start", `{"syncs":[{"name":"items"}],` + all + `}`, 400, `"path":["syncs","0","variant"]`},
		"start, unknown member":         {"POST", "/sync/start", `{"syncs":[],"x":1,` + all + `}`, 400, `"code":"invalid_body"`},
		"start, no list":                {"POST", "/sync/start", `{` + all + `}`, 400, `"path":["syncs"]`},
		"trigger without integration":   {"POST", "/sync/trigger", `{"syncs":[]}`, 400, `"code":"missing_provider_config_key"`},
		"trigger, both ways":            {"POST", "/sync/trigger", `{"syncs":[],` + all + `,"opts":{"reset":true},"sync_mode":"incremental"}`, 400, `"code":"invalid_body"`},
		"trigger, unknown mode":         {"POST", "/sync/trigger", `{"syncs":[],` + all + `,"sync_mode":"never"}`, 400, `"code":"invalid_body"`},
		"trigger, query":                {"POST", "/sync/trigger?a=b", `{"syncs":[],` + all + `}`, 400, `"code":"invalid_query_params"`},
		"trigger all":                   {"POST", "/sync/trigger", `{"syncs":[],` + all + `}`, 200, `{"success":true}`},
		"status, unknown connection":    {"GET", "/sync/status?syncs=*&provider_config_key=fake&connection_id=nobody", ``, 400, `"code":"invalid_body"`},
		"status, unknown integration":   {"GET", "/sync/status?syncs=*&provider_config_key=nope", ``, 200, `{"syncs":[]}`},
		"status, unknown sync":          {"GET", "/sync/status?syncs=nope&provider_config_key=fake&connection_id=user-1", ``, 200, `{"syncs":[]}`},
		"status without a list":         {"GET", "/sync/status?provider_config_key=fake", ``, 400, `"code":"invalid_query_params"`},
		"frequency":                     {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-1","frequency":"every 5 minutes"}`, 200, `{"frequency":"5 minutes"}`},
		"frequency back":                {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-2","frequency":null}`, 200, `{"frequency":"every hour"}`},
		"frequency, too short":          {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-1","frequency":"10s"}`, 400, `"code":"invalid_body"`},
		"frequency, no number":          {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-1","frequency":"every minute"}`, 400, `"code":"invalid_body"`},
		"frequency, no such form":       {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-1","frequency":"now and then"}`, 400, `"path":["frequency"]`},
		"frequency, missing":            {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"user-1"}`, 400, `"path":["frequency"]`},
		"frequency, unknown sync":       {"PUT", "/sync/update-connection-frequency", `{"sync_name":"nope",` + all + `,"connection_id":"user-1","frequency":"1h"}`, 400, `"code":"unknown_sync"`},
		"frequency, unknown connection": {"PUT", "/sync/update-connection-frequency", `{"sync_name":"items",` + all + `,"connection_id":"nobody","frequency":"1h"}`, 400, `"code":"unknown_connection"`},
		"variant named base":            {"POST", "/sync/items/variant/Base", `{` + all + `,"connection_id":"user-1"}`, 400, `"code":"invalid_variant"`},
		"variant of nothing":            {"POST", "/sync/nope/variant/x", `{` + all + `,"connection_id":"user-1"}`, 400, `"code":"unknown_sync"`},
		"variant, unknown connection":   {"POST", "/sync/items/variant/x", `{` + all + `,"connection_id":"nobody"}`, 400, `"code":"unknown_connection"`},
		"variant, delete missing":       {"DELETE", "/sync/items/variant/x", `{` + all + `,"connection_id":"user-1"}`, 404, `"code":"not_found"`},
	} {
		if a := w.do(test.method, test.path, test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s: %d %s, want %d with %s", name, a.status, a.body, test.status, test.want)
		}
	}
	if st := w.status("items"); st.Frequency != "every 5 minutes" {
		t.Errorf("the override is %q", st.Frequency)
	}
}

func TestAVariantHasItsOwnScheduleRecordsAndCheckpoint(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		w := newWorld(t, s, options{})
		src := newSource(w, []string{"a"})
		w.deploy("items")
		w.connection = w.connect("user-1")
		w.ran("items", 1)
		src.set([]string{"x", "y"})
		body := `{"provider_config_key":"fake","connection_id":"user-1"}`
		a := w.do(http.MethodPost, "/sync/items/variant/eu", body)
		if a.status != 200 || !strings.Contains(a.body, `"name":"items","variant":"eu"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := w.do(http.MethodPost, "/sync/items/variant/eu", body); a.status != 400 || !strings.Contains(a.body, "sync_variant_already_exists") {
			t.Errorf("twice: %d %s", a.status, a.body)
		}
		w.ran("items", 2)
		base, _ := w.live("Item")
		variant, _ := w.live("Item::eu")
		if diff := cmp.Diff([][]string{{"a"}, {"x", "y"}}, [][]string{base, variant}); diff != "" {
			t.Error(diff)
		}
		if st := w.status("items::eu"); st.Variant != "eu" || st.RecordCount["Item"] != 2 || st.LatestResult["Item"] != (run.Counts{Added: 2}) {
			t.Errorf("%+v", st)
		}
		if a := w.do(http.MethodDelete, "/sync/items/variant/eu", body); a.status != 200 || a.body != `{"success":true}` {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.until("its records are deleted", func() bool { live, deleted := w.live("Item::eu"); return len(live)+len(deleted) == 0 })
		if base, _ := w.live("Item"); len(base) != 1 {
			t.Errorf("the base lost records: %v", base)
		}
	})
}

func TestAChangedFrequencyMovesTheScheduleUnlessItIsOverridden(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{})
	newSource(w, []string{"a"})
	w.deploy("items")
	w.connection = w.connect("user-1")
	w.ran("items", 1)
	faster := func() function.Compiled {
		for _, c := range must[[]function.Compiled](t)(compiled()) {
			if c.Name == "items" && c.Type == function.Sync {
				c.Frequency = "every 5 minutes"
				return c
			}
		}
		panic("no items")
	}()
	if _, err := w.functions.Deploy(t.Context(), w.env, function.Deployment{Functions: []function.Compiled{faster}, Mode: function.All, SDKVersion: function.SDKVersion}); err != nil {
		t.Fatal(err)
	}
	next, err := time.Parse(time.RFC3339, *w.status("items").NextAt)
	if err != nil || next.Sub(w.clock.now()) > 5*time.Minute {
		t.Errorf("the next run is at %s: %v", next, err)
	}
}

func TestAWebhookIsOnlySentForChangesWhenTheAppWantsItSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onSQLite(t), options{})
	newSource(w, []string{"a"})
	off := false
	if err := w.tenants.UpdateSettings(t.Context(), w.env, tenant.SettingsUpdate{OnSyncCompletionAlways: &off}); err != nil {
		t.Fatal(err)
	}
	w.deploy("items")
	w.connection = w.connect("user-1")
	w.ran("items", 1)
	w.trigger("items", "")
	w.ran("items", 2)
	w.until("the webhook arrived", func() bool { return len(w.app.of("items")) > 0 })
	w.trigger("items", "")
	w.ran("items", 3)
	if got := w.app.of("items"); len(got) != 1 {
		t.Errorf("%d webhooks for one change", len(got))
	}
}
