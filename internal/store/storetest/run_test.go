package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// owner is what the rows of a run belong to.
type owner struct {
	env         tenant.Environment
	integration *integration.Integration
	connection  *connection.Connection
	vault       *vault.Vault
}

func newOwner(t *testing.T, s *store.Store) owner {
	t.Helper()
	o := owner{vault: storetest.Vault(t, s)}
	tenants, account := storetest.Tenants(t, s, o.vault)
	var err error
	if o.env, err = tenants.EnvironmentByName(t.Context(), account.ID, "dev"); err != nil {
		t.Fatal(err)
	}
	catalog, err := provider.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	integrations := integration.New(integration.Options{Store: s.Integrations(), Tx: s, Hints: s, Vault: o.vault, Catalog: catalog})
	t.Cleanup(integrations.Close)
	if o.integration, err = integrations.Create(t.Context(), integration.Integration{EnvironmentID: o.env.ID, Key: "open", Provider: "unauthenticated"}); err != nil {
		t.Fatal(err)
	}
	connections := connection.New(connection.Options{Store: s.Connections(), Tx: s, Vault: o.vault})
	if o.connection, _, err = connections.Import(t.Context(), o.integration, connection.Connection{ConnectionID: "user-1"}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *owner) sync(name string) run.Sync {
	return run.Sync{
		ID: uuid.NewString(), EnvironmentID: o.env.ID, ConnectionID: o.connection.ID, ConnectionName: "user-1", IntegrationID: o.integration.ID, Integration: "open",
		Name: name, Variant: "base", CreatedAt: time.UnixMicro(1_700_000_000_000_000).UTC(),
	}
}

func TestAConnectionHasOneInstanceOfASyncAndVariant(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o, runs, ctx := newOwner(t, s), s.Runs(), t.Context()
		first := o.sync("items")
		for i, want := range []bool{true, false} {
			y := first
			if i > 0 {
				y.ID = uuid.NewString()
			}
			if created, err := runs.InsertSync(ctx, y); err != nil || created != want {
				t.Fatalf("insert %d: %t %v", i, created, err)
			}
		}
		eu := o.sync("items")
		eu.Variant = "eu"
		if created, err := runs.InsertSync(ctx, eu); err != nil || !created {
			t.Fatal(created, err)
		}
		at := time.UnixMicro(1_700_000_000_123_456).UTC()
		if err := runs.SetLastSync(ctx, o.env.ID, first.ID, at); err != nil {
			t.Fatal(err)
		}
		if err := runs.SetFrequency(ctx, o.env.ID, first.ID, "every day"); err != nil {
			t.Fatal(err)
		}
		first.LastSyncAt, first.Frequency = at, "every day"
		all, err := runs.Syncs(ctx, o.env.ID, run.SyncFilter{IntegrationID: o.integration.ID})
		if diff := cmp.Diff([]run.Sync{first, eu}, all); diff != "" || err != nil {
			t.Error(diff, err)
		}
		for name, f := range map[string]run.SyncFilter{"name": {Name: "other"}, "variant": {Variant: "us"}, "connection": {ConnectionID: 99}, "integration": {IntegrationID: 99}} {
			if all, err := runs.Syncs(ctx, o.env.ID, f); err != nil || len(all) != 0 {
				t.Errorf("%s does not filter: %+v %v", name, all, err)
			}
		}
		// Another environment sees and changes nothing of it.
		other := o.env.ID + 1
		if _, err := runs.Sync(ctx, other, first.ID); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if err := runs.DeleteSync(ctx, other, first.ID); err != nil {
			t.Fatal(err)
		}
		if got, err := runs.Sync(ctx, o.env.ID, first.ID); err != nil || got != first {
			t.Errorf("%+v %v", got, err)
		}
		if err := runs.DeleteSync(ctx, o.env.ID, first.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := runs.Sync(ctx, o.env.ID, first.ID); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if ids, err := runs.ConnectionsOf(ctx, o.env.ID, o.integration.ID); err != nil || !cmp.Equal(ids, []int64{o.connection.ID}) {
			t.Errorf("%v %v", ids, err)
		}
	})
}

