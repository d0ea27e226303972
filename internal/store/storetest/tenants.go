package storetest

import (
	"net/url"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Vault opens a vault over s under a random master key.
func Vault(t testing.TB, s *store.Store) *vault.Vault {
	t.Helper()
	v, _, err := vault.Open(t.Context(), vault.Options{MasterKey: vault.GenerateMasterKey(), Store: s.Vault(), Sealed: s.Sealed()})
	if err != nil {
		t.Fatalf("open the vault: %v", err)
	}
	return v
}

// Tenants makes a tenant service over s with the default account and its environments dev and prod. Any absolute URL will do
// for it. A nil vault means a new one.
func Tenants(t testing.TB, s *store.Store, v *vault.Vault) (*tenant.Service, tenant.Account) {
	t.Helper()
	if v == nil {
		v = Vault(t, s)
	}
	service, err := tenant.New(tenant.Options{Store: s.Tenants(), Vault: v, URLs: AnyURL{}})
	if err != nil {
		t.Fatalf("tenant service: %v", err)
	}
	account, err := service.Bootstrap(t.Context())
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	return service, account
}

// Environment gives the environment dev of a new default account, for tests whose rows only need one to belong to.
func Environment(t testing.TB, s *store.Store) tenant.Environment {
	t.Helper()
	service, account := Tenants(t, s, nil)
	dev, err := service.EnvironmentByName(t.Context(), account.ID, "dev")
	if err != nil {
		t.Fatalf("environment dev: %v", err)
	}
	return dev
}

// AnyURL is a tenant.URLChecker that allows every URL.
type AnyURL struct{}

// CheckURL implements tenant.URLChecker.
func (AnyURL) CheckURL(raw string) (*url.URL, error) { return url.Parse(raw) }
