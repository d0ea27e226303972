package storetest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// memoryLog is an oplog.Writer that keeps everything.
type memoryLog struct {
	mu       sync.Mutex
	records  map[string]oplog.Record
	messages map[string][]oplog.Message
}

func newMemoryLog() *memoryLog {
	return &memoryLog{records: map[string]oplog.Record{}, messages: map[string][]oplog.Message{}}
}

func (m *memoryLog) Save(_ context.Context, r oplog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[r.ID] = r
	return nil
}

func (m *memoryLog) Append(_ context.Context, r oplog.Record, messages []oplog.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages[r.ID] = append(m.messages[r.ID], messages...)
	return nil
}

func (m *memoryLog) Load(_ context.Context, _ int64, id string) (oplog.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.records[id]; ok {
		return r, nil
	}
	return oplog.Record{}, oplog.ErrNotFound
}

func (m *memoryLog) states() map[oplog.Kind][]oplog.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := map[oplog.Kind][]oplog.State{}
	for _, r := range m.records {
		states[r.Kind] = append(states[r.Kind], r.State)
	}
	return states
}

// receiver is the app's endpoint. It answers with the statuses given, then with 200.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	statuses []int
	got      []received
}

type received struct {
	header http.Header
	body   string
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	r := &receiver{statuses: statuses}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{req.Header.Clone(), string(body)})
		status := http.StatusOK
		if len(r.statuses) > 0 {
			status, r.statuses = r.statuses[0], r.statuses[1:]
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "seen")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// outboundFixture is the whole way of a webhook: settings, store, queue, egress.
type outboundFixture struct {
	service     *outbound.Service
	queue       *queue.Client
	tenants     *tenant.Service
	environment tenant.Environment
	log         *memoryLog
	waits       chan time.Duration
	store       *store.Store
}

func newOutbound(t *testing.T, s *store.Store, receivers ...*receiver) *outboundFixture {
	t.Helper()
	f := &outboundFixture{store: s, log: newMemoryLog(), waits: make(chan time.Duration, 100)}
	var account tenant.Account
	f.tenants, account = storetest.Tenants(t, s, nil)
	var err error
	if f.environment, err = f.tenants.EnvironmentByName(t.Context(), account.ID, "dev"); err != nil {
		t.Fatal(err)
	}
	var policy egress.Policy
	for _, r := range receivers {
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := egress.ParseEntry(u.Host)
		if err != nil {
			t.Fatal(err)
		}
		policy.Allow = append(policy.Allow, entry)
	}
	door := egress.New(egress.Options{Policy: policy})
	t.Cleanup(door.Close)
	workers := queue.NewWorkers()
	discard := slog.New(slog.DiscardHandler)
	if f.queue, err = queue.New(queue.Config{Store: s.Queue(), Workers: workers, Queues: map[string]int{outbound.Queue: 8}, Logger: discard}); err != nil {
		t.Fatal(err)
	}
	f.service = outbound.New(outbound.Options{
		Store: s.Outbound(), Settings: f.tenants, Jobs: f.queue, Log: oplog.New(oplog.Options{Writer: f.log}), Client: door.Client(egress.ClientOptions{Timeout: outbound.Timeout}),
		Version: "test", Logger: discard, Sleep: func(_ context.Context, d time.Duration) error { f.waits <- d; return nil },
	})
	f.service.Register(workers)
	if err := f.queue.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.queue.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *outboundFixture) set(t *testing.T, u tenant.SettingsUpdate) {
	t.Helper()
	if err := f.tenants.UpdateSettings(t.Context(), f.environment, u); err != nil {
		t.Fatal(err)
	}
}

func (f *outboundFixture) target() outbound.Target {
	return outbound.Target{EnvironmentID: f.environment.ID, ID: 7, ConnectionID: "user-1", IntegrationKey: "crm", Provider: "acme-crm"}
}

// settled waits until n deliveries have ended and returns all.
func (f *outboundFixture) settled(t *testing.T, n int) []outbound.Delivery {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		all, err := f.service.Deliveries(t.Context(), f.environment.ID, outbound.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		ended := 0
		for _, d := range all {
			if d.State != outbound.Pending {
				ended++
			}
		}
		if ended == n {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d deliveries ended: %+v", ended, n, all)
		}
		time.Sleep(time.Millisecond) // the network is real here
	}
}

