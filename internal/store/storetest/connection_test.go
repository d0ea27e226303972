package storetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

const acmeEntry = `display_name: Acme
categories: [other]
docs: https://docs.example
sources: [{name: RFC 6749, licence: facts}]
confidence: from-vendor-spec
auth_mode: OAUTH2
authorization_url: https://acme.example/authorize
token_url: https://acme.example/token
proxy: {base_url: https://api.acme.example}
`

// platform is the services of integrations and connections over one store.
type platform struct {
	store        *store.Store
	vault        *vault.Vault
	master       secret.Text
	clock        *clock
	catalog      *provider.Catalog
	integrations *integration.Service
	connections  *connection.Service
	// environment and acme, an OAUTH2 integration in it, exist after setUp.
	environment int64
	acme        *integration.Integration
}

func newMasterKey() secret.Text { return vault.GenerateMasterKey() }

func newPlatform(t testing.TB, s *store.Store, master secret.Text, c *clock) *platform {
	t.Helper()
	catalog, err := provider.Load(fstest.MapFS{"acme.yaml": &fstest.MapFile{Data: []byte(acmeEntry)}})
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := vault.Open(t.Context(), vault.Options{MasterKey: master, Store: s.Vault(), Sealed: s.Sealed()})
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{store: s, vault: v, master: master, clock: c, catalog: catalog}
	p.connections = connection.New(connection.Options{Store: s.Connections(), Tx: s, Vault: v, Now: c.Now})
	p.integrations = integration.New(integration.Options{
		Store: s.Integrations(), Tx: s, Hints: s, Vault: v, Catalog: catalog, Deleting: []integration.Deleting{p.connections.DeleteAll}, Now: c.Now,
	})
	t.Cleanup(p.integrations.Close)
	return p
}

// setUp makes the environment and the integration acme.
func (p *platform) setUp(t testing.TB) {
	t.Helper()
	tenants, account := storetest.Tenants(t, p.store, p.vault)
	dev, err := tenants.EnvironmentByName(t.Context(), account.ID, "dev")
	if err != nil {
		t.Fatal(err)
	}
	p.environment = dev.ID
	p.acme = p.create(t, p.environment, "acme")
}

