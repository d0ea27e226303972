package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

func TestIntegrationsKeepWhatTheyWereGiven(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		created, err := p.integrations.Create(t.Context(), integration.Integration{
			EnvironmentID: p.environment, Key: "full", Provider: "acme", DisplayName: "Full", ForwardWebhooks: true,
			Secrets: integration.Secrets{
				ClientID: "id", ClientSecret: secret.New("hidden-secret"), Scopes: "a,b", WebhookSecret: secret.New("hook"), AppID: "1", AppLink: "https://x.example",
				PrivateKey: secret.New("pem"), Config: map[string]string{"region": "eu"}, Custom: map[string]string{"k": "v"},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.integrations.Get(t.Context(), p.environment, "full")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(created, got, sameSecret); diff != "" {
			t.Error(diff)
		}
		stored, err := s.Integrations().Get(t.Context(), p.environment, "full")
		if err != nil || bytes.Contains(stored.Sealed, []byte("hidden-secret")) || len(stored.Sealed) == 0 {
			t.Errorf("secrets lie open, or not at all: %v", err)
		}
		bare, err := p.integrations.Create(t.Context(), integration.Integration{EnvironmentID: p.environment, Key: "bare", Provider: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.integrations.Get(t.Context(), p.environment, "bare"); err != nil || cmp.Diff(bare, got, sameSecret) != "" {
			t.Errorf("%v: %s", err, cmp.Diff(bare, got, sameSecret))
		}
		if _, err := p.integrations.Create(t.Context(), integration.Integration{EnvironmentID: p.environment, Key: "x", Provider: "absent"}); errs.Code(err) != "invalid_body" {
			t.Errorf("an unknown provider: %v", err)
		}
	})
}

func TestIntegrationKeysAreUniqueInTheirEnvironment(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		if _, err := p.integrations.Create(t.Context(), integration.Integration{EnvironmentID: p.environment, Key: "acme", Provider: "acme"}); !errors.Is(err, integration.ErrKeyTaken) {
			t.Errorf("got %v", err)
		}
		prod := p.production(t)
		p.create(t, prod, "acme")
		for environment, id := range map[int64]int64{p.environment: p.acme.ID, prod: 0} {
			got, err := p.integrations.Get(t.Context(), environment, "acme")
			if err != nil || (got.ID == p.acme.ID) != (id != 0) {
				t.Errorf("environment %d: %+v, %v", environment, got, err)
			}
			if list, err := p.integrations.List(t.Context(), environment); err != nil || len(list) != 1 {
				t.Errorf("environment %d lists %d, %v", environment, len(list), err)
			}
		}
		p.create(t, p.environment, "second")
		_, err := p.integrations.Update(t.Context(), p.environment, "second", func(i *integration.Integration) error {
			i.Key = "acme"
			return nil
		})
		if !errors.Is(err, integration.ErrKeyTaken) {
			t.Errorf("a rename to a taken key: %v", err)
		}
	})
}

// production gives the environment prod.
func (p *platform) production(t *testing.T) int64 {
	t.Helper()
	tenants, account := storetest.Tenants(t, p.store, p.vault)
	prod, err := tenants.EnvironmentByName(t.Context(), account.ID, "prod")
	if err != nil {
		t.Fatal(err)
	}
	return prod.ID
}

func TestIntegrationUpdatesAreSeenAtOnceAndOnOtherNodes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		other := newPlatform(t, s, p.master, p.clock)
		other.integrations.Close()
		for _, service := range []*integration.Service{p.integrations, other.integrations} {
			if _, err := service.Get(t.Context(), p.environment, "acme"); err != nil {
				t.Fatal(err)
			}
		}
		p.clock.set(p.clock.Now().Add(time.Second))
		updated, err := p.integrations.Update(t.Context(), p.environment, "acme", func(i *integration.Integration) error {
			i.Key, i.DisplayName, i.Secrets.ClientSecret = "renamed", "New", secret.New("new")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.integrations.Get(t.Context(), p.environment, "renamed")
		if err != nil || cmp.Diff(updated, got, sameSecret) != "" {
			t.Errorf("%v: %s", err, cmp.Diff(updated, got, sameSecret))
		}
		if _, err := p.integrations.Get(t.Context(), p.environment, "acme"); !errors.Is(err, integration.ErrNotFound) {
			t.Errorf("the old key: %v", err)
		}
		// A node that hears nothing forgets after half a minute.
		p.clock.set(p.clock.Now().Add(31 * time.Second))
		if _, err := other.integrations.Get(t.Context(), p.environment, "acme"); !errors.Is(err, integration.ErrNotFound) {
			t.Errorf("the old key on a deaf node: %v", err)
		}
		if _, err := p.integrations.Update(t.Context(), p.environment, "absent", func(*integration.Integration) error { return nil }); !errors.Is(err, integration.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestARenameIsRefusedWhileThereAreConnections(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		p.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		_, err := p.integrations.Update(t.Context(), p.environment, "acme", func(i *integration.Integration) error {
			i.Key = "renamed"
			return nil
		})
		if !errors.Is(err, integration.ErrHasConnections) {
			t.Errorf("got %v", err)
		}
		if got := p.get(t, "c1"); got.IntegrationKey != "acme" {
			t.Errorf("key %s", got.IntegrationKey)
		}
	})
}

func TestDeletingAnIntegrationTakesItsConnectionsAlong(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		p := ready(t, s)
		// More than one batch of DeleteAll.
		err := s.Write(t.Context(), func(ctx context.Context) error {
			for n := range 1001 {
				stored, err := p.connections.Seal(connection.Connection{
					UUID: fmt.Sprint("uuid-", n), EnvironmentID: p.environment, IntegrationID: p.acme.ID, ConnectionID: fmt.Sprint("c", n), Version: 1, Config: []byte("{}"),
					Credentials: oauthCredentials(t, map[string]any{"access_token": "a"}),
				})
				if err != nil {
					return err
				}
				if _, err := s.Connections().Insert(ctx, stored); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		other := p.create(t, p.environment, "other")
		if _, _, err := p.connections.Import(t.Context(), other, connection.Connection{ConnectionID: "stays", Credentials: oauthCredentials(t, nil)}); err != nil {
			t.Fatal(err)
		}
		if err := p.integrations.Delete(t.Context(), p.environment, "acme"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.integrations.Get(t.Context(), p.environment, "acme"); !errors.Is(err, integration.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		list, err := p.connections.List(t.Context(), p.environment, connection.Filter{})
		if err != nil || len(list) != 1 || list[0].ConnectionID != "stays" {
			t.Errorf("%d connections are left, %v", len(list), err)
		}
		if err := p.integrations.Delete(t.Context(), p.environment+1, "other"); !errors.Is(err, integration.ErrNotFound) {
			t.Errorf("another environment deletes: %v", err)
		}
	})
}
