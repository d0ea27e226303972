package storetest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

func TestKeysetIsSwappedOnlyFromWhatItWas(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		keysets := s.Vault()
		at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
		first := vault.StoredKeyset{Name: "data", Version: 1, MasterKeyID: "m1", Sealed: []byte{0, 1, 255}, UpdatedAt: at}
		insert := func(k vault.StoredKeyset, want bool) {
			t.Helper()
			if ok, err := keysets.InsertKeyset(t.Context(), k); err != nil || ok != want {
				t.Errorf("insert: %v, %v; want %v", ok, err, want)
			}
		}
		insert(first, true)
		insert(vault.StoredKeyset{Name: "data", Version: 9, MasterKeyID: "m9", Sealed: []byte{9}}, false)
		insert(vault.StoredKeyset{Name: "lookup", Version: 1, MasterKeyID: "m1", Sealed: []byte{2}}, true)
		stored := func() vault.StoredKeyset {
			t.Helper()
			all, err := keysets.Keysets(t.Context())
			if err != nil || len(all) != 2 || all[0].Name != "data" {
				t.Fatalf("%+v, %v", all, err)
			}
			return all[0]
		}
		if diff := cmp.Diff(first, stored()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		second := vault.StoredKeyset{
			Name: "data", Version: 2, MasterKeyID: "m2", Sealed: []byte{3}, StagedKeyID: 4294967295, StagedAt: at, CleanSince: at.Add(time.Hour), UpdatedAt: at,
		}
		swap := func(was vault.StoredKeyset, want bool) {
			t.Helper()
			if ok, err := keysets.SwapKeyset(t.Context(), was, second); err != nil || ok != want {
				t.Errorf("swap from %+v: %v, %v; want %v", was, ok, err, want)
			}
		}
		for _, change := range []func(*vault.StoredKeyset){
			func(k *vault.StoredKeyset) { k.Version = 2 }, func(k *vault.StoredKeyset) { k.MasterKeyID = "m2" },
			func(k *vault.StoredKeyset) { k.StagedKeyID = 1 }, func(k *vault.StoredKeyset) { k.CleanSince = at }, func(k *vault.StoredKeyset) { k.Name = "other" },
		} {
			was := first
			change(&was)
			swap(was, false)
		}
		swap(first, true)
		swap(first, false)
		if diff := cmp.Diff(second, stored()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestEverySealedColumnCanBeReadAndReplaced runs the statements of each column; those that have rows are walked.
func TestEverySealedColumnCanBeReadAndReplaced(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		service, account := storetest.Tenants(t, s, nil)
		dev := environment(t, service, account, "dev")
		if err := service.SetVariables(t.Context(), dev, []tenant.Variable{{Name: "A", Value: secret.New("1")}}); err != nil {
			t.Fatal(err)
		}
		if err := service.UpdateSettings(t.Context(), dev, tenant.SettingsUpdate{OTLPHeaders: &[]tenant.Variable{}}); err != nil {
			t.Fatal(err)
		}
		if _, err := service.RotateSigningKey(t.Context(), dev, time.Hour); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{ // dev and prod have a key each
			"api_keys.secret": 2, "environment_settings.signing_key": 2, "environment_settings.previous_signing_key": 1,
			"environment_settings.otlp_headers": 1, "environment_settings.variables": 1,
		}
		for _, column := range s.Sealed() {
			table, name := column.Place()
			var rows []vault.SealedRow
			for after := ""; ; after = rows[len(rows)-1].Context.ID { // one at a time
				batch, err := column.Batch(t.Context(), after, 1)
				if err != nil {
					t.Fatalf("%s.%s: %v", table, name, err)
				}
				if len(batch) == 0 {
					break
				}
				rows = append(rows, batch...)
			}
			if len(rows) != want[table+"."+name] {
				t.Errorf("%s.%s: %d rows, want %d", table, name, len(rows), want[table+"."+name])
			}
			for _, row := range rows {
				if row.Context.Table != table || row.Context.Column != name {
					t.Errorf("%s.%s gives a row of %v", table, name, row.Context)
				}
				for _, attempt := range []bool{true, false} { // the second time the row is no longer what it was
					if ok, err := column.Replace(t.Context(), row, []byte("new")); err != nil || ok != attempt {
						t.Errorf("replace %v: %v, %v; want %v", row.Context, ok, err, attempt)
					}
				}
			}
		}
	})
}

// TestRotationWithReadersAndWritersLosesNothing: while everybody reads and writes, on PostgreSQL from two nodes, a third
// process rotates the key, dies in the middle of re-sealing, and another one finishes. No read fails, and in the end nothing
// is left under the old keys.
func TestRotationWithReadersAndWritersLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		keys      = 400 // more than a few batches
		rotations = 2
	)
	storetest.RunOptions(t, func(t *testing.T, opts store.Options) {
		clock := &fakeClock{now: time.Now()}
		master := vault.GenerateMasterKey()
		node := func(s *store.Store) *vault.Vault {
			t.Helper()
			v, _, err := vault.Open(t.Context(), vault.Options{
				MasterKey: master, Store: s.Vault(), Sealed: s.Sealed(), Now: clock.Now, Wait: clock.Wait,
			})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		stores := []*store.Store{storetest.Open(t, opts)}
		if opts.PostgresURL != "" {
			stores = append(stores, storetest.Open(t, opts))
		}
		service, account := storetest.Tenants(t, stores[0], node(stores[0]))
		dev := environment(t, service, account, "dev")
		refs := insertKeys(t, stores[0], node(stores[0]), dev, keys)

		reads, writes := make(chan struct{}, 50), make(chan struct{}, 4) // what was done lately
		working, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		for i, s := range stores {
			v := node(s)
			service, _ := storetest.Tenants(t, s, v)
			for range 3 {
				wg.Go(func() {
					for working.Err() == nil {
						i := random(keys)
						_, text, err := service.RevealKey(t.Context(), dev.Owner(), refs[i])
						if err != nil || text.Reveal() != fmt.Sprint("key ", i) {
							t.Errorf("read key %d: %v", i, err)
							return
						}
						settings, err := service.Settings(t.Context(), dev.ID)
						if err != nil || settings.SigningKey.IsEmpty() {
							t.Errorf("read the settings: %v", err)
							return
						}
						tell(reads)
					}
				})
			}
			mine := environment(t, service, account, []string{"dev", "prod"}[i]) // so that what is read must be what was written
			wg.Go(func() {
				for working.Err() == nil {
					want := strings.Repeat("x", random(2000)+1)
					err := service.SetVariables(t.Context(), mine, []tenant.Variable{{Name: "V", Value: secret.New(want)}})
					if err != nil {
						t.Errorf("write: %v", err)
						return
					}
					key, err := service.RotateSigningKey(t.Context(), mine, time.Hour)
					if err != nil {
						t.Errorf("write: %v", err)
						return
					}
					variables, err := service.Variables(t.Context(), mine)
					if err != nil || len(variables) != 1 || variables[0].Value.Reveal() != want {
						t.Errorf("the variables are not what was written: %v", err)
						return
					}
					settings, err := service.Settings(t.Context(), mine.ID)
					if err != nil || !settings.SigningKey.Equal(key) {
						t.Errorf("the signing key is not what was written: %v", err)
						return
					}
					tell(writes)
				}
			})
		}
		progressed := func() {
			t.Helper()
			for _, done := range []chan struct{}{reads, writes} {
				for range len(done) + cap(done) { // what is in it is from before
					select {
					case <-done:
					case <-time.After(20 * time.Second):
						t.Fatal("the readers and writers stand still")
					}
				}
			}
		}

		var retired []uint32
		for range rotations {
			progressed()
			dying, err := store.Open(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			ctx, die := context.WithCancel(t.Context())
			v := node(dying)
			if _, err := v.Rotate(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Rewrap(ctx, func(p vault.Progress) {
				if p.Resealed > 0 {
					die()
				}
			}); !errors.Is(err, context.Canceled) {
				t.Fatalf("the first process was to die in the middle: %v", err)
			}
			if err := dying.Close(); err != nil {
				t.Fatal(err)
			}
			die()
			progressed()

			next := storetest.Open(t, opts)
			v = node(next)
			report, err := v.Rewrap(t.Context(), nil)
			if err != nil || report.UnreadableCount != 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			for try := 0; len(report.Retired) == 0; try++ {
				progressed()
				clock.advance(10 * time.Minute)
				if report, err = v.Rewrap(t.Context(), nil); err != nil || report.UnreadableCount != 0 || try == 20 {
					t.Fatalf("try %d: %+v, %v", try, report, err)
				}
			}
			retired = append(retired, report.Retired...)
			progressed()
		}
		stop()
		wg.Wait()

		status, err := node(stores[0]).Status(t.Context())
		if err != nil || len(retired) != rotations || len(status.OldKeyIDs) != 0 {
			t.Errorf("retired %v, status %+v, %v; want one key left", retired, status, err)
		}
		for _, column := range stores[0].Sealed() {
			rows, err := column.Batch(t.Context(), "", 10*keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if id, _ := vault.KeyID(row.Sealed); id != status.PrimaryKeyID {
					t.Errorf("%v is under key %d, want %d", row.Context, id, status.PrimaryKeyID)
				}
			}
		}
	})
}

// insertKeys stores n API keys whose secrets are "key 0", "key 1", ….
func insertKeys(t *testing.T, s *store.Store, v *vault.Vault, e tenant.Environment, n int) []tenant.KeyRef {
	t.Helper()
	refs := make([]tenant.KeyRef, n)
	err := s.Write(t.Context(), func(ctx context.Context) error {
		for i := range refs {
			refs[i].UUID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
			sealed, err := v.Seal(fmt.Append(nil, "key ", i), vault.Context{Table: "api_keys", Column: "secret", ID: refs[i].UUID})
			if err != nil {
				return err
			}
			k := tenant.StoredKey{Key: tenant.Key{UUID: refs[i].UUID, Owner: e.Owner(), DisplayName: fmt.Sprint(i)}, Hash: fmt.Append(nil, i), Sealed: sealed}
			if _, err := s.Tenants().InsertKey(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// tell notes that something was done, unless enough is noted.
func tell(done chan<- struct{}) {
	select {
	case done <- struct{}{}:
	default:
	}
}

func random(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err)
	}
	return int(i.Int64())
}

// fakeClock is shared by all nodes of a test; waiting moves it.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) Wait(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return context.Cause(ctx)
}
