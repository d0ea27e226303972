package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/refresh"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

// rotating is a token endpoint whose refresh tokens work once.
type rotating struct {
	clock *clock
	// answering is waited for in each call.
	answering func()

	mu    sync.Mutex
	calls int
	valid string
}

func (r *rotating) Refresh(_ context.Context, _ oauth.Party, refreshToken secret.Text) (oauth.Token, error) {
	if r.answering != nil {
		r.answering()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if refreshToken.Reveal() != r.valid {
		return oauth.Token{}, &oauth.Refused{Status: 400, Code: "invalid_grant", Permanent: true}
	}
	r.valid = fmt.Sprintf("refresh-%d", r.calls)
	return oauth.Token{
		Access: secret.New(fmt.Sprintf("access-%d", r.calls)), Refresh: secret.New(r.valid), ExpiresAt: r.clock.Now().Add(time.Hour),
		Raw: json.RawMessage(`{"account_id":"acc_1"}`),
	}, nil
}

func (r *rotating) ClientCredentials(context.Context, oauth.Party, oauth.ClientCredentials) (oauth.Token, error) {
	return oauth.Token{}, errors.New("not asked for")
}

// quiet keeps no operations.
type quiet struct{}

func (quiet) Save(context.Context, oplog.Record) error                    { return nil }
func (quiet) Append(context.Context, oplog.Record, []oplog.Message) error { return nil }
func (quiet) Load(context.Context, int64, string) (oplog.Record, error) {
	return oplog.Record{}, errors.New("nothing is kept")
}

func (p *platform) coordinator(client refresh.OAuthClient, wait func(context.Context, time.Duration) error) *refresh.Coordinator {
	return refresh.New(refresh.Options{
		Store: p.store.Refreshes(), Tx: p.store, Connections: p.connections, Integrations: p.integrations, Catalog: p.catalog,
		Log: oplog.New(oplog.Options{Writer: quiet{}}), Renewers: map[provider.AuthMode]refresh.Renewer{provider.OAuth2: refresh.RefreshGrant{Client: client}},
		Now: p.clock.Now, Wait: wait,
	})
}

// expiring imports a connection whose token ends in a minute and is renewed with refresh-0.
func (p *platform) expiring(t testing.TB) *connection.Connection {
	t.Helper()
	return p.importOAuth(t, "c1", map[string]any{"access_token": "access-0", "refresh_token": "refresh-0", "expires_at": p.clock.Now().Add(time.Minute)})
}

func TestOneRefreshForManyCallersOnSeveralNodes(t *testing.T) {
	t.Parallel()
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		const nodes, callers = 3, 200
		master, c := newMasterKey(), newClock()
		var all []*platform
		shared := storetest.Open(t, opts)
		for i := range nodes {
			s := shared
			// SQLite has one process; PostgreSQL gets a pool for each node.
			if i > 0 && s.Postgres() {
				s = storetest.Open(t, opts)
			}
			all = append(all, newPlatform(t, s, master, c))
		}
		all[0].setUp(t)
		stale := all[0].expiring(t)

		var asked sync.WaitGroup
		asked.Add(nodes * callers)
		answered := make(chan struct{})
		endpoint := &rotating{clock: c, valid: "refresh-0", answering: func() { asked.Wait(); close(answered) }}
		wait := func(ctx context.Context, _ time.Duration) error {
			select {
			case <-answered:
				runtime.Gosched()
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		var group errgroup.Group
		for _, p := range all {
			k := p.coordinator(endpoint, wait)
			for range callers {
				group.Go(func() error {
					asked.Done()
					fresh, err := k.Ensure(t.Context(), all[0].acme, stale, false)
					if err != nil {
						return err
					}
					if got := fresh.Credentials.Text("access_token"); got != "access-1" {
						return fmt.Errorf("a caller got %s", got)
					}
					return nil
				})
			}
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if endpoint.calls != 1 {
			t.Errorf("%d token calls for one expiry", endpoint.calls)
		}
		stored := all[0].get(t, "c1")
		if stored.Version != 2 || stored.Credentials.Text("refresh_token") != "refresh-1" {
			t.Errorf("stored version %d, %s", stored.Version, stored.Credentials.Text("refresh_token"))
		}
	})
}

func TestRefreshLeases(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c := p.expiring(t)
		r, ctx, now := s.Refreshes(), t.Context(), p.clock.Now()
		lease := func(owner string, at time.Time) bool {
			t.Helper()
			ok, err := r.Lease(ctx, c.EnvironmentID, c.ID, owner, at, at.Add(25*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !lease("a", now) || lease("b", now.Add(24*time.Second)) || lease("a", now) {
			t.Error("a lease is not exclusive")
		}
		if !lease("b", now.Add(25*time.Second)) {
			t.Error("a lease does not end")
		}
		if err := r.Release(ctx, c.EnvironmentID, c.ID, "a"); err != nil || lease("c", now.Add(26*time.Second)) {
			t.Errorf("a loses what it no longer has, and b with it: %v", err)
		}
		if err := r.Release(ctx, c.EnvironmentID, c.ID, "b"); err != nil || !lease("c", now.Add(26*time.Second)) {
			t.Errorf("a release does not free: %v", err)
		}
		if ok, err := r.Lease(ctx, c.EnvironmentID+1, c.ID, "d", now.Add(time.Hour), now.Add(2*time.Hour)); err != nil || ok {
			t.Errorf("another environment leases: %t, %v", ok, err)
		}
	})
}

func TestRefreshOutcomesAreConditional(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c := p.expiring(t)
		r, ctx, now := s.Refreshes(), t.Context(), p.clock.Now()
		if ok, err := r.Lease(ctx, c.EnvironmentID, c.ID, "a", now, now.Add(25*time.Second)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		next := *c
		next.Version++
		next.Credentials = oauthCredentials(t, map[string]any{"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": now.Add(time.Hour)})
		next.Config = json.RawMessage(`{"domain":"new"}`)
		seal := func(c connection.Connection) connection.Stored {
			t.Helper()
			stored, err := p.connections.Seal(c)
			if err != nil {
				t.Fatal(err)
			}
			return stored
		}
		expect := func(what string, want bool, ok bool, err error) {
			t.Helper()
			if err != nil || ok != want {
				t.Errorf("%s: %t, %v", what, ok, err)
			}
		}
		save := func(c connection.Connection, owner string) (bool, error) { return r.Save(ctx, seal(c), owner) }

		failed := *c
		failed.Refresh = connection.RefreshState{Failures: 3, LastFailure: now, NeedsReconnect: true, Code: "code", Message: "text"}
		wrongVersion, wrongEnvironment := failed, failed
		wrongVersion.Version++
		wrongEnvironment.EnvironmentID++
		ok, err := r.Fail(ctx, failed, "b")
		expect("a failure of somebody without the lease", false, ok, err)
		ok, err = r.Fail(ctx, wrongVersion, "a")
		expect("a failure of another version", false, ok, err)
		ok, err = r.Fail(ctx, wrongEnvironment, "a")
		expect("a failure from another environment", false, ok, err)
		ok, err = r.Fail(ctx, failed, "a")
		expect("a failure", true, ok, err)
		if diff := cmp.Diff(failed.Refresh, p.get(t, "c1").Refresh); diff != "" {
			t.Error(diff)
		}
		ok, err = r.Fail(ctx, failed, "a")
		expect("a second failure under a lease that was given back", false, ok, err)

		if ok, err := r.Lease(ctx, c.EnvironmentID, c.ID, "a", now, now.Add(25*time.Second)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		ok, err = save(next, "b")
		expect("credentials of somebody without the lease", false, ok, err)
		tooNew := next
		tooNew.Version++
		ok, err = save(tooNew, "a")
		expect("credentials of another version", false, ok, err)
		ok, err = save(next, "a")
		expect("credentials", true, ok, err)
		got := p.get(t, "c1")
		if got.Version != 2 || got.Credentials.Text("access_token") != "access-1" || string(got.Config) != `{"domain":"new"}` || got.Refresh != (connection.RefreshState{}) {
			t.Errorf("stored %d %s %s %+v", got.Version, got.Credentials.Text("access_token"), got.Config, got.Refresh)
		}

		// A reconnect takes the lease and the version away.
		if ok, err := r.Lease(ctx, c.EnvironmentID, c.ID, "a", now, now.Add(25*time.Second)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		again := p.expiring(t)
		late := *got
		late.Version++
		ok, err = save(late, "a")
		expect("credentials from before a reconnect", false, ok, err)
		if now := p.get(t, "c1"); now.Version != again.Version || now.Credentials.Text("access_token") != "access-0" {
			t.Errorf("the reconnect was overwritten: version %d", now.Version)
		}

		// Without a new configuration the old one stays.
		if ok, err := r.Lease(ctx, c.EnvironmentID, c.ID, "a", now, now.Add(25*time.Second)); err != nil || !ok {
			t.Fatal(ok, err)
		}
		renewed := *again
		renewed.Version++
		stored := seal(renewed)
		stored.SealedConfig = nil
		ok, err = r.Save(ctx, stored, "a")
		expect("credentials alone", true, ok, err)
		if got := p.get(t, "c1"); string(got.Config) != string(again.Config) {
			t.Errorf("configuration %s", got.Config)
		}
	})
}

func TestDueRefreshesAreThoseThatASweepCanHelp(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		now := p.clock.Now()
		token := func(id string, left time.Duration, refreshToken string) *connection.Connection {
			t.Helper()
			return p.importOAuth(t, id, map[string]any{"access_token": "a", "refresh_token": refreshToken, "expires_at": now.Add(left)})
		}
		fetched := map[int64]time.Time{}
		unused := now.Add(-48 * time.Hour)
		p.clock.set(unused) // imports count as a use
		fetched[token("soon", time.Minute, "r").ID] = now
		fetched[token("later", time.Hour, "r").ID] = now
		fetched[token("no refresh token", time.Minute, "").ID] = now
		fetched[p.importOAuth(t, "no expiry", map[string]any{"access_token": "a", "refresh_token": "r"}).ID] = now
		token("unused for long", -25*time.Hour, "r")
		token("unused", time.Minute, "r")
		dead, leased := token("dead", time.Minute, "r"), token("leased", time.Minute, "r")
		fetched[dead.ID], fetched[leased.ID] = now, now
		p.clock.set(now)
		if err := s.Connections().Touch(t.Context(), fetched); err != nil {
			t.Fatal(err)
		}
		r := s.Refreshes()
		for _, c := range []*connection.Connection{dead, leased} {
			if ok, err := r.Lease(t.Context(), c.EnvironmentID, c.ID, "a", now, now.Add(25*time.Second)); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		dead.Refresh = connection.RefreshState{Failures: 1, LastFailure: now, NeedsReconnect: true}
		if ok, err := r.Fail(t.Context(), *dead, "a"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		q := refresh.Query{Modes: []provider.AuthMode{provider.OAuth2}, ExpireBy: now.Add(15 * time.Minute), IdleSince: now.Add(-24 * time.Hour), Now: now, Limit: 1}
		var got []string
		for range 10 {
			batch, err := r.Due(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(batch) == 0 {
				break
			}
			q.After = batch[0]
			c, err := p.connections.GetByID(t.Context(), batch[0].EnvironmentID, batch[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.ConnectionID+" of "+batch[0].IntegrationKey)
		}
		if diff := cmp.Diff([]string{"unused for long of acme", "soon of acme"}, got); diff != "" {
			t.Error(diff)
		}
		q.Modes, q.After = []provider.AuthMode{provider.APIKey}, refresh.Due{}
		if batch, err := r.Due(t.Context(), q); err != nil || len(batch) > 0 {
			t.Errorf("other modes: %v, %v", batch, err)
		}
	})
}

// BenchmarkGetConnection is what every use of a connection pays: read the row, open its secrets, find them fresh.
func BenchmarkGetConnection(b *testing.B) {
	p := ready(b, storetest.Open(b, storetest.SQLite(b)))
	p.importOAuth(b, "c1", map[string]any{
		"access_token": "access-0", "refresh_token": "refresh-0", "expires_at": p.clock.Now().Add(time.Hour),
		"raw": json.RawMessage(`{"access_token":"access-0","refresh_token":"refresh-0","expires_in":3600,"token_type":"Bearer","scope":"a b c"}`),
	})
	k := p.coordinator(&rotating{clock: p.clock}, nil)
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.connections.Get(b.Context(), p.acme, "c1")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := k.Ensure(b.Context(), p.acme, c, false); err != nil {
			b.Fatal(err)
		}
	}
}
