package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// deployments is a function service in an environment with the integration acme.
type deployments struct {
	*platform
	*function.Service

	e tenant.Environment
	// hook, when set, is called inside each deployment.
	hook func(ctx context.Context, p function.Plan) error
}

// Deployed implements function.Hooks.
func (d *deployments) Deployed(ctx context.Context, _ tenant.Environment, p function.Plan) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(ctx, p)
}

func newDeployments(t testing.TB, p *platform, functions function.Store) *deployments {
	t.Helper()
	d := &deployments{platform: p, e: tenant.Environment{ID: p.environment}}
	d.Service = function.New(function.Options{Store: functions, Integrations: p.integrations, Hooks: []function.Hooks{d}, Now: p.clock.Now})
	t.Cleanup(d.Close)
	return d
}

func readyToDeploy(t testing.TB, s *store.Store) *deployments {
	t.Helper()
	return newDeployments(t, ready(t, s), s.Functions())
}

func (d *deployments) deploy(t testing.TB, wanted function.Deployment) function.Plan {
	t.Helper()
	plan, err := d.Deploy(t.Context(), d.e, wanted)
	if err != nil {
		t.Fatalf("deploy: %v", err)
	}
	return plan
}

// all deploys functions as the whole environment.
func (d *deployments) all(t testing.TB, functions ...function.Compiled) function.Plan {
	t.Helper()
	return d.deploy(t, function.Deployment{Functions: functions, Mode: function.All, SDKVersion: "0.71.10-zero"})
}

// deployed is what is active, as "integration/name type version".
func (d *deployments) deployed(t testing.TB) []string {
	t.Helper()
	all, err := d.List(t.Context(), d.e.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, f := range all {
		rows = append(rows, fmt.Sprintf("%s/%s %s %s", f.Integration, f.Name, f.Type, f.Version))
	}
	return rows
}

func aSync(integration, name string, models ...string) function.Compiled {
	return function.Compiled{
		Name: name, Integration: integration, JS: "js of " + name, TS: "ts of " + name,
		Definition: function.Definition{Type: function.Sync, Description: "d", Frequency: "every hour", SyncType: "full", Models: models},
	}
}

func anAction(integration, name string) function.Compiled {
	return function.Compiled{Name: name, Integration: integration, JS: "js of " + name, TS: "ts of " + name, Definition: function.Definition{Type: function.Action}}
}

func anOnEvent(integration, name string) function.Compiled {
	return function.Compiled{
		Name: name, Integration: integration, JS: "js of " + name, TS: "ts of " + name,
		Definition: function.Definition{Type: function.OnEvent, Event: "post-connection-creation"},
	}
}

// names gives "name version" of changes, or "name" of deletions.
func names(changes []function.Change) []string {
	var all []string
	for _, c := range changes {
		if c.New == nil {
			all = append(all, c.Old.Name)
			continue
		}
		all = append(all, c.New.Name+" "+c.New.Version)
	}
	return all
}

func wantPlan(t testing.TB, p function.Plan, created, updated, unchanged, deleted []string) {
	t.Helper()
	got := [][]string{names(p.Created), names(p.Updated), names(p.Unchanged), names(p.Deleted)}
	if diff := cmp.Diff([][]string{created, updated, unchanged, deleted}, got); diff != "" {
		t.Errorf("created, updated, unchanged, deleted: %s", diff)
	}
}

func wantRows(t testing.TB, d *deployments, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, d.deployed(t)); diff != "" {
		t.Error(diff)
	}
}

