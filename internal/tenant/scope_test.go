package tenant_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

func ofEnvironment(scopes ...string) *tenant.Principal {
	return &tenant.Principal{Account: tenant.Account{ID: 1}, Environment: tenant.Environment{ID: 2, AccountID: 1}, Scopes: scopes}
}

func ofAccount(scopes ...string) *tenant.Principal {
	return &tenant.Principal{Account: tenant.Account{ID: 1}, Scopes: scopes}
}

func TestScopesAllowWhatTheyName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who      *tenant.Principal
		required string
		want     bool
	}{
		{ofEnvironment("environment:*"), tenant.ScopeProxy, true},
		{ofEnvironment("environment:*"), tenant.ScopeSyncsVariantDelete, true},
		{ofEnvironment("environment:connections:read"), tenant.ScopeConnectionsRead, true},
		{ofEnvironment("environment:connections:read"), tenant.ScopeConnectionsReadCredentials, false},
		{ofEnvironment("environment:connections:*"), tenant.ScopeConnectionsReadCredentials, true},
		{ofEnvironment("environment:connections:*"), tenant.ScopeConnectSessionsWrite, false},
		{ofEnvironment("environment:syncs:*"), tenant.ScopeSyncsVariantCreate, true},
		{ofEnvironment("environment:records:read", "environment:proxy"), tenant.ScopeProxy, true},
		{ofEnvironment("environment:records:*"), "environment:records", false},
		{ofEnvironment("environment:conn*"), tenant.ScopeConnectionsRead, false}, // the star stands for whole parts only
		{ofEnvironment("*"), tenant.ScopeProxy, false},
		{ofEnvironment(), tenant.ScopeProxy, false},
		{ofEnvironment("account:*"), tenant.ScopeEnvironmentsCreate, false}, // whatever it was granted
		{ofAccount("account:*"), tenant.ScopeEnvironmentsCreate, true},
		{ofAccount("account:environments:*"), tenant.ScopeAPIKeysRead, true},
		{ofAccount("account:environments:api_keys:*"), tenant.ScopeEnvironmentsList, false},
		{ofAccount("account:*", "environment:*"), tenant.ScopeProxy, false},
	} {
		if got := c.who.Allows(c.required); got != c.want {
			t.Errorf("%v allows %s = %v, want %v", c.who.Scopes, c.required, got, c.want)
		}
	}
}

func TestRequireNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	who := ofEnvironment(tenant.ScopeRecordsRead)
	if err := who.Require(tenant.ScopeProxy, tenant.ScopeRecordsRead); err != nil {
		t.Errorf("one of two is enough: %v", err)
	}
	err := who.Require(tenant.ScopeConnectionsRead, tenant.ScopeConnectionsReadCredentials)
	var shown *errs.Error
	if !errors.As(err, &shown) || shown.Code != "forbidden" || shown.Status != http.StatusForbidden || shown.Legacy ||
		!strings.HasSuffix(shown.Message, tenant.ScopeConnectionsRead+" or "+tenant.ScopeConnectionsReadCredentials) {
		t.Errorf("%+v, want a 403 that names both", err)
	}
	if err := ofAccount("account:*").RequireEnvironment(); errs.Code(err) != "forbidden" {
		t.Errorf("an account key where an environment is needed: %v", err)
	}
	if err := who.RequireEnvironment(); err != nil {
		t.Error(err)
	}
}

// TestOnlyKnownScopesAreGranted draws scopes and checks them against the list, one by one.
func TestOnlyKnownScopesAreGranted(t *testing.T) {
	t.Parallel()
	service := newService(t, newFakeStore(t), nil)
	dev := tenant.Owner{AccountID: 1, EnvironmentID: 1}
	for _, ofAccount := range []bool{false, true} {
		owner, other := dev, tenant.Owner{AccountID: 1}
		if ofAccount {
			owner, other = other, owner
		}
		known := tenant.KnownScopes(ofAccount)
		rapid.Check(t, func(t *rapid.T) {
			scope := rapid.SampledFrom(known).Draw(t, "scope")
			parts := strings.Split(scope, ":")
			wild := strings.Join(parts[:rapid.IntRange(1, len(parts)-1).Draw(t, "parts")], ":") + ":*"
			for _, good := range []string{scope, wild} {
				if _, _, err := service.CreateKey(t.Context(), owner, tenant.NewKey{DisplayName: good + rapid.StringMatching(`[a-z]{12}`).Draw(t, "name"), Scopes: []string{good}}); errs.Code(err) != "" && errs.Code(err) != "conflict" {
					t.Fatalf("%s: %v", good, err)
				}
			}
			for _, bad := range []string{scope + "x", scope + ":*", strings.TrimSuffix(wild, ":*"), strings.TrimSuffix(wild, ":*")[1:] + ":*", "*", "", " " + scope} {
				if slices.Contains(known, bad) {
					continue
				}
				var shown *errs.Error
				_, _, err := service.CreateKey(t.Context(), owner, tenant.NewKey{DisplayName: "x", Scopes: []string{tenant.KnownScopes(ofAccount)[0], bad}})
				if !errors.As(err, &shown) || shown.Code != "invalid_body" || len(shown.Issues) != 1 || !slices.Equal(shown.Issues[0].Path, []string{"scopes", "1"}) {
					t.Fatalf("%q: %v, want invalid_body at scopes.1", bad, err)
				}
			}
			if _, _, err := service.CreateKey(t.Context(), other, tenant.NewKey{DisplayName: "x", Scopes: []string{scope}}); errs.Code(err) != "invalid_body" {
				t.Fatalf("%s for the other kind of key: %v", scope, err)
			}
		})
	}
	if _, _, err := service.CreateKey(t.Context(), dev, tenant.NewKey{DisplayName: "x", Scopes: []string{tenant.ScopeProxy, tenant.ScopeProxy}}); errs.Code(err) != "invalid_body" {
		t.Errorf("a scope twice: %v", err)
	}
}
