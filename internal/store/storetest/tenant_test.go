package storetest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

func TestFirstStartMakesDevAndProdOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		v := storetest.Vault(t, s)
		service, account := storetest.Tenants(t, s, v)
		_, again := storetest.Tenants(t, s, v)
		if again.ID != account.ID || account.Name != tenant.DefaultAccount {
			t.Errorf("accounts %+v and %+v, want one", account, again)
		}
		environments, err := service.Environments(t.Context(), account.ID)
		if err != nil || len(environments) != 2 {
			t.Fatalf("environments = %+v, %v; want two", environments, err)
		}
		for i, want := range []tenant.Environment{{Name: "dev"}, {Name: "prod", Production: true}} {
			e := environments[i]
			if e.Name != want.Name || e.Production != want.Production || e.AccountID != account.ID || uuid.Validate(e.UUID) != nil {
				t.Errorf("environment %d = %+v", i, e)
			}
			keys, err := service.Keys(t.Context(), e.Owner())
			if err != nil || len(keys) != 1 || keys[0].DisplayName != "Default - Full access" || !slices.Equal(keys[0].Scopes, []string{"environment:*"}) {
				t.Errorf("keys of %s = %+v, %v", e.Name, keys, err)
			}
			settings, err := service.Settings(t.Context(), e.ID)
			if err != nil {
				t.Fatal(err)
			}
			on := tenant.Notifications{
				OnAuthCreation: true, OnAuthRefreshError: true, OnSyncCompletionAlways: true,
				OnSyncError: true, OnAsyncActionCompletion: true, ForwardWebhooks: true,
			}
			if settings.Notifications != on {
				t.Errorf("%s: a notification is off: %+v", e.Name, settings.Notifications)
			}
			if uuid.Validate(settings.SigningKey.Reveal()) != nil || !settings.PreviousSigningKey.IsEmpty() {
				t.Errorf("%s: the signing key is no UUID, or there is a previous one", e.Name)
			}
		}
	})
}

func TestNodesThatStartTogetherMakeOneAccount(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		v := storetest.Vault(t, s)
		ids := make([]int64, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				service, err := tenant.New(tenant.Options{Store: s.Tenants(), Vault: v, URLs: storetest.AnyURL{}})
				if err != nil {
					t.Error(err)
					return
				}
				account, err := service.Bootstrap(t.Context())
				if err != nil {
					t.Error(err)
				}
				ids[i] = account.ID
			})
		}
		wg.Wait()
		if slices.ContainsFunc(ids, func(id int64) bool { return id == 0 || id != ids[0] }) {
			t.Errorf("account ids %v, want the same everywhere", ids)
		}
	})
}