func TestADeployedFunctionIsFoundAsItWasGiven(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		given := aSync("acme", "contacts", "Contact")
		given.JSONSchema = []byte(`{"definitions":{"Contact":{"description":"a <b>"}}}`)
		given.Scopes, given.Features, given.AutoStart = []string{"read"}, []string{"checkpoints"}, true
		given.Endpoints = []function.Endpoint{{Method: "GET", Path: "/contacts"}}
		wantPlan(t, d.all(t, given), []string{"contacts 1"}, nil, nil, nil)

		f, err := d.Get(t.Context(), d.acme, function.Sync, "contacts")
		if err != nil {
			t.Fatal(err)
		}
		if f.Description != "d" || !f.AutoStart || f.Frequency != "every hour" || f.Integration != "acme" || f.Provider != "acme" || !f.Enabled ||
			f.Source != function.FromRepo || !f.DeployedAt.Equal(d.clock.Now()) || f.Schemas()["Contact"] == nil {
			t.Errorf("%+v", f)
		}
		if b := f.Bundle(); b.Code != given.JS || b.Hash != function.Hash(given.JS) || b.Name != "contacts-acme.cjs" || b.SDKVersion != "0.71.10-zero" {
			t.Errorf("%+v", b)
		}
		if source, err := d.Source(t.Context(), f); err != nil || source != given.TS {
			t.Errorf("%q, %v", source, err)
		}
		for _, missing := range []struct {
			t    function.Type
			name string
		}{{function.Action, "contacts"}, {function.Sync, "contact"}} {
			if _, err := d.Get(t.Context(), d.acme, missing.t, missing.name); !errors.Is(err, function.ErrNotFound) {
				t.Errorf("%v: %v", missing, err)
			}
		}
		given.WebhookSubscriptions = []string{} // is none
		wantPlan(t, d.all(t, given), nil, nil, []string{"contacts 1"}, nil)
	})
}

func TestVersionsCountUpWhenTextsChange(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		steps := []struct {
			js, version, want string
			changed           bool
		}{
			{"a", "", "1", true},
			{"a", "", "1", false},
			{"b", "", "2", true},
			{"b", "1.0.9", "1.0.9", true},
			{"c", "", "1.0.10", true},
			{"d", "1.0.10", "1.0.10", true}, // the author insists
			{"d", "1.0.10", "1.0.10", false},
			{"d", "spring", "spring", true},
			{"e", "", "spring", true}, // there is nothing to count
		}
		for i, step := range steps {
			f, event := anAction("acme", "f"), anOnEvent("acme", "e")
			f.JS, f.Version, event.JS = step.js, step.version, fmt.Sprint(i)
			plan := d.deploy(t, function.Deployment{Functions: []function.Compiled{f, event}, Mode: function.All, OnEvents: true})
			want := []string{"acme/f action " + step.want, fmt.Sprintf("acme/e on-event 0.0.%d", i+1)}
			wantRows(t, d, want...)
			if unchanged := len(plan.Unchanged) == 1; unchanged == step.changed {
				t.Errorf("step %d: %+v", i, plan.Unchanged)
			}
		}
		frequent := aSync("acme", "s", "M")
		d.all(t, frequent)
		frequent.Frequency = "every day"
		plan := d.all(t, frequent)
		wantPlan(t, plan, nil, []string{"s 1"}, nil, nil) // a new row, but the text is the same
		if diff := cmp.Diff([]string{"frequency: every hour → every day"}, plan.Updated[0].Differences()); diff != "" {
			t.Error(diff)
		}
		plan = d.deploy(t, function.Deployment{Functions: []function.Compiled{frequent}, Mode: function.All, Source: function.Standalone})
		wantPlan(t, plan, nil, []string{"s 1"}, nil, nil)
	})
}

func TestADisabledFunctionStaysDisabled(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		f := anAction("acme", "f")
		id := d.all(t, f).Created[0].New.ID
		if err := s.Functions().SetEnabled(t.Context(), d.e.ID, id, false); err != nil {
			t.Fatal(err)
		}
		f.JS = "new"
		if plan := d.all(t, f); plan.Updated[0].New.Enabled || plan.Updated[0].New.ID == id {
			t.Errorf("%+v", plan.Updated[0].New)
		}
		if err := s.Functions().SetEnabled(t.Context(), d.e.ID, id, true); !errors.Is(err, function.ErrNotFound) {
			t.Errorf("an old row was enabled: %v", err)
		}
		if err := s.Functions().SetEnabled(t.Context(), d.e.ID+1, d.all(t, f).Unchanged[0].Old.ID, true); !errors.Is(err, function.ErrNotFound) {
			t.Errorf("another environment enabled it: %v", err)
		}
	})
}