func syncEvent(target outbound.Target) outbound.SyncEvent {
	return outbound.SyncEvent{
		Target: target, Sync: "contacts", Variant: "base", Type: "INITIAL", StartedAt: time.UnixMilli(1_700_000_000_123),
		Models: []outbound.ModelResult{{Model: "Contact", Added: 2, Updated: 1}, {Model: "Deal"}},
	}
}

func TestAWebhookIsSignedAndHasTheContractsBody(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		app := newReceiver(t)
		f := newOutbound(t, s, app)
		f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
		if err := f.service.SendSync(t.Context(), syncEvent(f.target())); err != nil {
			t.Fatal(err)
		}
		f.settled(t, 2)
		settings, err := f.tenants.Settings(t.Context(), f.environment.ID)
		if err != nil {
			t.Fatal(err)
		}
		var bodies []string
		for _, got := range app.all() {
			bodies = append(bodies, got.body)
			mac := hmac.New(sha256.New, []byte(settings.SigningKey.Reveal()))
			mac.Write([]byte(got.body))
			if want := hex.EncodeToString(mac.Sum(nil)); got.header.Get("X-Nango-Hmac-Sha256") != want {
				t.Errorf("HMAC %s, want %s", got.header.Get("X-Nango-Hmac-Sha256"), want)
			}
			legacy := sha256.Sum256([]byte(settings.SigningKey.Reveal() + got.body))
			if want := hex.EncodeToString(legacy[:]); got.header.Get("X-Nango-Signature") != want {
				t.Errorf("legacy signature %s, want %s", got.header.Get("X-Nango-Signature"), want)
			}
			if got.header.Get("Content-Type") != "application/json" || got.header.Get("Patchbay-Attempt") != "1" || got.header.Get("Patchbay-Event-Id") == "" {
				t.Errorf("headers %v", got.header)
			}
		}
		slices.Sort(bodies)
		want := []string{
			`{"connectionId":"user-1","environment":"dev","from":"nango","model":"Contact","modifiedAfter":"2023-11-14T22:13:20.123Z","providerConfigKey":"crm",` +
				`"queryTimeStamp":"2023-11-14T22:13:20.123Z","responseResults":{"added":2,"deleted":0,"updated":1},"success":true,"syncName":"contacts","syncType":"INITIAL","syncVariant":"base","type":"sync"}`,
			`{"connectionId":"user-1","environment":"dev","from":"nango","model":"Deal","modifiedAfter":"2023-11-14T22:13:20.123Z","providerConfigKey":"crm",` +
				`"queryTimeStamp":"2023-11-14T22:13:20.123Z","responseResults":{"added":0,"deleted":0,"updated":0},"success":true,"syncName":"contacts","syncType":"INITIAL","syncVariant":"base","type":"sync"}`,
		}
		if diff := cmp.Diff(want, bodies); diff != "" {
			t.Error(diff)
		}
		waitFor(t, func() bool {
			return slices.Equal(f.log.states()[oplog.WebhookSync], []oplog.State{oplog.Success, oplog.Success})
		}, "both operations end well")
		for _, messages := range f.log.messages {
			for _, m := range messages {
				encoded, err := json.Marshal(m)
				if err != nil || strings.Contains(string(encoded), settings.SigningKey.Reveal()) {
					t.Errorf("a message shows the signing key (%v)", err)
				}
			}
		}
	})
}

