package refresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/refresh"
)

func backgrounds() context.Context { return context.Background() }

// within runs a test in a bubble with a world, and fails it for what the world noted.
func within(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	catalog := loadCatalog(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(catalog)
		test(t, w)
		for _, wrong := range w.wrong {
			t.Error(wrong)
		}
		if w.server.reused > 0 {
			t.Errorf("%d refresh tokens were spent twice", w.server.reused)
		}
	})
}

// expect fails unless err is a refusal with this status and code.
func expect(t *testing.T, err error, status int, code string) {
	t.Helper()
	var refusal *errs.Error
	if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func must(t *testing.T) func(c *connection.Connection, err error) *connection.Connection {
	return func(c *connection.Connection, err error) *connection.Connection {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestAFreshTokenIsHandedOutWithoutACall(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		time.Sleep(44 * time.Minute)
		must(t)(n.get(t.Context(), false))
		if w.calls() != 0 {
			t.Fatalf("%d calls for a token with 16 minutes left", w.calls())
		}
		time.Sleep(time.Minute)
		if c := must(t)(n.get(t.Context(), false)); w.calls() != 1 || c.Credentials.Text("access_token") != "access-1" {
			t.Errorf("%d calls for a token with 15 minutes left", w.calls())
		}
	})
}

func TestATokenThatLivesShortlyIsNotRefreshedByEveryRead(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.life, w.server.raw = 10*time.Minute, `{"expires_in":600}`
		must(t)(n.get(t.Context(), true))
		time.Sleep(4 * time.Minute)
		must(t)(n.get(t.Context(), false))
		if w.calls() != 1 {
			t.Errorf("%d calls in 4 of 10 minutes", w.calls())
		}
		time.Sleep(time.Minute)
		must(t)(n.get(t.Context(), false))
		if w.calls() != 2 {
			t.Errorf("%d calls after half its life", w.calls())
		}
	})
}

func TestACallerThatGivesUpDoesNotEndTheRefresh(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.next = []behaviour{{after: 10 * time.Second}}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := n.get(ctx, true); !errors.Is(err, gone) {
				t.Errorf("the caller that gave up got %v", err)
			}
		})
		synctest.Wait()
		both.Go(func() { must(t)(n.get(backgrounds(), true)) })
		synctest.Wait()
		cancel(gone)
		both.Wait()
		if w.calls() != 1 || w.now().Version != 2 {
			t.Errorf("%d calls, version %d", w.calls(), w.now().Version)
		}
	})
}

func TestAForcedRefreshIsSatisfiedByANewerVersion(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		a, b := w.node("a"), w.node("b")
		old, err := b.GetByID(t.Context(), 3, 7)
		if err != nil {
			t.Fatal(err)
		}
		must(t)(a.get(t.Context(), true))
		old.LastFetchedAt = time.Now().Add(time.Hour)
		c := must(t)(b.Ensure(t.Context(), w.integration(), old, true))
		if w.calls() != 1 || c.Version != 2 || !c.LastFetchedAt.Equal(old.LastFetchedAt) {
			t.Errorf("%d calls, version %d, fetched %s", w.calls(), c.Version, c.LastFetchedAt)
		}
		must(t)(b.get(t.Context(), true)) // who has the newest means it
		if w.calls() != 2 {
			t.Errorf("%d calls", w.calls())
		}
	})
}

func TestWithoutARefreshTokenNothingIsDone(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		w.row.Credentials = grant("access-0", "", time.Now())
		n := w.node("a")
		time.Sleep(time.Hour)
		for _, force := range []bool{false, true} {
			if c := must(t)(n.get(t.Context(), force)); c.Credentials.Text("access_token") != "access-0" {
				t.Errorf("force %t: %s", force, c.Credentials.Text("access_token"))
			}
		}
		if w.calls() != 0 {
			t.Errorf("%d calls", w.calls())
		}
	})
}