func TestWhatADeploymentDeletesDependsOnItsMode(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		d.create(t, d.environment, "other")
		before := []function.Compiled{
			aSync("acme", "s", "S"), anAction("acme", "a"), anOnEvent("acme", "e"), aSync("other", "s", "S"), anOnEvent("other", "e"),
		}
		everything := function.Deployment{Functions: before, Mode: function.All, OnEvents: true}
		d.deploy(t, everything)
		d.deploy(t, function.Deployment{Functions: []function.Compiled{anAction("acme", "by-hand")}, Mode: function.Single, Source: function.Standalone})
		all := []string{"acme/a action 1", "acme/by-hand action 1", "acme/e on-event 0.0.1", "acme/s sync 1", "other/e on-event 0.0.1", "other/s sync 1"}
		rows := func(missing ...string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(row string) bool { return slices.Contains(missing, row) })
		}
		a := anAction("acme", "a")
		for name, test := range map[string]struct {
			wanted function.Deployment
			gone   []string
		}{
			"all":                      {function.Deployment{Functions: []function.Compiled{a}, Mode: function.All, OnEvents: true}, []string{"acme/e on-event 0.0.1", "acme/s sync 1", "other/e on-event 0.0.1", "other/s sync 1"}},
			"all, on-events not sent":  {function.Deployment{Functions: []function.Compiled{a}, Mode: function.All}, []string{"acme/s sync 1", "other/s sync 1"}},
			"one integration":          {function.Deployment{Functions: []function.Compiled{a}, Mode: function.OneIntegration, OnEvents: true}, []string{"acme/e on-event 0.0.1", "acme/s sync 1"}},
			"single":                   {function.Deployment{Functions: []function.Compiled{a}, Mode: function.Single, OnEvents: true}, nil},
			"kept on demand":           {function.Deployment{Functions: []function.Compiled{a}, Mode: function.All, OnEvents: true, KeepMissing: true}, nil},
			"nothing":                  {function.Deployment{Mode: function.All, OnEvents: true}, nil},
			"no sync and no action":    {function.Deployment{Functions: []function.Compiled{anOnEvent("acme", "e")}, Mode: function.All, OnEvents: true}, []string{"other/e on-event 0.0.1"}},
			"what another tool brings": {function.Deployment{Functions: []function.Compiled{anAction("acme", "by-hand")}, Mode: function.Single, Source: function.Standalone}, nil},
		} {
			plan, err := d.Plan(t.Context(), d.e, test.wanted)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantRows(t, d, all...) // a plan changes nothing
			deployed := d.deploy(t, test.wanted)
			if diff := cmp.Diff(names(plan.Deleted), names(deployed.Deleted)); diff != "" {
				t.Errorf("%s: the plan is not what was done: %s", name, diff)
			}
			if diff := cmp.Diff(rows(test.gone...), d.deployed(t)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			d.deploy(t, everything)
		}
	})
}

func TestOnlyLossesOfConnectionsAreDestructive(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		d.all(t, aSync("acme", "s", "Kept", "Dropped"), aSync("acme", "gone", "Gone"), anAction("acme", "a"))
		next := function.Deployment{Functions: []function.Compiled{aSync("acme", "s", "Kept", "New")}, Mode: function.All}
		plan := func(wanted function.Deployment) function.Plan {
			t.Helper()
			plan, err := d.Plan(t.Context(), d.e, wanted)
			if err != nil {
				t.Fatal(err)
			}
			return plan
		}
		if p := plan(next); p.Destructive() || len(p.Deleted) != 2 {
			t.Errorf("without connections: %+v", p)
		}
		d.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		d.importOAuth(t, "c2", map[string]any{"access_token": "a"})
		p := plan(next)
		if !p.Destructive() || !slices.Equal(p.DeletedModels, []string{"Dropped"}) {
			t.Errorf("with connections: %+v", p)
		}
		for _, c := range p.Deleted {
			if c.Connections != 2 {
				t.Errorf("%s: %d connections", c.Old.Name, c.Connections)
			}
		}
		if p := plan(function.Deployment{Functions: []function.Compiled{aSync("acme", "s", "Kept", "Dropped"), aSync("acme", "gone", "Gone")}, Mode: function.All}); p.Destructive() {
			t.Errorf("an action less: %+v", p)
		}
		next.Mode = function.Single
		if p := plan(next); p.Destructive() {
			t.Errorf("single: %+v", p)
		}
	})
}

func TestARefusedDeploymentStoresNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		d.all(t, anAction("acme", "a"))
		refused := func(want error, functions ...function.Compiled) *errs.Error {
			t.Helper()
			_, err := d.Deploy(t.Context(), d.e, function.Deployment{Functions: functions, Mode: function.All, OnEvents: true})
			var known *errs.Error
			if want != nil && !errors.Is(err, want) || want == nil && !errors.As(err, &known) {
				t.Errorf("got %v, want %v", err, want)
			}
			wantRows(t, d, "acme/a action 1")
			if _, err := s.Functions().Text(t.Context(), function.Hash("js of new")); !errors.Is(err, function.ErrNotFound) {
				t.Errorf("a text of a refused deployment was stored: %v", err)
			}
			return known
		}
		unknown := refused(nil, anAction("acme", "new"), anAction("absent", "new"))
		if unknown.Code != "unknown_provider_config" || cmp.Diff(map[string]string{"providerConfigKey": "absent"}, unknown.Payload) != "" {
			t.Errorf("%+v", unknown)
		}
		for _, js := range []string{
			"(function(){}).constructor('return 1')()", "f['constructor'](text)", "const F = f.constructor;\nF('x')", `let F = f["constructor"], y = 1`,
		} {
			unsafe := anAction("acme", "unsafe")
			unsafe.JS = js
			refused(function.ErrUnsafe, anAction("acme", "new"), unsafe)
		}
		broken := errors.New("no schedule")
		d.hook = func(context.Context, function.Plan) error { return broken }
		refused(broken, anAction("acme", "new"))
		d.hook = nil

		plan, err := d.Plan(t.Context(), d.e, function.Deployment{Functions: []function.Compiled{anAction("absent", "new"), anOnEvent("absent", "e")}, Mode: function.Single})
		if err != nil || !slices.Equal(plan.Unknown, []string{"absent"}) {
			t.Errorf("%+v, %v", plan, err)
		}
		wantPlan(t, plan, []string{"new 1"}, nil, nil, nil)
		// An on-event function of an integration that is not there is left out.
		d.all(t, anAction("acme", "a"), anOnEvent("absent", "e"))
		harmless := anAction("acme", "b")
		harmless.JS = "class A { constructor(x) { super(x); } } if (x.constructor === Object || x.constructor()) {}"
		d.all(t, anAction("acme", "a"), harmless)
		wantRows(t, d, "acme/a action 1", "acme/b action 1")
	})
}

func TestTheHookSeesTheTransactionOfTheDeployment(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		var seen function.Plan
		d.hook = func(ctx context.Context, p function.Plan) error {
			seen = p
			f, _, err := s.Functions().Find(ctx, d.e.ID, d.acme.ID, function.Action, "a")
			if err != nil || f.ID != p.Created[0].New.ID {
				return fmt.Errorf("not yet stored: %w", err)
			}
			return nil
		}
		d.all(t, anAction("acme", "a"))
		wantPlan(t, seen, []string{"a 1"}, nil, nil, nil)
	})
}

func TestTwoDeploymentsAtOnceInOneProcessAreAConflict(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		var second error
		d.hook = func(context.Context, function.Plan) error {
			_, second = d.Deploy(t.Context(), d.e, function.Deployment{Functions: []function.Compiled{anAction("acme", "b")}, Mode: function.All})
			return nil
		}
		d.all(t, anAction("acme", "a"))
		if !errors.Is(second, function.ErrConcurrent) {
			t.Errorf("the second: %v", second)
		}
		wantRows(t, d, "acme/a action 1")
		d.hook = nil
		d.all(t, anAction("acme", "b"))
		wantRows(t, d, "acme/b action 1")
	})
}