func TestEveryNon2xxIsRepeatedTwiceWithTheSameIdAndBytes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statuses []int
		state    outbound.State
		attempts int
	}{
		"accepted at once":      {nil, outbound.Succeeded, 1},
		"accepted at the third": {[]int{500, 404}, outbound.Succeeded, 3},
		"a redirect is no 2xx":  {[]int{301, 301, 301}, outbound.Failed, 3},
		"refused for good":      {[]int{400, 429, 503}, outbound.Failed, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T, s *store.Store) {
				app := newReceiver(t, test.statuses...)
				f := newOutbound(t, s, app)
				f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
				event := outbound.AuthEvent{Target: f.target(), Operation: outbound.Creation, AuthMode: "OAUTH2", Tags: map[string]string{"team": "blue"}}
				if err := f.service.SendAuth(t.Context(), event); err != nil {
					t.Fatal(err)
				}
				d := f.settled(t, 1)[0]
				got := app.all()
				if d.State != test.state || d.Attempts != test.attempts || len(got) != test.attempts {
					t.Fatalf("%s after %d attempts, %d requests; want %s after %d", d.State, d.Attempts, len(got), test.state, test.attempts)
				}
				for i, r := range got {
					if r.body != got[0].body || r.header.Get("Patchbay-Delivery-Id") != d.ID || r.header.Get("X-Nango-Hmac-Sha256") != got[0].header.Get("X-Nango-Hmac-Sha256") {
						t.Errorf("attempt %d differs from the first", i+1)
					}
				}
				for i := 1; i < test.attempts; i++ {
					if wait := <-f.waits; wait != []time.Duration{100 * time.Millisecond, 200 * time.Millisecond}[i-1] {
						t.Errorf("waited %s before attempt %d", wait, i+1)
					}
				}
				attempts, err := f.service.Attempts(t.Context(), f.environment.ID, d.ID)
				if err != nil || len(attempts) != test.attempts || string(attempts[0].Body) != "seen" || attempts[0].Headers["location"] == "" {
					t.Errorf("attempts %+v, %v", attempts, err)
				}
				other, err := f.service.Attempts(t.Context(), f.environment.ID+1, d.ID)
				if err != nil || len(other) != 0 {
					t.Errorf("another environment sees %d attempts, %v", len(other), err)
				}
			})
		})
	}
}

func TestTwoEndpointsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		good, bad := newReceiver(t), newReceiver(t, 500, 500, 500)
		f := newOutbound(t, s, good, bad)
		f.set(t, tenant.SettingsUpdate{PrimaryURL: &bad.URL, SecondaryURL: &good.URL})
		failure := &outbound.Failure{Type: "refresh_token_external_error", Description: "The provider refused"}
		if err := f.service.SendAuth(t.Context(), outbound.AuthEvent{Target: f.target(), Operation: outbound.Refresh, AuthMode: "OAUTH2", Failure: failure}); err != nil {
			t.Fatal(err)
		}
		all := f.settled(t, 2)
		if all[0].EventID != all[1].EventID || all[0].ID == all[1].ID {
			t.Errorf("ids %+v", all)
		}
		if len(good.all()) != 1 || len(bad.all()) != 3 {
			t.Errorf("the good endpoint got %d requests, the bad one %d; want 1 and 3", len(good.all()), len(bad.all()))
		}
		want := `{"authMode":"OAUTH2","connectionId":"user-1","environment":"dev","error":{"description":"The provider refused","type":"refresh_token_external_error"},` +
			`"from":"nango","operation":"refresh","provider":"acme-crm","providerConfigKey":"crm","success":false,"type":"auth"}`
		if got := good.all()[0].body; got != want {
			t.Error(cmp.Diff(want, got))
		}
		waitFor(t, func() bool { return slices.Equal(f.log.states()[oplog.WebhookRefresh], []oplog.State{oplog.Failed}) }, "the operation fails when one endpoint does")
	})
}

// waitFor waits for what other goroutines do after the database has changed.
func waitFor(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: " + what)
		}
	}
}

func TestSwitchesAndOverridesDecideWhatIsSentWhere(t *testing.T) {
	t.Parallel()
	creation := outbound.AuthEvent{Operation: outbound.Creation}
	failed := syncEvent(outbound.Target{})
	failed.Failure = &outbound.Failure{Description: "boom"}
	for name, test := range map[string]struct {
		settings tenant.SettingsUpdate
		override bool
		send     func(s *outbound.Service, target outbound.Target) error
		want     int
	}{
		"no URL, nothing": {tenant.SettingsUpdate{PrimaryURL: new("")}, false, sendAuth(creation), 0},
		"creation on":     {tenant.SettingsUpdate{}, false, sendAuth(creation), 1},
		"creation off":    {tenant.SettingsUpdate{OnAuthCreation: new(false)}, false, sendAuth(creation), 0},
		"override has no switch": {
			tenant.SettingsUpdate{OnAuthCreation: new(false), OnAuthRefreshError: new(false)}, false, sendAuth(outbound.AuthEvent{Operation: outbound.Override}), 1,
		},
		"refresh off":            {tenant.SettingsUpdate{OnAuthRefreshError: new(false)}, false, sendAuth(outbound.AuthEvent{Operation: outbound.Refresh}), 0},
		"empty models too":       {tenant.SettingsUpdate{}, false, sendSync(syncEvent(outbound.Target{})), 2},
		"not for empty models":   {tenant.SettingsUpdate{OnSyncCompletionAlways: new(false)}, false, sendSync(syncEvent(outbound.Target{})), 1},
		"one for a failed run":   {tenant.SettingsUpdate{}, false, sendSync(failed), 1},
		"failed runs off":        {tenant.SettingsUpdate{OnSyncError: new(false)}, false, sendSync(failed), 0},
		"the connection's URL":   {tenant.SettingsUpdate{PrimaryURL: new("")}, true, sendAuth(creation), 1},
		"the same URL only once": {tenant.SettingsUpdate{SecondaryURL: new("primary")}, false, sendAuth(creation), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newReceiver(t)
			f := newOutbound(t, storetest.Open(t, storetest.SQLite(t)), app)
			f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
			if u := test.settings.SecondaryURL; u != nil && *u == "primary" {
				test.settings.SecondaryURL = &app.URL
			}
			f.set(t, test.settings)
			target := f.target()
			if test.override {
				target.URLOverride = app.URL
			}
			if err := test.send(f.service, target); err != nil {
				t.Fatal(err)
			}
			f.settled(t, test.want)
			if got := len(app.all()); got != test.want {
				t.Errorf("%d webhooks, want %d", got, test.want)
			}
		})
	}
}

