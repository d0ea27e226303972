package run_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api"
	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/function/compile"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// pool is shared by all tests: the processes of a runner are its cost.
var pool *runner.Pool

// TestMain lets the test binary be the runner process of its own pool.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "runner" {
		os.Exit(runner.Main(context.Background(), os.Stdin, os.Stdout))
	}
	pool = runner.NewPool(runner.Options{Workers: 4, Logger: slog.New(slog.DiscardHandler)})
	if err := pool.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := pool.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// compiled is the test project, compiled once.
var compiled = sync.OnceValues(func() ([]function.Compiled, error) {
	all, err := compile.Project(context.Background(), os.DirFS("testdata/project"), compile.Options{Inspector: pool})
	broken := function.Compiled{
		Definition: function.Definition{Type: function.Action, Models: []string{}}, Name: "syntax", Integration: "fake", JS: "module.exports = (",
	}
	plain := function.Compiled{
		Definition: function.Definition{Type: function.Action, Models: []string{}}, Name: "plain", Integration: "fake",
		JS: `exports.default = { type: 'action', exec: async (nango, input) => ({ n: input.n * 2 }) };`,
	}
	return append(all, broken, plain), err
})

const apiKey = "sk-upstream-1234567890"

// clock is the real clock, which tests can put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// world is a whole platform but for its port: one integration "fake" of a third party that each test scripts, one connection
// "user-1", and an app that receives webhooks.
type world struct {
	t     testing.TB
	store *store.Store
	clock *clock
	log   *journal
	env   tenant.Environment

	tenants     *tenant.Service
	connections *connection.Service
	functions   *function.Service
	records     *record.Service
	queue       *queue.Client
	workers     *queue.Workers
	parts       run.Options
	service     *run.Service
	server      *api.Server
	key         string

	integration *integration.Integration
	connection  *connection.Connection
	upstream    *httptest.Server
	app         *app

	mu     sync.Mutex
	routes map[string]http.HandlerFunc
}

// app is the endpoint that gets webhooks.
type app struct {
	*httptest.Server

	mu  sync.Mutex
	got []webhook
}

type webhook struct {
	Type            string
	SyncName        string
	SyncType        string
	Model           string
	Success         bool
	ResponseResults run.Counts
	ModifiedAfter   string
	Checkpoints     json.RawMessage
	ConnectionID    string
	Error           json.RawMessage
	StartedAt       string
	FailedAt        string
}

func newApp(t testing.TB) *app {
	a := &app{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var one webhook
		if err := json.NewDecoder(r.Body).Decode(&one); err != nil {
			t.Error(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got = append(a.got, one)
	}))
	t.Cleanup(a.Close)
	return a
}

// of gives the webhooks of a sync so far.
func (a *app) of(sync string) []webhook {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []webhook
	for _, one := range a.got {
		if one.Type == "sync" && one.SyncName == sync {
			all = append(all, one)
		}
	}
	return all
}

// journal is an oplog.Writer that keeps everything.
type journal struct {
	mu       sync.Mutex
	records  map[string]oplog.Record
	messages map[string][]oplog.Message
}

func (j *journal) Save(_ context.Context, r oplog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records[r.ID] = r
	return nil
}

func (j *journal) Append(_ context.Context, r oplog.Record, messages []oplog.Message) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.messages[r.ID] = append(j.messages[r.ID], messages...)
	return nil
}

func (j *journal) Load(_ context.Context, _ int64, id string) (oplog.Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r, ok := j.records[id]; ok {
		return r, nil
	}
	return oplog.Record{}, oplog.ErrNotFound
}

// of gives the operations of a kind, oldest first.
func (j *journal) of(kind oplog.Kind, name string) []oplog.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []oplog.Record
	for _, r := range j.records {
		if r.Kind == kind && r.FunctionName == name {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b oplog.Record) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// delivering reports whether some webhook is still on its way.
func (j *journal) delivering() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.records {
		if r.Kind.Type == "webhook" && r.EndedAt == nil {
			return true
		}
	}
	return false
}

// text is everything that was logged, as one text.
func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all, err := json.Marshal(map[string]any{"records": j.records, "messages": j.messages})
	if err != nil {
		panic(err)
	}
	return string(all)
}

