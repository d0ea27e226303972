package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
	"github.com/patchbay-dev/patchbay/internal/vault/vaulttest"
)

// fakeStore has one account with one environment, dev, and its keys in memory. What else a Store can do is not there: the
// tests over real databases are in internal/store/storetest.
type fakeStore struct {
	tenant.Store

	vault *vault.Vault
	dev   tenant.Environment

	mu       sync.Mutex
	keys     []tenant.StoredKey
	lookups  int
	touched  map[int64]time.Time
	err      error
	deliver  []func(string)
	onLookup func() // runs after a lookup has read
}

func newFakeStore(t testing.TB) *fakeStore {
	return &fakeStore{
		vault: vaulttest.Open(t, "api_keys.secret", "environment_settings.signing_key", "environment_settings.otlp_headers",
			"environment_settings.variables", "environment_settings.previous_signing_key"),
		dev:     tenant.Environment{ID: 1, UUID: "e", AccountID: 1, Name: "dev"},
		touched: map[int64]time.Time{},
	}
}

func (s *fakeStore) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	if s.err != nil {
		return s.err
	}
	return fn(ctx)
}

func (s *fakeStore) Listen(_ string, deliver func(string)) func() {
	s.deliver = append(s.deliver, deliver)
	return func() {}
}

func (s *fakeStore) Notify(context.Context, string, string) error {
	for _, deliver := range s.deliver {
		deliver("")
	}
	return nil
}

func (s *fakeStore) AccountByName(context.Context, string) (tenant.Account, error) {
	return tenant.Account{ID: 1, Name: tenant.DefaultAccount}, s.err
}

func (s *fakeStore) EnvironmentByName(_ context.Context, accountID int64, name string) (tenant.Environment, error) {
	if accountID != s.dev.AccountID || name != s.dev.Name {
		return tenant.Environment{}, tenant.ErrEnvironmentNotFound
	}
	return s.dev, s.err
}

func (s *fakeStore) LockKeys(context.Context, tenant.Owner) (int, error) { return 0, nil }

func (s *fakeStore) InsertKey(_ context.Context, k tenant.StoredKey) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.ID = int64(len(s.keys) + 1)
	s.keys = append(s.keys, k)
	return k.ID, nil
}

func (s *fakeStore) DeleteKey(_ context.Context, _ tenant.Owner, ref tenant.KeyRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.DeleteFunc(s.keys, func(k tenant.StoredKey) bool { return k.ID == ref.ID })
	return nil
}

func (s *fakeStore) KeyByHash(_ context.Context, hash []byte) (tenant.StoredKey, tenant.Account, tenant.Environment, error) {
	s.mu.Lock()
	s.lookups++
	i := slices.IndexFunc(s.keys, func(k tenant.StoredKey) bool { return slices.Equal(k.Hash, hash) })
	var k tenant.StoredKey
	if i >= 0 {
		k = s.keys[i]
	}
	s.mu.Unlock()
	if s.onLookup != nil {
		s.onLookup()
	}
	switch {
	case s.err != nil:
		return k, tenant.Account{}, tenant.Environment{}, s.err
	case i < 0:
		return k, tenant.Account{}, tenant.Environment{}, tenant.ErrKeyNotFound
	}
	return k, tenant.Account{ID: 1}, s.dev, nil
}

func (s *fakeStore) TouchKey(_ context.Context, id int64, at time.Time) error {
	s.touched[id] = at
	return nil
}

// onlyHost allows URLs of one host.
type onlyHost string

func (h onlyHost) CheckURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err == nil && u.Hostname() != string(h) {
		err = &egress.DeniedError{Reason: egress.DeniedIP, Host: u.Host}
	}
	return u, err
}