func sendAuth(e outbound.AuthEvent) func(*outbound.Service, outbound.Target) error {
	return func(s *outbound.Service, target outbound.Target) error {
		e.Target = target
		return s.SendAuth(context.Background(), e)
	}
}

func sendSync(e outbound.SyncEvent) func(*outbound.Service, outbound.Target) error {
	return func(s *outbound.Service, target outbound.Target) error {
		e.Target = target
		return s.SendSync(context.Background(), e)
	}
}

func TestAnEventThatIsRolledBackIsNotSent(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		app := newReceiver(t)
		f := newOutbound(t, s, app)
		f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
		stop := errors.New("stop")
		err := s.Write(t.Context(), func(ctx context.Context) error {
			if err := f.service.SendSync(ctx, syncEvent(f.target())); err != nil {
				return err
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		if err := f.service.SendAuth(t.Context(), outbound.AuthEvent{Target: f.target(), Operation: outbound.Override}); err != nil {
			t.Fatal(err)
		}
		f.settled(t, 1)
		if got := app.all(); len(got) != 1 || !strings.Contains(got[0].body, `"override"`) {
			t.Errorf("sent: %v", got)
		}
		if len(f.log.states()[oplog.WebhookSync]) != 0 {
			t.Error("the rolled back event is in the log")
		}
	})
}

func TestAPrivateAddressIsRefusedAndTheDeliveryFails(t *testing.T) {
	t.Parallel()
	app := newReceiver(t)
	f := newOutbound(t, storetest.Open(t, storetest.SQLite(t))) // the policy opens nothing
	f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
	if err := f.service.SendAuth(t.Context(), outbound.AuthEvent{Target: f.target(), Operation: outbound.Creation}); err != nil {
		t.Fatal(err)
	}
	d := f.settled(t, 1)[0]
	attempts, err := f.service.Attempts(t.Context(), f.environment.ID, d.ID)
	if err != nil || d.State != outbound.Failed || !strings.Contains(attempts[0].Error, "outbound policy") || len(app.all()) != 0 {
		t.Errorf("%s, %+v, %v, %d requests", d.State, attempts, err, len(app.all()))
	}
}

func TestAReplayKeepsIdsAndBytes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		app := newReceiver(t, 500, 500, 500)
		f := newOutbound(t, s, app)
		f.set(t, tenant.SettingsUpdate{PrimaryURL: &app.URL})
		if err := f.service.SendAuth(t.Context(), outbound.AuthEvent{Target: f.target(), Operation: outbound.Creation}); err != nil {
			t.Fatal(err)
		}
		d := f.settled(t, 1)[0]
		if err := f.service.Replay(t.Context(), f.environment.ID+1, d.ID); !errors.Is(err, outbound.ErrNotFound) {
			t.Errorf("another environment replays: %v", err)
		}
		if err := f.service.Replay(t.Context(), f.environment.ID, d.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return len(app.all()) == 4 }, "a fourth request")
		if again := f.settled(t, 1)[0]; again.State != outbound.Succeeded || again.ID != d.ID {
			t.Errorf("%+v", again)
		}
		got := app.all()
		if got[3].body != got[0].body || got[3].header.Get("Patchbay-Event-Id") != d.EventID {
			t.Error("the replay differs")
		}
	})
}