func TestAnOutageBacksOffAndIsToldOnce(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		for range 12 {
			w.server.next = append(w.server.next, behaviour{outage: true})
		}
		time.Sleep(50 * time.Minute)
		if c := must(t)(n.get(t.Context(), false)); c.Credentials.Text("access_token") != "access-0" || w.calls() != 1 {
			t.Errorf("a token that still works is not handed out: %d calls", w.calls())
		}
		must(t)(n.get(t.Context(), false))
		_, err := n.get(t.Context(), true)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		if w.calls() != 2 {
			t.Errorf("%d calls in the first pause", w.calls())
		}
		time.Sleep(11 * time.Minute)
		_, err = n.get(t.Context(), false)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		_, err = n.get(t.Context(), false)
		expect(t, err, http.StatusFailedDependency, "connection_refresh_backoff")
		if !strings.Contains(err.Error(), "2m0s") || w.calls() != 3 {
			t.Errorf("%d calls; %v", w.calls(), err)
		}
		// Pauses from now on: 2, 4, 8, 16, 32 minutes, then an hour each.
		start := time.Now()
		for range 180 {
			time.Sleep(time.Minute)
			_, _ = n.get(t.Context(), false)
		}
		if w.calls() != 9 {
			t.Errorf("%d calls after %s", w.calls(), time.Since(start))
		}
		if diff := cmp.Diff([]string{"failed with refresh_token_external_error"}, w.told()); diff != "" {
			t.Error(diff)
		}
		if e := w.now().Errors; len(e) != 1 || e[0].Type != connection.AuthError || w.records[e[0].LogID].State != oplog.Failed {
			t.Errorf("mark %+v", e)
		}

		w.server.next = nil
		time.Sleep(time.Hour)
		must(t)(n.get(t.Context(), false))
		if diff := cmp.Diff([]string{"failed with refresh_token_external_error", "recovered"}, w.told()); diff != "" {
			t.Error(diff)
		}
		if r := w.now(); len(r.Errors) != 0 || r.Refresh != (connection.RefreshState{}) {
			t.Errorf("after the recovery: %+v %+v", r.Errors, r.Refresh)
		}
		states := w.ended()
		if len(states) != 10 || states[9] != oplog.Success {
			t.Errorf("operations %v", states)
		}
		time.Sleep(time.Hour)
		must(t)(n.get(t.Context(), false))
		if got := len(w.ended()); got != 10 {
			t.Errorf("a plain success is an operation: %d", got)
		}
	})
}

func TestARevokedGrantDiesAtOnceAndIsToldOnce(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.valid = "revoked"
		time.Sleep(50 * time.Minute)
		_, err := n.get(t.Context(), false)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		for range 3 {
			_, err = n.get(t.Context(), false)
			expect(t, err, http.StatusFailedDependency, "connection_refresh_exhausted")
		}
		if w.calls() != 1 {
			t.Errorf("%d calls", w.calls())
		}
		_, err = n.get(t.Context(), true)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		if diff := cmp.Diff([]string{"died of refresh_token_external_error"}, w.told()); diff != "" {
			t.Error(diff)
		}
		w.reconnect()
		must(t)(n.get(t.Context(), false))
		if w.calls() != 2 {
			t.Errorf("%d calls", w.calls())
		}
	})
}

func TestAnIntegrationWhoseClientIsRefusedKillsNoConnection(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.next = []behaviour{{refused: "invalid_client"}}
		_, err := n.get(t.Context(), true)
		if w.now().Refresh.NeedsReconnect || !strings.Contains(err.Error(), "client id and secret") {
			t.Errorf("%v", err)
		}
		w.row.Credentials, _ = w.row.Credentials.With(map[string]any{"config_override": map[string]string{"client_id": "own", "client_secret": "own"}})
		w.server.next = []behaviour{{refused: "invalid_client"}}
		if _, err = n.get(t.Context(), true); err == nil || !w.now().Refresh.NeedsReconnect {
			t.Errorf("a connection with a client of its own lives on: %v", err)
		}
	})
}