func TestKeyIsFoundByWhatItIsAndNotStoredInClear(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev := environment(t, service, account, "dev")
		key, text, err := service.CreateKey(t.Context(), dev.Owner(), tenant.NewKey{DisplayName: "reader", Scopes: []string{tenant.ScopeRecordsRead}})
		if err != nil {
			t.Fatal(err)
		}
		principal, err := service.Authenticate(t.Context(), strings.ToUpper(text.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		want := tenant.Principal{Account: account, Environment: dev, KeyID: key.ID, KeyName: "reader", Scopes: []string{tenant.ScopeRecordsRead}}
		if diff := cmp.Diff(want, principal, sameMicrosecond); diff != "" {
			t.Errorf("principal (-want +got):\n%s", diff)
		}
		stored, err := s.Tenants().Key(t.Context(), dev.Owner(), tenant.KeyRef{UUID: key.UUID})
		if err != nil {
			t.Fatal(err)
		}
		id := uuid.MustParse(text.Reveal())
		for _, clear := range []string{text.Reveal(), string(id[:])} {
			if strings.Contains(string(stored.Sealed), clear) || strings.Contains(string(stored.Hash), clear) {
				t.Error("the row holds the key in clear")
			}
		}
		shown, again, err := service.RevealKey(t.Context(), dev.Owner(), tenant.KeyRef{ID: key.ID})
		if err != nil || !again.Equal(text) || shown.UUID != key.UUID {
			t.Errorf("RevealKey = %+v, %v; want the key again", shown, err)
		}
		if _, err := service.Authenticate(t.Context(), uuid.NewString()); !errors.Is(err, tenant.ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
	})
}

func TestKeyLimitsAndNames(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev, prod := environment(t, service, account, "dev"), environment(t, service, account, "prod")
		create := func(owner tenant.Owner, name string, scopes ...string) error {
			_, _, err := service.CreateKey(t.Context(), owner, tenant.NewKey{DisplayName: name, Scopes: scopes})
			return err
		}
		if err := create(dev.Owner(), "ci"); err != nil {
			t.Fatal(err)
		}
		if err := create(dev.Owner(), "ci"); errs.Code(err) != "conflict" {
			t.Errorf("a name used twice: %v", err)
		}
		for _, other := range []tenant.Owner{prod.Owner(), account.Owner()} {
			if err := create(other, "ci"); err != nil {
				t.Errorf("the same name elsewhere: %v", err)
			}
		}
		// dev has two; ten at a time try to make a hundred more.
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[string]int{}
		for worker := range 10 {
			wg.Go(func() {
				for i := range 10 {
					err := create(dev.Owner(), fmt.Sprintf("key %d-%d", worker, i))
					mu.Lock()
					codes[errs.Code(err)]++
					mu.Unlock()
					if err != nil && errs.Code(err) == "" {
						t.Errorf("create: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if codes[""] != 48 || codes["resource_capped"] != 52 {
			t.Errorf("outcomes %v, want 48 created and 52 resource_capped", codes)
		}
		if err := create(tenant.Owner{AccountID: account.ID, EnvironmentID: 4711}, "x"); errs.Code(err) != "not_found" {
			t.Errorf("no such environment: %v", err)
		}
	})
}

func TestNothingOfAnotherAccountIsFound(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		v := storetest.Vault(t, s)
		service, account := storetest.Tenants(t, s, v)
		dev := environment(t, service, account, "dev")
		otherID, err := s.Tenants().InsertAccount(t.Context(), tenant.Account{UUID: uuid.NewString(), Name: "other", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := service.CreateEnvironment(t.Context(), otherID, tenant.NewEnvironment{Name: "dev"})
		if err != nil {
			t.Fatalf("the same name in another account: %v", err)
		}
		keys, err := service.Keys(t.Context(), theirs.Owner())
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		ref := tenant.KeyRef{ID: keys[0].ID, UUID: keys[0].UUID}
		forged := theirs
		forged.AccountID = account.ID
		_, _, revealErr := service.RevealKey(t.Context(), dev.Owner(), ref)
		_, _, forgedErr := service.RevealKey(t.Context(), forged.Owner(), ref)
		_, _, createErr := service.CreateKey(t.Context(), forged.Owner(), tenant.NewKey{DisplayName: "x"})
		_, byIDErr := service.Environment(t.Context(), account.ID, theirs.ID)
		_, byUUIDErr := service.EnvironmentByUUID(t.Context(), account.ID, theirs.UUID)
		_, variablesErr := service.Variables(t.Context(), forged)
		_, rotateErr := service.RotateSigningKey(t.Context(), forged, 0)
		for what, err := range map[string]error{
			"reveal from another environment": revealErr,
			"reveal with a forged account":    forgedErr,
			"create a key":                    createErr,
			"revoke":                          service.RevokeKey(t.Context(), forged.Owner(), ref),
			"environment by id":               byIDErr,
			"environment by uuid":             byUUIDErr,
			"delete":                          service.DeleteEnvironment(t.Context(), account.ID, theirs.ID),
			"settings":                        service.UpdateSettings(t.Context(), forged, tenant.SettingsUpdate{}),
			"variables":                       variablesErr,
			"set variables":                   service.SetVariables(t.Context(), forged, nil),
			"rotate":                          rotateErr,
		} {
			if errs.Code(err) != "not_found" {
				t.Errorf("%s: %v, want not_found", what, err)
			}
		}
		if _, _, err := service.RevealKey(t.Context(), theirs.Owner(), ref); err != nil {
			t.Errorf("the key of the other account is gone: %v", err)
		}
	})
}

func TestDeletedEnvironmentIsGoneAndItsNameFree(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		staging, err := service.CreateEnvironment(t.Context(), account.ID, tenant.NewEnvironment{Name: "staging"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := service.CreateEnvironment(t.Context(), account.ID, tenant.NewEnvironment{Name: "staging"}); errs.Code(err) != "conflict" {
			t.Errorf("a name used twice: %v", err)
		}
		keys, err := service.Keys(t.Context(), staging.Owner())
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		_, text, err := service.RevealKey(t.Context(), staging.Owner(), tenant.KeyRef{ID: keys[0].ID})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := service.Authenticate(t.Context(), text.Reveal()); err != nil {
			t.Fatal(err)
		}
		if _, err := service.FindEnvironment(t.Context(), staging.UUID); err != nil {
			t.Fatal(err)
		}
		if err := service.DeleteEnvironment(t.Context(), account.ID, staging.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := service.Authenticate(t.Context(), text.Reveal()); errs.Code(err) != "unknown_account" {
			t.Errorf("its key: %v, want unknown_account", err)
		}
		_, settingsErr := service.Settings(t.Context(), staging.ID)
		_, findErr := service.FindEnvironment(t.Context(), staging.UUID)
		for what, err := range map[string]error{
			"settings": settingsErr, "find": findErr, "delete again": service.DeleteEnvironment(t.Context(), account.ID, staging.ID),
		} {
			if errs.Code(err) != "not_found" {
				t.Errorf("%s: %v, want not_found", what, err)
			}
		}
		if _, err := service.CreateEnvironment(t.Context(), account.ID, tenant.NewEnvironment{Name: "staging"}); err != nil {
			t.Errorf("the name is not free: %v", err)
		}
		prod := environment(t, service, account, "prod")
		if err := service.DeleteEnvironment(t.Context(), account.ID, prod.ID); errs.Code(err) != "cannot_delete_prod_environment" {
			t.Errorf("prod: %v", err)
		}
	})
}

func TestSettingsChangeOnlyWhatIsNamed(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev, prod := environment(t, service, account, "dev"), environment(t, service, account, "prod")
		before, err := service.Settings(t.Context(), dev.ID)
		if err != nil {
			t.Fatal(err)
		}
		untouched, err := service.Settings(t.Context(), prod.ID)
		if err != nil {
			t.Fatal(err)
		}
		headers := []tenant.Variable{{Name: "authorization", Value: secret.New("Bearer t")}}
		steps := []struct {
			update tenant.SettingsUpdate
			expect func(*tenant.Settings)
		}{
			{tenant.SettingsUpdate{PrimaryURL: new("http://localhost:8080/hook")}, func(s *tenant.Settings) { s.PrimaryURL = "http://localhost:8080/hook" }},
			{tenant.SettingsUpdate{ForwardWebhooks: new(false), OnSyncError: new(false)}, func(s *tenant.Settings) {
				s.Notifications.ForwardWebhooks, s.Notifications.OnSyncError = false, false
			}},
			{tenant.SettingsUpdate{OTLPEndpoint: new("https://otlp.example.com"), OTLPHeaders: &headers, RetentionDays: new(30)}, func(s *tenant.Settings) {
				s.OTLPEndpoint, s.OTLPHeaders, s.RetentionDays = "https://otlp.example.com", headers, 30
			}},
			{tenant.SettingsUpdate{}, func(*tenant.Settings) {}},
			{tenant.SettingsUpdate{SecondaryURL: new("https://b.example.com"), PrimaryURL: new(""), OTLPHeaders: &[]tenant.Variable{}}, func(s *tenant.Settings) {
				s.SecondaryURL, s.PrimaryURL, s.OTLPHeaders = "https://b.example.com", "", []tenant.Variable{}
			}},
		}
		want := before
		for i, step := range steps {
			if err := service.UpdateSettings(t.Context(), dev, step.update); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			step.expect(&want)
			got, err := service.Settings(t.Context(), dev.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, sameSecret); diff != "" {
				t.Fatalf("step %d (-want +got):\n%s", i, diff)
			}
		}
		if got, err := service.Settings(t.Context(), prod.ID); err != nil || !cmp.Equal(untouched, got, sameSecret) {
			t.Errorf("the settings of another environment changed: %v", err)
		}
	})
}

func TestSigningKeyRotationOverlaps(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev := environment(t, service, account, "dev")
		settings := func() tenant.Settings {
			t.Helper()
			got, err := service.Settings(t.Context(), dev.ID)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := settings().SigningKey
		second, err := service.RotateSigningKey(t.Context(), dev, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		after := settings()
		if keys := after.SigningKeys(time.Now()); len(keys) != 2 || !keys[0].Equal(second) || !keys[1].Equal(first) || first.Equal(second) {
			t.Error("during the overlap webhooks are not signed with the new key and the old one, in this order")
		}
		if keys := after.SigningKeys(time.Now().Add(2 * time.Hour)); len(keys) != 1 || !keys[0].Equal(second) {
			t.Error("the old key signs after the overlap")
		}
		third, err := service.RotateSigningKey(t.Context(), dev, 0)
		if err != nil {
			t.Fatal(err)
		}
		after = settings()
		if keys := after.SigningKeys(time.Now()); len(keys) != 1 || !keys[0].Equal(third) {
			t.Error("an old key still signs after a hard replacement")
		}

		// Every key that a caller got was current once: rotations at the same time don't overwrite each other.
		got := make(chan string, 3)
		var wg sync.WaitGroup
		for range cap(got) {
			wg.Go(func() {
				key, err := service.RotateSigningKey(t.Context(), dev, time.Hour)
				if err != nil {
					t.Error(err)
				}
				got <- key.Reveal()
			})
		}
		wg.Wait()
		close(got)
		issued := map[string]bool{}
		for key := range got {
			issued[key] = true
		}
		after = settings()
		if !issued[after.SigningKey.Reveal()] || !issued[after.PreviousSigningKey.Reveal()] || len(issued) != 3 {
			t.Error("the current and the previous key are not two of the three that were issued")
		}
	})
}

func TestVariablesAreReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev, prod := environment(t, service, account, "dev"), environment(t, service, account, "prod")
		sets := [][]tenant.Variable{
			nil,
			{{Name: "B", Value: secret.New("2")}, {Name: "A", Value: secret.New("ünïcode \" \\")}},
			{{Name: "C", Value: secret.New(strings.Repeat("ü", 4000))}},
			{},
		}
		for i, want := range sets {
			if i > 0 {
				if err := service.SetVariables(t.Context(), dev, want); err != nil {
					t.Fatal(err)
				}
			}
			got, err := service.Variables(t.Context(), dev)
			if err != nil || len(got) != len(want) || !cmp.Equal(want, got, sameSecret) {
				t.Fatalf("set %d: got %v, %v", i, got, err)
			}
		}
		if got, err := service.Variables(t.Context(), prod); err != nil || len(got) != 0 {
			t.Errorf("variables of another environment: %v, %v", got, err)
		}
	})
}