func TestARunThatEndedStaysAsItIsAndIDsNeverComeAgain(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o, runs, ctx := newOwner(t, s), s.Runs(), t.Context()
		y := o.sync("items")
		if _, err := runs.InsertSync(ctx, y); err != nil {
			t.Fatal(err)
		}
		if _, err := runs.LastRun(ctx, y.ID); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("%v", err)
		}
		start := time.UnixMicro(1_700_000_000_000_001).UTC()
		r := run.Run{
			SyncID: y.ID, EnvironmentID: o.env.ID, ConnectionID: o.connection.ID, JobID: 5, Type: run.Full, Status: run.Running, Result: map[string]run.Counts{},
			OperationID: "op", Since: start, StartedAt: start,
		}
		insert := func() {
			t.Helper()
			id, err := runs.InsertRun(ctx, r)
			if err != nil || id <= r.ID {
				t.Fatalf("run %d after %d: %v", id, r.ID, err)
			}
			r.ID = id
		}
		insert()
		r.Generation = r.ID // its own, when none is given
		if running, err := runs.RunningOf(ctx, o.env.ID, o.connection.ID); err != nil || !running {
			t.Error(running, err)
		}
		r.Result, r.Prepared = map[string]run.Counts{"Item": {Added: 1, Updated: 2, Deleted: 3}}, true
		if err := runs.SaveRun(ctx, r); err != nil {
			t.Fatal(err)
		}
		if got, err := runs.LastRun(ctx, y.ID); err != nil || !cmp.Equal(r, got) {
			t.Errorf("%s %v", cmp.Diff(r, got), err)
		}
		r.Status, r.Error, r.FinishedAt = run.Stopped, "worker_lost", start.Add(time.Minute)
		if err := runs.SaveRun(ctx, r); err != nil {
			t.Fatal(err)
		}
		late := r
		late.Status, late.Result = run.Running, map[string]run.Counts{"Item": {Added: 100}}
		if err := runs.SaveRun(ctx, late); err != nil {
			t.Fatal(err)
		}
		last, err := runs.LastRuns(ctx, []string{y.ID, uuid.NewString()})
		if diff := cmp.Diff(map[string]run.Run{y.ID: r}, last); diff != "" || err != nil {
			t.Errorf("a run that ended was changed: %s %v", diff, err)
		}
		// The last run of a sync is kept for its status; with the sync it goes, and its id does not come again.
		if n, err := runs.DeleteRuns(ctx, start.Add(time.Hour), 10); err != nil || n != 0 {
			t.Errorf("deleted %d %v", n, err)
		}
		first := r.ID
		r.Generation = 0
		insert()
		if n, err := runs.DeleteRuns(ctx, start.Add(time.Hour), 10); err != nil || n != 1 {
			t.Errorf("deleted %d %v", n, err)
		}
		if err := runs.DeleteSync(ctx, o.env.ID, y.ID); err != nil {
			t.Fatal(err)
		}
		if n, err := runs.DeleteRuns(ctx, start.Add(time.Hour), 10); err != nil || n != 1 {
			t.Errorf("deleted %d %v", n, err)
		}
		insert()
		if r.ID != first+2 {
			t.Errorf("run %d follows %d", r.ID, first+1)
		}
		r.Status, r.FinishedAt = run.Running, time.Time{}
		insert()
		if err := runs.StopRunsOf(ctx, o.env.ID, o.connection.ID, "connection_deleted", start); err != nil {
			t.Fatal(err)
		}
		if got, err := runs.LastRun(ctx, y.ID); err != nil || got.Status != run.Stopped || got.Error != "connection_deleted" {
			t.Errorf("%+v %v", got, err)
		}
	})
}