func TestAReconnectDuringTheCallWins(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]string{"over new tokens": "", "over invalid_grant": "invalid_grant"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			within(t, func(t *testing.T, w *world) {
				n := w.node("a")
				w.server.next = []behaviour{{refused: refused, after: time.Second, during: w.reconnect}}
				c := must(t)(n.get(t.Context(), true))
				r := w.now()
				if c.Version != 2 || r.Version != 2 || r.Credentials.Text("refresh_token") != "refresh-r1" || r.Refresh.NeedsReconnect {
					t.Errorf("version %d, stored %d %s dead %t", c.Version, r.Version, r.Credentials.Text("refresh_token"), r.Refresh.NeedsReconnect)
				}
				if diff := cmp.Diff([]string{"reconnected"}, w.told()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAConnectionDeletedDuringTheCallIsNotFound(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.next = []behaviour{{during: func() {
			w.mu.Lock()
			w.gone = true
			w.mu.Unlock()
		}}}
		if _, err := n.get(t.Context(), true); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestANodeThatDiesIsSucceededWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		// Node a gets the answer and never writes it.
		a, b := w.node("a"), w.node("b")
		w.failWrite = func(name string) bool { return name == "a" && w.server.calls > 0 }
		var dying sync.WaitGroup
		dying.Go(func() { _, _ = a.get(backgrounds(), true) })
		synctest.Wait()
		// This provider tolerates the one reuse that can't be helped.
		w.lock(func() { w.server.valid = "refresh-0" })
		start := time.Now()
		c := must(t)(b.get(t.Context(), true))
		if waited := time.Since(start); waited < 24*time.Second || waited > 26*time.Second || c.Version != 2 || w.calls() != 2 {
			t.Errorf("after %s: version %d, %d calls", waited, c.Version, w.calls())
		}
		dying.Wait()
	})
}

func TestANodeThatWasTooSlowSavesWhatItGot(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		// Node a is cut off from the database after its call, until node b has taken over and was refused.
		a, b := w.node("a"), w.node("b")
		w.failWrite = func(name string) bool {
			return name == "a" && w.server.calls == 1 && time.Since(w.row.until) < time.Second
		}
		var slow sync.WaitGroup
		slow.Go(func() {
			if c := must(t)(a.get(backgrounds(), true)); c.Credentials.Text("access_token") != "access-1" {
				t.Errorf("a got %s", c.Credentials.Text("access_token"))
			}
		})
		synctest.Wait()
		w.lock(func() { w.server.next = []behaviour{{refused: "invalid_grant", after: 5 * time.Second}} })
		_, err := b.get(t.Context(), true)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		slow.Wait()
		if r := w.now(); r.Credentials.Text("refresh_token") != "refresh-1" || r.Refresh.NeedsReconnect {
			t.Errorf("stored %s, dead %t", r.Credentials.Text("refresh_token"), r.Refresh.NeedsReconnect)
		}
		if diff := cmp.Diff([]string{"died of refresh_token_external_error", "recovered"}, w.told()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFailureIsSharedWithWhoWaitsOnAnotherNode(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		w.server.next = []behaviour{{outage: true, after: 5 * time.Second}}
		var callers sync.WaitGroup
		for _, n := range []*node{w.node("a"), w.node("b")} {
			callers.Go(func() {
				_, err := n.get(backgrounds(), true)
				expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
			})
		}
		callers.Wait()
		if w.calls() != 1 {
			t.Errorf("%d calls into an outage", w.calls())
		}
	})
}

func TestACallerIsNotToldOfFaultsFromBeforeItsVersion(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		failed := 0 // all that the first caller's flight tries, then no more
		w.failWrite = func(string) bool {
			if w.server.calls > 0 {
				failed++
			}
			return failed > 0 && failed <= 32
		}
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := n.get(backgrounds(), true); !errors.Is(err, errDown) {
				t.Errorf("got %v", err)
			}
		})
		time.Sleep(time.Second)
		w.reconnect()
		if c := must(t)(n.get(backgrounds(), true)); c.Version != 3 {
			t.Errorf("version %d", c.Version)
		}
		first.Wait()
	})
}

func TestACallThatBeginsLateHasItsWholeTime(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		w.row.owner, w.row.until = "dead node", time.Now().Add(119*time.Second)
		w.server.next = []behaviour{{after: 15 * time.Second}}
		if c := must(t)(w.node("a").get(t.Context(), true)); c.Version != 2 || w.calls() != 1 {
			t.Errorf("version %d after %d calls", c.Version, w.calls())
		}
	})
}

func TestADatabaseThatFailsForAWhileLosesNoGrant(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		start := time.Now()
		w.failWrite = func(string) bool { return w.server.calls > 0 && time.Since(start) < 15*time.Second }
		must(t)(n.get(t.Context(), true))
		if r := w.now(); r.Credentials.Text("refresh_token") != "refresh-1" || w.calls() != 1 {
			t.Errorf("stored %s after %d calls", r.Credentials.Text("refresh_token"), w.calls())
		}
	})
}

func TestAnObserverThatFailsLosesNoGrant(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.next = []behaviour{{outage: true}}
		_, err := n.get(t.Context(), true)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		w.failTold = true
		must(t)(n.get(t.Context(), true))
		if r := w.now(); r.Credentials.Text("refresh_token") != "refresh-1" {
			t.Errorf("stored %s", r.Credentials.Text("refresh_token"))
		}
	})
}

func TestTokenResponseMetadataIsAppliedAgain(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		w.server.raw = `{"account":{"id":"acc_2"},"admin":true,"count":3,"other":"x"}`
		c := must(t)(n.get(t.Context(), true))
		for _, config := range []json.RawMessage{c.Config, w.now().Config} {
			if want := `{"account.id":"acc_2","admin":true,"own":"value"}`; string(config) != want {
				t.Errorf("got %s, want %s", config, want)
			}
		}
		if raw, _ := json.Marshal(c.Credentials.Values()["raw"]); !strings.Contains(string(raw), `"other":"x"`) {
			t.Errorf("raw is %s", raw)
		}
	})
}

func TestClientCredentialsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		var err error
		w.row.Credentials, err = connection.NewCredentials(provider.OAuth2CC, map[string]any{
			"token": "old", "client_id": "mine", "client_secret": "hidden", "expires_at": time.Now().Add(time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.row.Config = json.RawMessage(`{"oauth_scopes":"read, write"}`)
		c := must(t)(n.get(t.Context(), false))
		if diff := cmp.Diff([]string{"asked for [read write] as mine"}, w.told()); diff != "" {
			t.Error(diff)
		}
		if got := c.Credentials; got.Mode() != provider.OAuth2CC || got.Text("token") != "client-token" || got.Text("client_secret") != "hidden" {
			t.Errorf("%v %v", got.Mode(), got.Text("token"))
		}
	})
}

// renewFunc is a Renewer that always fails somehow.
type renewFunc func() error

func (renewFunc) Renewable(*connection.Connection) bool { return true }

func (f renewFunc) Renew(context.Context, *integration.Integration, *provider.Provider, *connection.Connection) (refresh.Renewal, error) {
	return refresh.Renewal{}, f()
}

func TestAFaultyRenewerHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a", func(o *refresh.Options) {
			o.Renewers = map[provider.AuthMode]refresh.Renewer{provider.OAuth2: renewFunc(func() error { panic("fault") })}
		})
		if _, err := n.get(t.Context(), true); err == nil || errs.Code(err) != "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheLogOfAFailureHoldsNoSecret(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a", func(o *refresh.Options) {
			o.Renewers = map[provider.AuthMode]refresh.Renewer{provider.OAuth2: renewFunc(func() error {
				return &refresh.RenewalError{Code: "refresh_token_external_error", Message: "echo refresh-0 access-0 client-secret"}
			})}
		})
		_, err := n.get(t.Context(), true)
		expect(t, err, http.StatusBadRequest, "refresh_token_external_error")
		text := fmt.Sprintf("%+v", w.messages)
		for _, secret := range []string{"refresh-0", "access-0", "client-secret"} {
			if strings.Contains(text, secret) {
				t.Errorf("the log holds %s", secret)
			}
		}
		if !strings.Contains(text, "echo") {
			t.Errorf("the log does not tell what happened: %s", text)
		}
	})
}

func TestStopWaitsForTheCallAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		n := w.node("a")
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.server.next = []behaviour{{after: 10 * time.Second}}
		var caller sync.WaitGroup
		caller.Go(func() { must(t)(n.get(backgrounds(), true)) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Stop(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop did not wait: %v", err)
		}
		for range 2 {
			if err := n.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if w.now().Version != 2 {
			t.Error("stop ended a call that was under way")
		}
		caller.Wait()
		time.Sleep(50 * time.Minute)
		if c := must(t)(n.get(t.Context(), false)); c.Version != 2 {
			t.Errorf("version %d", c.Version)
		}
		time.Sleep(time.Hour)
		if _, err := n.get(t.Context(), false); !errors.Is(err, lifecycle.ErrStopping) {
			t.Errorf("after stop: %v", err)
		}
	})
}

func TestTheSweepKeepsWhatIsUsedFreshAndExercisesTheRest(t *testing.T) {
	t.Parallel()
	within(t, func(t *testing.T, w *world) {
		a, b := w.node("a"), w.node("b")
		w.early = 2 * time.Minute
		w.row.LastFetchedAt = time.Now()
		for _, n := range []*node{a, b} {
			if err := n.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(42 * time.Minute)
		if w.calls() != 0 {
			t.Errorf("%d calls with 18 minutes left", w.calls())
		}
		time.Sleep(2 * time.Minute)
		if w.calls() != 1 {
			t.Errorf("%d calls of two nodes with 16 minutes left", w.calls())
		}
		// It is used for a day, then not any more: a refresh about every 43 minutes, then one 24 hours after each expiry.
		time.Sleep(24 * time.Hour)
		used := w.calls()
		if used < 30 || used > 36 {
			t.Errorf("%d calls in a day of use", used)
		}
		time.Sleep(75 * time.Hour)
		if unused := w.calls() - used; unused != 3 {
			t.Errorf("%d calls in three days without use", unused)
		}
		w.lock(func() { w.server.valid = "revoked" })
		time.Sleep(200 * time.Hour)
		if diff := cmp.Diff([]string{"died of refresh_token_external_error"}, w.told()); diff != "" {
			t.Error(diff)
		}
		for _, n := range []*node{a, b} {
			if err := n.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