func TestUseOfKeysIsNotedLater(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev := environment(t, service, account, "dev")
		key, text, err := service.CreateKey(t.Context(), dev.Owner(), tenant.NewKey{DisplayName: "used"})
		if err != nil {
			t.Fatal(err)
		}
		stored := func() time.Time {
			t.Helper()
			k, err := s.Tenants().Key(t.Context(), dev.Owner(), tenant.KeyRef{ID: key.ID})
			if err != nil {
				t.Fatal(err)
			}
			return k.LastUsedAt
		}
		start := time.Now().Truncate(time.Microsecond)
		for range 3 {
			if _, err := service.Authenticate(t.Context(), text.Reveal()); err != nil {
				t.Fatal(err)
			}
		}
		if at := stored(); !at.IsZero() {
			t.Errorf("a request wrote the time of use: %v", at)
		}
		shown, _, err := service.RevealKey(t.Context(), dev.Owner(), tenant.KeyRef{ID: key.ID})
		if err != nil || shown.LastUsedAt.Before(start) {
			t.Errorf("shown as last used at %v, %v; want now", shown.LastUsedAt, err)
		}
		if err := service.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := service.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		at := stored()
		if at.Before(start) || at.After(time.Now()) {
			t.Errorf("stored %v after the service stopped, want now", at)
		}
		if err := s.Tenants().TouchKey(t.Context(), key.ID, start.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if !stored().Equal(at) {
			t.Error("the time of use moved back")
		}
	})
}