func TestOneOfManyGetsALock(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o, runs, ctx := newOwner(t, s), s.Runs(), t.Context()
		now := time.UnixMicro(1_700_000_000_000_000).UTC()
		acquire := func(env int64, who string, now time.Time) bool {
			got, err := runs.AcquireLock(ctx, env, "k", who, now, now.Add(time.Minute))
			if err != nil {
				t.Error(err)
			}
			return got
		}
		var got atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if acquire(o.env.ID, fmt.Sprint(i), now) {
					got.Add(1)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d got the lock", got.Load())
		}
		if !acquire(o.env.ID+1, "x", now) {
			t.Error("environments share locks")
		}
		if acquire(o.env.ID, "late", now.Add(59*time.Second)) {
			t.Error("a lock was given away that had not expired")
		}
		for _, attempt := range []string{"an expired lock", "a lock of one's own"} {
			if !acquire(o.env.ID, "late", now.Add(time.Minute)) {
				t.Error(attempt + " can not be had")
			}
		}
		if released, err := runs.ReleaseLock(ctx, o.env.ID, "k", "other"); err != nil || released {
			t.Error(released, err)
		}
		if released, err := runs.ReleaseLock(ctx, o.env.ID, "k", "late"); err != nil || !released {
			t.Error(released, err)
		}
		if !acquire(o.env.ID, "a", now) {
			t.Error("a lock that was released is taken")
		}
		if err := runs.ReleaseLocks(ctx, o.env.ID, "a"); err != nil || !acquire(o.env.ID, "b", now) {
			t.Error(err)
		}
		if err := runs.DeleteLocks(ctx, now.Add(time.Hour)); err != nil || !acquire(o.env.ID, "c", now) {
			t.Error(err)
		}
	})
}

func TestACallIsBegunOncePerAttemptAndNeverAfterItsEnd(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o, runs, ctx := newOwner(t, s), s.Runs(), t.Context()
		now := time.UnixMicro(1_700_000_000_000_000).UTC()
		c := run.SealedCall{Call: run.Call{
			ID: uuid.NewString(), EnvironmentID: o.env.ID, ConnectionID: o.connection.ID, Integration: "open", Action: "a", OperationID: "op", MaxAttempts: 2, CreatedAt: now,
		}}
		seal := func(column string) []byte {
			sealed, err := o.vault.Seal([]byte(`{"n":1}`), vault.Context{Table: "action_calls", Column: column, ID: c.ID})
			if err != nil {
				t.Fatal(err)
			}
			return sealed
		}
		c.SealedInput = seal("input")
		if err := runs.InsertCall(ctx, c); err != nil {
			t.Fatal(err)
		}
		var begun atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if ok, err := runs.BeginCall(context.WithoutCancel(ctx), o.env.ID, c.ID, 1); err != nil {
					t.Error(err)
				} else if ok {
					begun.Add(1)
				}
			})
		}
		all.Wait()
		if begun.Load() != 1 {
			t.Errorf("the attempt was begun %d times", begun.Load())
		}
		c.Begun = 1
		if got, err := runs.Call(ctx, o.env.ID, c.ID); err != nil || !cmp.Equal(c, got) {
			t.Errorf("%s %v", cmp.Diff(c, got), err)
		}
		if _, err := runs.Call(ctx, o.env.ID+1, c.ID); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("another environment: %v", err)
		}
		c.SealedOutput, c.EndedAt = seal("output"), now.Add(time.Second)
		if err := runs.EndCall(ctx, c); err != nil {
			t.Fatal(err)
		}
		if ok, err := runs.BeginCall(ctx, o.env.ID, c.ID, 2); err != nil || ok {
			t.Errorf("a call that has ended was begun: %t %v", ok, err)
		}
		got, err := runs.Call(ctx, o.env.ID, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := o.vault.Open(got.SealedOutput, vault.Context{Table: "action_calls", Column: "output", ID: c.ID})
		if err != nil || !json.Valid(plain) {
			t.Errorf("%s %v", plain, err)
		}
		if n, err := runs.DeleteCalls(ctx, now, now, 10); err != nil || n != 0 {
			t.Errorf("deleted %d %v", n, err)
		}
		if n, err := runs.DeleteCalls(ctx, now.Add(time.Hour), now, 10); err != nil || n != 1 {
			t.Errorf("deleted %d %v", n, err)
		}
	})
}