// tellingStore tells when it is asked for the lock and when a note has been delivered.
type tellingStore struct {
	store.Functions

	locking chan struct{}
	notes   chan struct{}
}

func (s tellingStore) LockEnvironment(ctx context.Context, id int64) error {
	s.locking <- struct{}{}
	return s.Functions.LockEnvironment(ctx, id)
}

func (s tellingStore) Listen(topic string, deliver func(payload string)) func() {
	return s.Functions.Listen(topic, func(payload string) {
		deliver(payload)
		select {
		case s.notes <- struct{}{}:
		default:
		}
	})
}

func (s tellingStore) within(d time.Duration) bool {
	select {
	case <-s.notes:
		return true
	case <-time.After(d):
		return false
	}
}

// twoNodes are two processes on one database.
func twoNodes(t *testing.T) (here, there *deployments, telling tellingStore) {
	t.Helper()
	opts := storetest.Postgres(t)
	first, second := storetest.Open(t, opts), storetest.Open(t, opts)
	p := ready(t, first)
	telling = tellingStore{second.Functions(), make(chan struct{}, 8), make(chan struct{}, 64)}
	return newDeployments(t, p, first.Functions()), newDeployments(t, p, telling), telling
}

func TestDeploymentsOfTwoNodesGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	here, there, telling := twoNodes(t)
	second := make(chan function.Plan, 1)
	here.hook = func(context.Context, function.Plan) error {
		go func() {
			f := anAction("acme", "a")
			f.JS = "changed"
			plan, err := there.Deploy(t.Context(), there.e, function.Deployment{Functions: []function.Compiled{f}, Mode: function.All})
			if err != nil {
				t.Error(err)
			}
			second <- plan
		}()
		<-telling.locking
		// Rows that refer to the environment must not have to wait for a deployment.
		here.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		return nil
	}
	wantPlan(t, here.all(t, anAction("acme", "a")), []string{"a 1"}, nil, nil, nil)
	wantPlan(t, <-second, nil, []string{"a 2"}, nil, nil)
	wantRows(t, here, "acme/a action 2")
}

// TestADeploymentIsSeenOnAnotherNode: time stands still, so only the note can empty the other node's cache.
func TestADeploymentIsSeenOnAnotherNode(t *testing.T) {
	t.Parallel()
	here, there, telling := twoNodes(t)
	for try := 0; !telling.within(100 * time.Millisecond); try++ { // LISTEN begins in the background
		if try == 50 {
			t.Fatal("no notification in 5 s")
		}
		if err := here.store.Notify(t.Context(), "function", ""); err != nil {
			t.Fatal(err)
		}
	}
	code := func() string {
		t.Helper()
		f, err := there.Get(t.Context(), there.acme, function.Action, "a")
		if err != nil {
			t.Fatal(err)
		}
		return f.Bundle().Code
	}
	wait := func() {
		t.Helper()
		if !telling.within(5 * time.Second) {
			t.Fatal("the other node was not told")
		}
		for telling.within(100 * time.Millisecond) { // what is still under way
		}
	}
	f := anAction("acme", "a")
	f.JS = "first"
	here.all(t, f)
	wait()
	if got := code(); got != "first" {
		t.Fatalf("%q", got)
	}
	f.JS = "second"
	here.all(t, f)
	wait()
	if got := code(); got != "second" {
		t.Errorf("%q after the note", got)
	}
}

// deafStore hears no notes.
type deafStore struct{ store.Functions }

func (deafStore) Listen(string, func(string)) func() { return func() {} }