// always makes the credentials of these tests fresh: they never expire.
type always struct{}

func (always) Ensure(_ context.Context, _ *integration.Integration, c *connection.Connection, _ bool) (*connection.Connection, error) {
	return c, nil
}

// options change a world before it is built.
type options struct {
	syncWall time.Duration
	lease    time.Duration
	paused   bool // the queue is not started
	pool     *runner.Pool
}

func newWorld(t testing.TB, s *store.Store, o options) *world {
	t.Helper()
	w := &world{
		t: t, store: s, clock: &clock{}, log: &journal{records: map[string]oplog.Record{}, messages: map[string][]oplog.Message{}}, app: newApp(t),
		routes: map[string]http.HandlerFunc{},
	}
	w.upstream = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.upstream.Close)
	w.build(o)
	return w
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

const fakeProvider = `display_name: Fake
docs: https://example.com
auth_mode: API_KEY
credentials:
  apiKey: {type: string, title: Key, description: The key, secret: true}
connection_config:
  baseUrl: {type: string, title: URL, description: Where it is}
proxy:
  base_url: ${connectionConfig.baseUrl}
  headers:
    authorization: Bearer ${apiKey}
`

func (w *world) build(o options) {
	t, ctx, s, discard := w.t, w.t.Context(), w.store, slog.New(slog.DiscardHandler)
	t.Helper()
	var policy egress.Policy
	for _, open := range []string{w.upstream.URL, w.app.URL} {
		policy.Allow = append(policy.Allow, must[egress.Entry](t)(egress.ParseEntry(strings.TrimPrefix(open, "http://"))))
	}
	door := egress.New(egress.Options{Policy: policy})
	t.Cleanup(door.Close)
	v := storetest.Vault(t, s)
	var account tenant.Account
	w.tenants, account = storetest.Tenants(t, s, v)
	w.env = must[tenant.Environment](t)(w.tenants.EnvironmentByName(ctx, account.ID, "dev"))
	if err := w.tenants.UpdateSettings(ctx, w.env, tenant.SettingsUpdate{PrimaryURL: &w.app.URL}); err != nil {
		t.Fatal(err)
	}
	_, key, err := w.tenants.CreateKey(ctx, w.env.Owner(), tenant.NewKey{DisplayName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.key = key.Reveal()
	catalog := must[*provider.Catalog](t)(provider.Load(fstest.MapFS{"fake.yaml": {Data: []byte(fakeProvider)}}))
	log := oplog.New(oplog.Options{Writer: w.log, Logger: discard})

	w.queue, w.workers = w.newQueue(o, s.Queue())
	webhooks := outbound.New(outbound.Options{
		Store: s.Outbound(), Settings: w.tenants, Jobs: w.queue, Log: log, Client: door.Client(egress.ClientOptions{Timeout: outbound.Timeout}), Logger: discard,
	})
	webhooks.Register(w.workers)
	instances := run.NewInstances(run.InstancesOptions{Store: s.Runs(), Queue: w.queue, Functions: s.Functions(), Now: w.clock.now})
	w.connections = connection.New(connection.Options{Store: s.Connections(), Tx: s, Vault: v, Hooks: []connection.Hooks{instances}, Now: w.clock.now})
	integrations := integration.New(integration.Options{Store: s.Integrations(), Tx: s, Hints: s, Vault: v, Catalog: catalog})
	t.Cleanup(integrations.Close)
	w.functions = function.New(function.Options{Store: s.Functions(), Integrations: integrations, Hooks: []function.Hooks{instances}})
	t.Cleanup(w.functions.Close)
	checkpoints := checkpoint.New(checkpoint.Options{Store: s.Checkpoints()})
	w.records = must[*record.Service](t)(record.New(record.Options{Store: s.Records(), Vault: v, Checkpoints: checkpoints}))
	send := proxy.New(proxy.Options{Integrations: integrations, Connections: w.connections, Catalog: catalog, Fresh: always{}, Operations: log, Door: door})
	if o.pool == nil {
		o.pool = pool
	}
	w.parts = run.Options{
		Instances: instances, Tenants: w.tenants, Integrations: integrations, Connections: w.connections, Functions: w.functions, Catalog: catalog, Fresh: always{},
		Proxy: send, Records: w.records, Checkpoints: checkpoints, Runner: o.pool, Webhooks: webhooks, Vault: v, Log: log,
		Fetch: door.Client(egress.ClientOptions{}), PublicURL: "http://localhost:3003", SyncWall: o.syncWall, Now: w.clock.now, Logger: discard,
	}
	w.service = run.New(w.parts)
	w.service.Register(w.workers)
	w.server = api.New(api.Options{
		PublicURL: "http://localhost:3003", Logger: discard, Tenants: w.tenants, Catalog: catalog, Integrations: integrations, Connections: w.connections,
		Syncs: w.service, Actions: w.service, Records: w.records,
	})
	w.integration = must[*integration.Integration](t)(integrations.Create(ctx, integration.Integration{EnvironmentID: w.env.ID, Key: "fake", Provider: "fake"}))
	if !o.paused {
		w.start()
	}
}

// newQueue makes the queue of a node.
func (w *world) newQueue(o options, st queue.Store) (*queue.Client, *queue.Workers) {
	w.t.Helper()
	workers := queue.NewWorkers()
	client, err := queue.New(queue.Config{
		Store: st, Workers: workers, Queues: map[string]int{outbound.Queue: 4, run.SyncQueue: 8, run.ActionQueue: 8, run.PurgeQueue: 1}, Poll: 20 * time.Millisecond,
		Lease: o.lease, Beat: o.lease / 4, SoftStop: -1, Logger: slog.New(slog.DiscardHandler), Now: w.clock.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return client, workers
}

// mortal is the store of a node that can be cut off: then its leases are not renewed, and it claims nothing.
type mortal struct {
	queue.Store

	dead atomic.Bool
}

var errCutOff = errors.New("cut off")

func (m *mortal) Renew(ctx context.Context, holds []queue.Hold, until time.Time) (map[queue.Hold]bool, error) {
	if m.dead.Load() {
		return nil, errCutOff
	}
	return m.Store.Renew(ctx, holds, until)
}

func (m *mortal) Claim(ctx context.Context, req queue.ClaimRequest) (queue.Claims, error) {
	if m.dead.Load() {
		return queue.Claims{}, errCutOff
	}
	return m.Store.Claim(ctx, req)
}

// another makes a second node.
func (w *world) another(o options) (*queue.Client, *mortal) {
	w.t.Helper()
	m := &mortal{Store: w.store.Queue()}
	client, workers := w.newQueue(o, m)
	run.New(w.parts).Register(workers)
	return client, m
}

func (w *world) start() {
	w.t.Helper()
	if err := w.queue.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.queue.Stop(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
}

// connect stores the connection.
func (w *world) connect(id string) *connection.Connection {
	w.t.Helper()
	credentials := must[connection.Credentials](w.t)(connection.NewCredentials(provider.APIKey, map[string]any{"apiKey": apiKey}))
	config, err := json.Marshal(map[string]string{"baseUrl": w.upstream.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	c, _, err := w.connections.Import(w.t.Context(), w.integration, connection.Connection{ConnectionID: id, Credentials: credentials, Config: config})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// deploy deploys the named functions of the test project, and nothing else.
func (w *world) deploy(names ...string) {
	w.t.Helper()
	var chosen []function.Compiled
	for _, c := range must[[]function.Compiled](w.t)(compiled()) {
		if slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) < len(names) {
		w.t.Fatalf("the project has not all of %v", names)
	}
	if _, err := w.functions.Deploy(w.t.Context(), w.env, function.Deployment{Functions: chosen, Mode: function.All, SDKVersion: function.SDKVersion}); err != nil {
		w.t.Fatal(err)
	}
}

// on scripts the third party.
func (w *world) on(path string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.routes[path] = h
}

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+apiKey && r.URL.Path != "/open" {
		w.t.Errorf("%s came without the key", r.URL)
	}
	w.mu.Lock()
	h := w.routes[r.URL.Path]
	w.mu.Unlock()
	if h == nil {
		http.NotFound(rw, r)
		return
	}
	h(rw, r)
}

// reply answers with JSON.
func reply(rw http.ResponseWriter, status int, body string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("X-Rate-Limit", "7")
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, body)
}

// answerOf is an answer of the API.
type answerOf struct {
	status int
	header http.Header
	body   string
}

// do calls the API.
func (w *world) do(method, path, body string, headers ...string) answerOf {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, bytes.NewReader([]byte(body)))
	r.Header.Set("Authorization", "Bearer "+w.key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return answerOf{rec.Code, rec.Header(), rec.Body.String()}
}

// action triggers an action.
func (w *world) action(name, input string, headers ...string) answerOf {
	w.t.Helper()
	body := fmt.Sprintf(`{"action_name":%q`, name)
	if input != "" {
		body += `,"input":` + input
	}
	return w.do(http.MethodPost, "/action/trigger", body+"}", append([]string{"Provider-Config-Key", "fake", "Connection-Id", "user-1"}, headers...)...)
}

// status is a line of GET /sync/status.
type status struct {
	ID           string
	Name         string
	Variant      string
	Type         string
	Status       string
	Frequency    string
	FinishedAt   string
	NextAt       *string `json:"nextScheduledSyncAt"`
	LatestResult map[string]run.Counts
	RecordCount  map[string]int64
	Checkpoint   json.RawMessage
	LatestStatus string `json:"latestExecutionStatus"`
	ConnectionID string `json:"connection_id"`
}

func (w *world) status(name string) status {
	w.t.Helper()
	a := w.do(http.MethodGet, "/sync/status?syncs="+name+"&provider_config_key=fake&connection_id=user-1", "")
	var out struct{ Syncs []status }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK || len(out.Syncs) != 1 {
		w.t.Fatalf("status of %s: %d %s", name, a.status, a.body)
	}
	return out.Syncs[0]
}

// until polls, because processes and the network are real here.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s\n%s", what, w.log.text())
		}
	}
}

// advance puts the clock forward once no webhook is on its way: the lease of its delivery would be over, and it would be sent again.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	w.until("every webhook was delivered", func() bool { return !w.log.delivering() })
	w.clock.advance(d)
}

// ran waits until a sync has ended n runs.
func (w *world) ran(name string, n int) status {
	w.t.Helper()
	w.until(fmt.Sprintf("%s ran %d times", name, n), func() bool {
		ended := 0
		for _, op := range w.log.of(oplog.SyncRun, name) {
			if op.EndedAt != nil {
				ended++
			}
		}
		return ended >= n
	})
	return w.status(name)
}

func (w *world) trigger(name, opts string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"provider_config_key":"fake","connection_id":"user-1","syncs":[%q]`, name)
	if opts != "" {
		body += `,"opts":` + opts
	}
	if a := w.do(http.MethodPost, "/sync/trigger", body+"}"); a.status != http.StatusOK || a.body != `{"success":true}` {
		w.t.Fatalf("trigger: %d %s", a.status, a.body)
	}
}

func (w *world) stream(model string) record.Stream {
	return record.Stream{EnvironmentID: w.env.ID, ConnectionID: w.connection.ID, Model: model}
}

// live gives the ids of the live and of the deleted records of a model.
func (w *world) live(model string) (live, deleted []string) {
	w.t.Helper()
	page := must[record.Page](w.t)(w.records.Page(w.t.Context(), w.stream(model), record.PageQuery{Limit: record.MaxPage}))
	for _, raw := range page.Records {
		var one struct {
			ID   string
			Meta struct {
				DeletedAt *string `json:"deleted_at"`
			} `json:"_nango_metadata"`
		}
		if err := json.Unmarshal(raw, &one); err != nil {
			w.t.Fatal(err)
		}
		if one.Meta.DeletedAt != nil {
			deleted = append(deleted, one.ID)
		} else {
			live = append(live, one.ID)
		}
	}
	slices.Sort(live)
	slices.Sort(deleted)
	return live, deleted
}

// set sets the environment variables.
func (w *world) set(variables ...tenant.Variable) {
	t := w.t
	t.Helper()
	if err := w.tenants.SetVariables(t.Context(), w.env, variables); err != nil {
		t.Fatal(err)
	}
}