func (p *platform) create(t testing.TB, environmentID int64, key string) *integration.Integration {
	t.Helper()
	i, err := p.integrations.Create(t.Context(), integration.Integration{
		EnvironmentID: environmentID, Key: key, Provider: "acme", Secrets: integration.Secrets{ClientID: "id", ClientSecret: secret.New("client-secret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func ready(t testing.TB, s *store.Store) *platform {
	t.Helper()
	p := newPlatform(t, s, newMasterKey(), newClock())
	p.setUp(t)
	return p
}

func oauthCredentials(t testing.TB, fields map[string]any) connection.Credentials {
	t.Helper()
	credentials, err := connection.NewCredentials(provider.OAuth2, fields)
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

func (p *platform) importOAuth(t testing.TB, id string, fields map[string]any) *connection.Connection {
	t.Helper()
	c, _, err := p.connections.Import(t.Context(), p.acme, connection.Connection{ConnectionID: id, Credentials: oauthCredentials(t, fields)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *platform) get(t testing.TB, id string) *connection.Connection {
	t.Helper()
	c, err := p.connections.Get(t.Context(), p.acme, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectionsKeepWhatTheyWereGiven(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		given := connection.Connection{
			ConnectionID: "c1", Credentials: oauthCredentials(t, map[string]any{"access_token": "a", "refresh_token": "r", "expires_at": p.clock.Now().Add(time.Hour)}),
			Config: json.RawMessage(`{"domain":"x"}`), Metadata: json.RawMessage(`{"big":12345678901234567890}`), Tags: map[string]string{"team": "blue"},
			EndUser:            &connection.EndUser{ID: "u1", Email: new("Ann@Example.com"), Tags: map[string]string{"k": "v"}, Organization: &connection.Organization{ID: "o1"}},
			WebhookURLOverride: "https://app.example/hook",
		}
		stored, operation, err := p.connections.Import(t.Context(), p.acme, given)
		if err != nil || operation != connection.Creation {
			t.Fatal(operation, err)
		}
		for name, got := range map[string]*connection.Connection{"by name": p.get(t, "c1"), "by id": p.byID(t, stored.ID)} {
			if diff := cmp.Diff(stored, got, cmp.Comparer(sameCredentials)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if got.IntegrationKey != "acme" || got.Provider != "acme" || got.Version != 1 || got.UUID == "" || !got.CreatedAt.Equal(p.clock.Now()) {
				t.Errorf("%s: %+v", name, got)
			}
		}
		bare := p.importOAuth(t, "", map[string]any{"access_token": "b"})
		if got := p.get(t, bare.ConnectionID); len(bare.ConnectionID) != 36 || string(got.Config) != "{}" || got.Metadata != nil || got.EndUser != nil {
			t.Errorf("%+v", got)
		}
	})
}

func sameCredentials(a, b connection.Credentials) bool { return string(a.JSON()) == string(b.JSON()) }

func (p *platform) byID(t *testing.T, id int64) *connection.Connection {
	t.Helper()
	c, err := p.connections.GetByID(t.Context(), p.environment, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnImportReplacesAllButTheIdentityAndTheEndUser(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		user := &connection.EndUser{ID: "u1"}
		first, _, err := p.connections.Import(t.Context(), p.acme, connection.Connection{
			ConnectionID: "c1", Credentials: oauthCredentials(t, map[string]any{"access_token": "a"}), Config: json.RawMessage(`{"domain":"x"}`),
			Metadata: json.RawMessage(`{"k":1}`), Tags: map[string]string{"team": "blue"}, EndUser: user, WebhookURLOverride: "https://app.example/hook",
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.connections.SetError(t.Context(), p.environment, first.ID, connection.ActiveError{Type: connection.AuthError, LogID: "l"}); err != nil {
			t.Fatal(err)
		}
		p.clock.set(p.clock.Now().Add(time.Hour))
		second, operation, err := p.connections.Import(t.Context(), p.acme, connection.Connection{
			ConnectionID: "c1", Credentials: oauthCredentials(t, map[string]any{"access_token": "b"}),
		})
		if err != nil || operation != connection.Override {
			t.Fatal(operation, err)
		}
		got := p.get(t, "c1")
		if diff := cmp.Diff(second, got, cmp.Comparer(sameCredentials)); diff != "" {
			t.Error(diff)
		}
		if got.ID != first.ID || got.UUID != first.UUID || got.Version != 2 || !got.CreatedAt.Equal(first.CreatedAt) || cmp.Diff(user, got.EndUser) != "" {
			t.Errorf("the identity changed: %+v", got)
		}
		if got.Metadata != nil || len(got.Tags) != 0 || len(got.Errors) != 0 || string(got.Config) != "{}" || got.WebhookURLOverride != "" || got.Credentials.Text("access_token") != "b" {
			t.Errorf("something of the old one is left: %+v", got)
		}
	})
}

func TestImportsAtATimeMakeOneConnection(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		const imports = 12
		var group errgroup.Group
		operations := make([]connection.Operation, imports)
		credentials := oauthCredentials(t, map[string]any{"access_token": "a"})
		for n := range imports {
			group.Go(func() (err error) {
				_, operations[n], err = p.connections.Import(t.Context(), p.acme, connection.Connection{ConnectionID: "c1", Credentials: credentials})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		created := 0
		for _, operation := range operations {
			if operation == connection.Creation {
				created++
			}
		}
		if got := p.get(t, "c1"); created != 1 || got.Version != imports {
			t.Errorf("%d creations, version %d after %d imports", created, got.Version, imports)
		}
	})
}

func TestChangesAtATimeLoseNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c := p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		p.importOAuth(t, "c2", map[string]any{"access_token": "a"})
		const writers = 8
		var group errgroup.Group
		for n := range writers {
			group.Go(func() error {
				ids := []string{"c1", "c2"}
				if n%2 == 0 {
					ids = []string{"c2", "c1"}
				}
				return p.connections.SetMetadata(t.Context(), p.acme, ids, json.RawMessage(fmt.Sprintf(`{"k%d":%d}`, n, n)), true)
			})
			group.Go(func() error {
				_, err := p.connections.SetError(t.Context(), p.environment, c.ID, connection.ActiveError{Type: connection.SyncError, LogID: "l", Source: fmt.Sprint(n)})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		got := p.get(t, "c1")
		var metadata map[string]int
		if err := json.Unmarshal(got.Metadata, &metadata); err != nil {
			t.Fatal(err)
		}
		if len(metadata) != writers || len(got.Errors) != writers || got.Version != 1 {
			t.Errorf("%v, %d marks, version %d", metadata, len(got.Errors), got.Version)
		}
	})
}

func TestMetadataOfSeveralConnectionsChangesTogether(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		p.importOAuth(t, "c2", map[string]any{"access_token": "a"})
		set := func(ids []string, metadata string, merge bool) error {
			return p.connections.SetMetadata(t.Context(), p.acme, ids, json.RawMessage(metadata), merge)
		}
		if err := set([]string{"c1", "c2"}, `{"a":{"b":1},"c":1}`, false); err != nil {
			t.Fatal(err)
		}
		if err := set([]string{"c1", "absent"}, `{"lost":true}`, false); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if err := set([]string{"c2"}, `{"a":2}`, true); err != nil {
			t.Fatal(err)
		}
		if c1, c2 := string(p.get(t, "c1").Metadata), string(p.get(t, "c2").Metadata); c1 != `{"a":{"b":1},"c":1}` || c2 != `{"a":2,"c":1}` {
			t.Errorf("c1 %s, c2 %s", c1, c2)
		}
	})
}

func TestErrorMarksAreKeptByTypeAndSource(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c := p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		mark := func(kind, source, log string, wantFirst bool) {
			t.Helper()
			first, err := p.connections.SetError(t.Context(), p.environment, c.ID, connection.ActiveError{Type: kind, LogID: log, Source: source})
			if err != nil || first != wantFirst {
				t.Errorf("%s %s: first %t, %v", kind, source, first, err)
			}
		}
		mark(connection.AuthError, "refresh", "l1", true)
		mark(connection.AuthError, "refresh", "l2", false)
		mark(connection.SyncError, "contacts", "l3", true)
		want := []connection.ActiveError{{Type: "auth", LogID: "l2", Source: "refresh"}, {Type: "sync", LogID: "l3", Source: "contacts"}}
		if diff := cmp.Diff(want, p.get(t, "c1").Errors); diff != "" {
			t.Error(diff)
		}
		for _, had := range []bool{true, false} {
			cleared, err := p.connections.ClearError(t.Context(), p.environment, c.ID, connection.AuthError, "refresh")
			if err != nil || cleared != had {
				t.Errorf("cleared %t, %v", cleared, err)
			}
		}
		if _, err := p.connections.SetError(t.Context(), p.environment+1, c.ID, connection.ActiveError{Type: "auth"}); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("another environment marks: %v", err)
		}
		if diff := cmp.Diff(want[1:], p.get(t, "c1").Errors); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConnectionListsAreFiltered(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		other := p.create(t, p.environment, "other")
		add := func(i *integration.Integration, id string, tags map[string]string, user *connection.EndUser) {
			t.Helper()
			p.clock.set(p.clock.Now().Add(time.Second))
			_, _, err := p.connections.Import(t.Context(), i, connection.Connection{
				ConnectionID: id, Credentials: oauthCredentials(t, map[string]any{"access_token": "a"}), Tags: tags, EndUser: user,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		add(p.acme, "one", map[string]string{"team": "blue", "size": "s"}, &connection.EndUser{ID: "u1", Email: new("Ann_B@Example.com"), Organization: &connection.Organization{ID: "o1"}})
		add(p.acme, "two", map[string]string{"team": "blue", "end_user_id": "u2", "end_user_display_name": "Bob 100%"}, nil)
		add(other, "one", map[string]string{"team": "red"}, nil)
		for name, tc := range map[string]struct {
			filter connection.Filter
			want   []string
		}{
			"newest first":               {connection.Filter{}, []string{"other/one", "acme/two", "acme/one"}},
			"by id":                      {connection.Filter{ConnectionID: "one"}, []string{"other/one", "acme/one"}},
			"by integration":             {connection.Filter{Integrations: []string{"acme", "absent"}}, []string{"acme/two", "acme/one"}},
			"search ignores case":        {connection.Filter{Search: "ann_b@EX"}, []string{"acme/one"}},
			"search takes % as it is":    {connection.Filter{Search: "100%"}, []string{"acme/two"}},
			"search takes _ as it is":    {connection.Filter{Search: "o_e"}, nil},
			"by end user":                {connection.Filter{EndUserID: "u1"}, []string{"acme/one"}},
			"by end user from a tag":     {connection.Filter{EndUserID: "u2"}, []string{"acme/two"}},
			"by organization":            {connection.Filter{OrganizationID: "o1"}, []string{"acme/one"}},
			"by a tag":                   {connection.Filter{Tags: map[string]string{"team": "blue"}}, []string{"acme/two", "acme/one"}},
			"all tags must match":        {connection.Filter{Tags: map[string]string{"team": "blue", "size": "s"}}, []string{"acme/one"}},
			"filters combine":            {connection.Filter{Tags: map[string]string{"team": "blue"}, EndUserID: "u2"}, []string{"acme/two"}},
			"a page":                     {connection.Filter{Limit: 1, Offset: 1}, []string{"acme/two"}},
			"a page beyond the last one": {connection.Filter{Limit: 1, Offset: 9}, nil},
		} {
			list, err := p.connections.List(t.Context(), p.environment, tc.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range list {
				got = append(got, c.IntegrationKey+"/"+c.ConnectionID)
				if len(c.Credentials.Values()) != 0 {
					t.Errorf("%s: a list opens credentials", name)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if list, err := p.connections.List(t.Context(), p.environment+1, connection.Filter{}); err != nil || len(list) != 0 {
			t.Errorf("another environment sees %d, %v", len(list), err)
		}
	})
}

func TestPatchesChangeOnlyWhatTheyName(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		patch := func(change connection.Patch) *connection.Connection {
			t.Helper()
			if err := p.connections.Patch(t.Context(), p.acme, "c1", change); err != nil {
				t.Fatal(err)
			}
			return p.get(t, "c1")
		}
		patch(connection.Patch{Tags: map[string]string{"team": "blue"}})
		c := patch(connection.Patch{WebhookURLOverride: new("https://app.example/hook")})
		if c.Tags["team"] != "blue" || c.WebhookURLOverride == "" || c.Version != 1 {
			t.Errorf("%+v", c)
		}
		c = patch(connection.Patch{EndUser: &connection.EndUser{ID: "u1"}})
		if diff := cmp.Diff(map[string]string{"end_user_id": "u1"}, c.Tags); diff != "" {
			t.Error(diff)
		}
		if list, err := p.connections.List(t.Context(), p.environment, connection.Filter{Tags: map[string]string{"team": "blue"}}); err != nil || len(list) != 0 {
			t.Errorf("a tag that is gone still finds: %d, %v", len(list), err)
		}
	})
}

func TestUseIsNotedAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c := p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		later := p.clock.Now().Add(time.Hour)
		for _, at := range []time.Time{later, later.Add(-time.Minute)} {
			if err := s.Connections().Touch(t.Context(), map[int64]time.Time{c.ID: at}); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.get(t, "c1").LastFetchedAt; !got.Equal(later) {
			t.Errorf("last fetched at %s", got)
		}
	})
}

func TestDeletedConnectionsAreGone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		c, _, err := p.connections.Import(t.Context(), p.acme, connection.Connection{
			ConnectionID: "c1", Credentials: oauthCredentials(t, map[string]any{"access_token": "a"}), Tags: map[string]string{"team": "blue"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if deleted, err := s.Connections().Delete(t.Context(), p.environment+1, c.ID); err != nil || deleted {
			t.Errorf("another environment deletes: %t, %v", deleted, err)
		}
		if deleted, err := p.connections.Delete(t.Context(), p.acme, "c1"); err != nil || !deleted {
			t.Errorf("%t, %v", deleted, err)
		}
		if _, err := p.connections.Get(t.Context(), p.acme, "c1"); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := p.connections.Delete(t.Context(), p.acme, "c1"); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		again := p.importOAuth(t, "c1", map[string]any{"access_token": "b"})
		if again.Version != 1 || len(p.get(t, "c1").Tags) != 0 {
			t.Errorf("a new connection remembers the old one: %+v", again)
		}
	})
}