func TestTheCacheForgets(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := newDeployments(t, ready(t, s), deafStore{s.Functions()})
		f := anAction("acme", "a")
		d.all(t, f)
		get := func() error {
			found, err := d.Get(t.Context(), d.acme, function.Action, "a")
			if err == nil && found.Bundle().Code != f.JS {
				return fmt.Errorf("the old code: %s", found.Bundle().Code)
			}
			return err
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		f.JS = "changed"
		id := d.all(t, f).Updated[0].New.ID
		if err := get(); err != nil {
			t.Errorf("after an own deployment: %v", err)
		}
		if err := s.Functions().Deactivate(t.Context(), d.e.ID, id); err != nil { // and nobody is told
			t.Fatal(err)
		}
		d.clock.set(d.clock.Now().Add(29 * time.Second))
		if err := get(); err != nil {
			t.Errorf("not from the cache: %v", err)
		}
		d.clock.set(d.clock.Now().Add(2 * time.Second))
		if err := get(); !errors.Is(err, function.ErrNotFound) {
			t.Errorf("after half a minute: %v", err)
		}
	})
}

func TestAnotherEnvironmentSeesNoFunctions(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		prod := d.production(t)
		theirs := d.create(t, prod, "acme")
		d.all(t, anAction("acme", "a"))
		if all, err := d.List(t.Context(), prod, 0); err != nil || len(all) != 0 {
			t.Errorf("%v, %v", all, err)
		}
		if all, err := d.List(t.Context(), prod, d.acme.ID); err != nil || len(all) != 0 {
			t.Errorf("%v, %v", all, err)
		}
		for _, i := range []*integration.Integration{theirs, {ID: d.acme.ID, EnvironmentID: prod}} {
			if _, err := d.Get(t.Context(), i, function.Action, "a"); !errors.Is(err, function.ErrNotFound) {
				t.Errorf("%+v: %v", i, err)
			}
		}
		plan, err := d.Deploy(t.Context(), tenant.Environment{ID: prod}, function.Deployment{Functions: []function.Compiled{anAction("acme", "b")}, Mode: function.All})
		if err != nil {
			t.Fatal(err)
		}
		wantPlan(t, plan, []string{"b 1"}, nil, nil, nil) // and nothing of dev is deleted
		wantRows(t, d, "acme/a action 1")
	})
}

func TestFunctionsOfAProjectAreNotDeletedByHand(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		d.importOAuth(t, "c1", map[string]any{"access_token": "a"})
		managed := d.all(t, anAction("acme", "a")).Created[0].New
		if err := d.Delete(t.Context(), d.e, managed); !errors.Is(err, function.ErrManagedByDeploy) {
			t.Errorf("got %v", err)
		}
		plan := d.deploy(t, function.Deployment{Functions: []function.Compiled{anAction("acme", "b")}, Mode: function.Single, Source: function.Standalone})
		var told function.Plan
		d.hook = func(_ context.Context, p function.Plan) error {
			told = p
			return nil
		}
		if err := d.Delete(t.Context(), d.e, plan.Created[0].New); err != nil {
			t.Fatal(err)
		}
		wantPlan(t, told, nil, nil, nil, []string{"b"})
		if told.Deleted[0].Connections != 1 {
			t.Errorf("%+v", told.Deleted[0])
		}
		wantRows(t, d, "acme/a action 1")
		if err := s.Write(t.Context(), func(ctx context.Context) error { return d.DeleteAll(ctx, *d.acme) }); err != nil {
			t.Fatal(err)
		}
		wantRows(t, d)
	})
}

func TestAThousandFunctionsDeploy(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		d := readyToDeploy(t, s)
		var all []function.Compiled
		for i := range 1000 {
			f := anAction("acme", fmt.Sprintf("f%d", i))
			f.JS, f.TS = strings.Repeat(f.Name, 1000), strings.Repeat(f.Name, 500)
			all = append(all, f)
		}
		if plan := d.all(t, all...); len(plan.Created) != 1000 {
			t.Errorf("%d", len(plan.Created))
		}
		if plan := d.all(t, all...); len(plan.Unchanged) != 1000 {
			t.Errorf("%d", len(plan.Unchanged))
		}
	})
}