func newService(t testing.TB, store *fakeStore, change func(*tenant.Options)) *tenant.Service {
	t.Helper()
	opts := tenant.Options{Store: store, Vault: store.vault, URLs: onlyHost("app.example.com"), Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&opts)
	}
	service, err := tenant.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func createKey(t testing.TB, service *tenant.Service) (tenant.Key, string) {
	t.Helper()
	key, text, err := service.CreateKey(t.Context(), tenant.Owner{AccountID: 1, EnvironmentID: 1}, tenant.NewKey{DisplayName: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return key, text.Reveal()
}

func TestKeyIsLookedUpOnceInAWhile(t *testing.T) {
	t.Parallel()
	store, now := newFakeStore(t), time.Now()
	service := newService(t, store, func(o *tenant.Options) { o.Now = func() time.Time { return now } })
	_, token := createKey(t, service)
	use := func(want int) {
		t.Helper()
		for range 3 {
			if p, err := service.Authenticate(t.Context(), token); err != nil || p.Environment.ID != 1 || !p.Allows(tenant.ScopeProxy) {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		if store.lookups != want {
			t.Errorf("%d lookups, want %d", store.lookups, want)
		}
	}
	use(1)
	now = now.Add(30*time.Second - 1)
	use(1)
	now = now.Add(1) // a notification may have been lost
	use(2)
	_ = store.Notify(t.Context(), "", "")
	use(3)
	for range 3 {
		if _, err := service.Authenticate(t.Context(), uuid.NewString()); !errors.Is(err, tenant.ErrUnknownKey) {
			t.Fatal(err)
		}
	}
	use(6) // unknown keys are not remembered, and don't push out known ones
}

func TestLookupThatARevocationOvertakesIsNotRemembered(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t)
	service := newService(t, store, nil)
	key, token := createKey(t, service)
	store.onLookup = func() { // the row was read, then it was deleted
		store.onLookup = nil
		if err := service.RevokeKey(t.Context(), key.Owner, tenant.KeyRef{ID: key.ID}); err != nil {
			t.Error(err)
		}
	}
	if _, err := service.Authenticate(t.Context(), token); err != nil {
		t.Fatalf("the request that came first: %v", err)
	}
	if _, err := service.Authenticate(t.Context(), token); !errors.Is(err, tenant.ErrUnknownKey) {
		t.Errorf("the request after the revocation: %v, want unknown_account", err)
	}
}

func TestFaultOfTheDatabaseIsNotTheCallers(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t)
	service := newService(t, store, nil)
	_, token := createKey(t, service)
	store.err = errors.New("connection refused")
	if _, err := service.Authenticate(t.Context(), token); !errors.Is(err, store.err) || errs.Code(err) != "" {
		t.Errorf("%v, want the fault itself: a 401 would make clients throw their keys away", err)
	}
	store.err = nil
	if _, err := service.Authenticate(t.Context(), token); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestUseThatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	t.Parallel()
	store, now := newFakeStore(t), time.Now()
	service := newService(t, store, func(o *tenant.Options) { o.Now = func() time.Time { return now } })
	key, token := createKey(t, service)
	used := now
	if _, err := service.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	store.err = errors.New("down")
	if err := service.FlushUsage(t.Context()); !errors.Is(err, store.err) {
		t.Errorf("%v", err)
	}
	store.err = nil
	for range 2 { // the second time there is nothing to write
		if err := service.FlushUsage(t.Context()); err != nil {
			t.Fatal(err)
		}
		if at := store.touched[key.ID]; at.UnixMicro() != used.UnixMicro() {
			t.Errorf("noted %v, want %v", at, used)
		}
		now = now.Add(time.Hour)
	}
}

func TestOperatorsKeys(t *testing.T) {
	t.Parallel()
	const first, second, third = "8f4a9c1e-3b2d-4e5f-8a7b-6c5d4e3f2a1b", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	store := newFakeStore(t)
	service := newService(t, store, func(o *tenant.Options) {
		o.Variables = map[string]string{
			"NANGO_SECRET_KEY_DEV": first, "PATCHBAY_SECRET_KEY_dev": strings.ToUpper(second), "PATCHBAY_SECRET_KEY_STAGING": third, "NANGO_SECRET_KEY": "x", "HOME": "/",
		}
	})
	for _, token := range []string{first, second} {
		p, err := service.Authenticate(t.Context(), token)
		if err != nil || p.Environment.Name != "dev" || !p.Allows(tenant.ScopeConnectionsDelete) || p.KeyID != 0 || !strings.Contains(p.KeyName, "_SECRET_KEY_") {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if _, err := service.Authenticate(t.Context(), third); !errors.Is(err, tenant.ErrUnknownKey) {
		t.Errorf("the key of an environment that does not exist: %v", err)
	}
	if store.lookups != 0 {
		t.Error("an operator's key was looked for in the database")
	}
	for what, variables := range map[string]map[string]string{
		"not a UUID":                {"PATCHBAY_SECRET_KEY_DEV": "hunter2"},
		"a version 1 UUID":          {"NANGO_SECRET_KEY_DEV": "8f4a9c1e-3b2d-1e5f-8a7b-6c5d4e3f2a1b"},
		"no environment":            {"PATCHBAY_SECRET_KEY_": first},
		"no environment's name":     {"PATCHBAY_SECRET_KEY_A.B": first},
		"one key, two environments": {"PATCHBAY_SECRET_KEY_DEV": first, "PATCHBAY_SECRET_KEY_PROD": first},
	} {
		_, err := tenant.New(tenant.Options{Store: store, Vault: store.vault, Variables: variables})
		if err == nil || !strings.Contains(err.Error(), "SECRET_KEY_") {
			t.Errorf("%s: %v, want an error that names the variable", what, err)
		}
		for _, value := range variables {
			if err != nil && strings.Contains(err.Error(), value) {
				t.Errorf("%s: the error shows the key: %v", what, err)
			}
		}
	}
}

func TestSettingsAreCheckedBeforeTheyAreSaved(t *testing.T) {
	t.Parallel()
	many := make([]tenant.Variable, 101)
	for i := range many {
		many[i] = tenant.Variable{Name: fmt.Sprint(i), Value: secret.New("v")}
	}
	one := func(name, value string) *[]tenant.Variable {
		return &[]tenant.Variable{{Name: "ok", Value: secret.New("v")}, {Name: name, Value: secret.New(value)}}
	}
	for name, c := range map[string]struct {
		update     tenant.SettingsUpdate
		production bool
		path       string
	}{
		"relative":                      {tenant.SettingsUpdate{PrimaryURL: new("/hook")}, false, "primary_url"},
		"no scheme":                     {tenant.SettingsUpdate{PrimaryURL: new("app.example.com/hook")}, false, "primary_url"},
		"another scheme":                {tenant.SettingsUpdate{SecondaryURL: new("ftp://app.example.com")}, false, "secondary_url"},
		"no URL":                        {tenant.SettingsUpdate{CallbackURL: new("http://[::1")}, false, "callback_url"},
		"a denied host":                 {tenant.SettingsUpdate{PrimaryURL: new("https://10.0.0.1/")}, false, "primary_url"},
		"a denied host for traces":      {tenant.SettingsUpdate{OTLPEndpoint: new("https://10.0.0.1/")}, false, "otlp_endpoint"},
		"http in production":            {tenant.SettingsUpdate{SecondaryURL: new("http://app.example.com/")}, true, "secondary_url"},
		"a URL that is too long":        {tenant.SettingsUpdate{PrimaryURL: new("https://app.example.com/" + strings.Repeat("x", 9000))}, false, "primary_url"},
		"negative retention":            {tenant.SettingsUpdate{RetentionDays: new(-1)}, false, "retention_days"},
		"retention of eleven years":     {tenant.SettingsUpdate{RetentionDays: new(4015)}, false, "retention_days"},
		"101 headers":                   {tenant.SettingsUpdate{OTLPHeaders: &many}, false, "otlp_headers"},
		"a header without a name":       {tenant.SettingsUpdate{OTLPHeaders: one("", "v")}, false, "otlp_headers/1/name"},
		"a header without a value":      {tenant.SettingsUpdate{OTLPHeaders: one("n", "")}, false, "otlp_headers/1/value"},
		"a header's name is too long":   {tenant.SettingsUpdate{OTLPHeaders: one(strings.Repeat("n", 257), "v")}, false, "otlp_headers/1/name"},
		"a header's value is too long":  {tenant.SettingsUpdate{OTLPHeaders: one("n", strings.Repeat("v", 4001))}, false, "otlp_headers/1/value"},
		"a header that is there twice":  {tenant.SettingsUpdate{OTLPHeaders: one("ok", "v")}, false, "otlp_headers/1/name"},
		"everything empty is fine":      {tenant.SettingsUpdate{PrimaryURL: new(""), SecondaryURL: new(""), CallbackURL: new(""), OTLPEndpoint: new("")}, true, ""},
		"https in production is fine":   {tenant.SettingsUpdate{PrimaryURL: new("https://app.example.com/hook")}, true, ""},
		"http elsewhere is fine":        {tenant.SettingsUpdate{PrimaryURL: new("http://app.example.com:8080/hook?a=b")}, false, ""},
		"the callback may be any host":  {tenant.SettingsUpdate{CallbackURL: new("http://localhost:3003/oauth/callback")}, true, ""},
		"names and values may be long":  {tenant.SettingsUpdate{OTLPHeaders: one(strings.Repeat("ü", 256), strings.Repeat("ü", 4000))}, false, ""},
		"a hundred headers are allowed": {tenant.SettingsUpdate{OTLPHeaders: new(many[:100])}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newFakeStore(t)
			store.err = errors.New("saved")
			_, err := newService(t, store, nil).CreateEnvironment(t.Context(), 1, tenant.NewEnvironment{Name: "x", Production: &c.production, Settings: c.update})
			var shown *errs.Error
			switch errors.As(err, &shown); {
			case c.path == "" && !errors.Is(err, store.err):
				t.Errorf("refused: %v", err)
			case c.path != "" && (shown == nil || shown.Code != "invalid_body" || len(shown.Issues) != 1 || strings.Join(shown.Issues[0].Path, "/") != c.path):
				t.Errorf("%v, want invalid_body at %s", err, c.path)
			}
		})
	}
}

func TestOperatorMayAllowHTTPInProduction(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t)
	store.err = errors.New("saved")
	service := newService(t, store, func(o *tenant.Options) { o.AllowHTTP = true })
	_, err := service.CreateEnvironment(t.Context(), 1, tenant.NewEnvironment{
		Name: "prod", Settings: tenant.SettingsUpdate{PrimaryURL: new("http://app.example.com")},
	})
	if !errors.Is(err, store.err) {
		t.Error(err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t)
	service := newService(t, store, nil)
	for _, name := range []string{"", "Dev", "a b", "ü", "a.b", strings.Repeat("a", 256)} {
		if _, err := service.CreateEnvironment(t.Context(), 1, tenant.NewEnvironment{Name: name}); errs.Code(err) != "invalid_body" {
			t.Errorf("environment %q: %v", name, err)
		}
	}
	_, err := service.CreateEnvironment(t.Context(), 1, tenant.NewEnvironment{Name: "prod", Production: new(false)})
	var shown *errs.Error
	if !errors.As(err, &shown) || shown.Code != "invalid_is_prod_flag" || shown.Status != http.StatusBadRequest {
		t.Errorf("prod that is not production: %v", err)
	}
	owner := tenant.Owner{AccountID: 1, EnvironmentID: 1}
	for _, name := range []string{"", strings.Repeat("ü", 256), "a\x00b", "a\xffb"} {
		if _, _, err := service.CreateKey(t.Context(), owner, tenant.NewKey{DisplayName: name}); errs.Code(err) != "invalid_body" {
			t.Errorf("key %q: %v", name, err)
		}
	}
	if _, _, err := service.CreateKey(t.Context(), owner, tenant.NewKey{DisplayName: strings.Repeat("ü", 255)}); err != nil {
		t.Errorf("255 characters: %v", err)
	}
	for _, variables := range [][]tenant.Variable{{{Name: "", Value: secret.New("v")}}, make([]tenant.Variable, 101)} {
		if err := service.SetVariables(t.Context(), store.dev, variables); errs.Code(err) != "invalid_body" {
			t.Errorf("variables: %v", err)
		}
	}
}

func TestRevocationAmongManyRequests(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t)
	service := newService(t, store, nil)
	key, token := createKey(t, service)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				p, err := service.Authenticate(t.Context(), token)
				if err == nil && p.KeyID != key.ID || err != nil && !errors.Is(err, tenant.ErrUnknownKey) {
					t.Errorf("%+v, %v", p, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			_ = store.Notify(t.Context(), "", "")
		}
		if err := service.RevokeKey(t.Context(), key.Owner, tenant.KeyRef{ID: key.ID}); err != nil {
			t.Error(err)
		}
		if _, err := service.Authenticate(t.Context(), token); !errors.Is(err, tenant.ErrUnknownKey) {
			t.Errorf("after the revocation: %v", err)
		}
	})
	wg.Wait()
}

func BenchmarkAuthenticate(b *testing.B) {
	service := newService(b, newFakeStore(b), nil)
	_, token := createKey(b, service)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := service.Authenticate(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRequire(b *testing.B) {
	who := ofEnvironment(tenant.ScopeRecordsRead, "environment:connections:*")
	b.ReportAllocs()
	for b.Loop() {
		if err := who.Require(tenant.ScopeConnectionsRead, tenant.ScopeConnectionsReadCredentials); err != nil {
			b.Fatal(err)
		}
	}
}