// TestRevokedKeyIsRefusedByAnotherNode: the second node has the key in its cache, whose entries live for 30 s; only the
// notification can make it refuse the key within the 5 s that the test waits.
func TestRevokedKeyIsRefusedByAnotherNode(t *testing.T) {
	t.Parallel()
	opts := storetest.Postgres(t)
	here, there := storetest.Open(t, opts), storetest.Open(t, opts)
	v := storetest.Vault(t, here)
	first, account := storetest.Tenants(t, here, v)
	heard := hearing{Tenants: there.Tenants(), notes: make(chan struct{}, 64)}
	second, err := tenant.New(tenant.Options{Store: heard, Vault: v, URLs: storetest.AnyURL{}})
	if err != nil {
		t.Fatal(err)
	}
	// LISTEN begins in the background: a note from the other node shows that it is in place.
	for try := 0; !heard.within(100 * time.Millisecond); try++ {
		if try == 50 {
			t.Fatal("no notification in 5 s")
		}
		if err := here.Notify(t.Context(), "tenant", ""); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(what string) {
		t.Helper()
		if !heard.within(5 * time.Second) {
			t.Fatalf("the other node was not told of %s", what)
		}
	}

	dev := environment(t, first, account, "dev")
	key, text, err := first.CreateKey(t.Context(), dev.Owner(), tenant.NewKey{DisplayName: "stolen"})
	if err != nil {
		t.Fatal(err)
	}
	for heard.within(100 * time.Millisecond) { // what is still under way from the tries above
	}
	if _, err := second.Authenticate(t.Context(), text.Reveal()); err != nil {
		t.Fatalf("a new key is not known on the other node: %v", err)
	}
	before, err := second.Settings(t.Context(), dev.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.RevokeKey(t.Context(), dev.Owner(), tenant.KeyRef{UUID: key.UUID}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Authenticate(t.Context(), text.Reveal()); !errors.Is(err, tenant.ErrUnknownKey) {
		t.Errorf("the node that revoked: %v", err)
	}
	wait("the revocation")
	if _, err := second.Authenticate(t.Context(), text.Reveal()); !errors.Is(err, tenant.ErrUnknownKey) {
		t.Errorf("the other node: %v", err)
	}
	if err := first.RevokeKey(t.Context(), dev.Owner(), tenant.KeyRef{UUID: key.UUID}); errs.Code(err) != "not_found" {
		t.Errorf("revoked twice: %v", err)
	}

	if err := first.UpdateSettings(t.Context(), dev, tenant.SettingsUpdate{PrimaryURL: new("http://new.example.com")}); err != nil {
		t.Fatal(err)
	}
	wait("the settings")
	if after, err := second.Settings(t.Context(), dev.ID); err != nil || after.PrimaryURL == before.PrimaryURL {
		t.Errorf("the other node still has the URL %q, %v", after.PrimaryURL, err)
	}
}

// hearing tells of every note after the service has dealt with it.
type hearing struct {
	store.Tenants

	notes chan struct{}
}

func (h hearing) Listen(topic string, deliver func(payload string)) (cancel func()) {
	return h.Tenants.Listen(topic, func(payload string) {
		deliver(payload)
		h.notes <- struct{}{}
	})
}

func (h hearing) within(d time.Duration) bool {
	select {
	case <-h.notes:
		return true
	case <-time.After(d):
		return false
	}
}

var (
	sameMicrosecond = cmp.Comparer(func(a, b time.Time) bool { return a.UnixMicro() == b.UnixMicro() })
	sameSecret      = cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })
)

func environment(t *testing.T, service *tenant.Service, account tenant.Account, name string) tenant.Environment {
	t.Helper()
	e, err := service.EnvironmentByName(t.Context(), account.ID, name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
