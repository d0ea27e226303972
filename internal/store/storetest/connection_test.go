package storetest_test

import (
	"sync"
	"testing"
	"testing/fstest"
	"time"

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
	p := &platform{store: s, vault: v, clock: c, catalog: catalog}
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
