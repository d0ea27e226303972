package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	acmefunctions "github.com/patchbay-dev/patchbay/examples/acme-functions"
	"github.com/patchbay-dev/patchbay/internal/api"
	"github.com/patchbay-dev/patchbay/internal/api/deployment"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// oneTenant knows the key "good" of an environment.
type oneTenant struct {
	api.Tenants

	environment tenant.Environment
}

func (o oneTenant) Authenticate(_ context.Context, token string) (tenant.Principal, error) {
	p := tenant.Principal{Environment: o.environment, Scopes: []string{tenant.ScopeEnvironment}}
	switch token {
	case "good":
	case "reader":
		p.Scopes = []string{tenant.ScopeLogsRead}
	default:
		return p, errs.New(http.StatusUnauthorized, "unknown_user_account", "The key is wrong")
	}
	return p, nil
}

// connected tells a service that every integration has two connections.
type connected struct{ function.Store }

func (connected) CountConnections(context.Context, int64) (int, error) { return 2, nil }

// deployServer is a real server with the integrations acme-crm and github.
type deployServer struct {
	*httptest.Server

	functions   *function.Service
	environment int64
}

func newDeployServer(t *testing.T) *deployServer {
	t.Helper()
	catalog, err := provider.Load(fstest.MapFS{"acme.yaml": &fstest.MapFile{Data: []byte("display_name: Acme\ncategories: [other]\n" +
		"docs: https://docs.example\nsources: [{name: RFC 6749, licence: facts}]\nconfidence: from-vendor-spec\nauth_mode: NONE\n")}})
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, storetest.SQLite(t))
	v := storetest.Vault(t, s)
	tenants, account := storetest.Tenants(t, s, v)
	dev, err := tenants.EnvironmentByName(t.Context(), account.ID, "dev")
	if err != nil {
		t.Fatal(err)
	}
	integrations := integration.New(integration.Options{Store: s.Integrations(), Tx: s, Hints: s, Vault: v, Catalog: catalog})
	t.Cleanup(integrations.Close)
	for _, key := range []string{"acme-crm", "github"} {
		if _, err := integrations.Create(t.Context(), integration.Integration{EnvironmentID: dev.ID, Key: key, Provider: "acme"}); err != nil {
			t.Fatal(err)
		}
	}
	d := &deployServer{environment: dev.ID}
	d.functions = function.New(function.Options{Store: connected{s.Functions()}, Integrations: integrations})
	t.Cleanup(d.functions.Close)
	d.Server = httptest.NewServer(api.New(api.Options{Tenants: oneTenant{environment: dev}, Integrations: integrations, Functions: d.functions}))
	t.Cleanup(d.Close)
	return d
}

func (d *deployServer) deployed(t *testing.T) []string {
	t.Helper()
	all, err := d.functions.List(t.Context(), d.environment, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, f := range all {
		names = append(names, f.Integration+"/"+f.Name+" "+f.Version)
	}
	return names
}

// run runs a command with input that is no terminal.
func run(ctx context.Context, args ...string) (out, progress string, err error) {
	var o, p strings.Builder
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader("yes\n"))
	root.SetOut(&o)
	root.SetErr(&p)
	err = root.ExecuteContext(ctx)
	return o.String(), p.String(), err
}

func (d *deployServer) deploy(ctx context.Context, folder string, args ...string) (out, progress string, err error) {
	return run(ctx, append([]string{"deploy", folder, "--url", d.URL, "--key", "good"}, args...)...)
}

// project writes files into a folder of its own.
func project(t *testing.T, files fs.FS) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "p")
	if err := os.CopyFS(folder, files); err != nil {
		t.Fatal(err)
	}
	return folder
}

func write(t *testing.T, folder, file, text string) {
	t.Helper()
	path := filepath.Join(folder, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAProjectIsDeployedWithAPlan(t *testing.T) {
	t.Parallel()
	d := newDeployServer(t)
	folder := project(t, acmefunctions.Project)
	deploy := func(want string, args ...string) {
		t.Helper()
		out, progress, err := d.deploy(t.Context(), folder, args...)
		if err != nil {
			t.Fatalf("%v: %v %s", args, err, progress)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("%v: %s", args, diff)
		}
	}
	plan := "+ sync acme-crm/contacts  1.0.0\n+ action acme-crm/create-contact  1.0.0\n"
	deploy(plan+"nothing was deployed\n", "--dry-run")
	if got := d.deployed(t); len(got) != 0 {
		t.Errorf("a dry run deployed %v", got)
	}
	deploy(plan + "deployed 2 functions\n")
	deploy("= sync acme-crm/contacts  1.0.0\n= action acme-crm/create-contact  1.0.0\ndeployed 2 functions\n")
	f, err := d.functions.List(t.Context(), d.environment, 0)
	if err != nil || !f[1].AutoStart || f[1].Frequency != "every hour" || f[1].Schemas()["Contact"] == nil || !slices.Equal(f[1].Features, []string{"checkpoints"}) {
		t.Errorf("%+v, %v", f, err)
	}
	deploy("~ action acme-crm/create-contact  1.0.0 → 2.0.0\ndeployed 1 functions\n", "--action", "create-contact", "--version", "2.0.0")

	sync := filepath.Join(folder, "acme-crm", "syncs", "contacts.ts")
	text, err := os.ReadFile(sync)
	if err != nil {
		t.Fatal(err)
	}
	write(t, folder, "acme-crm/syncs/contacts.ts", strings.NewReplacer("every hour", "every day", "    version: '1.0.0',\n", "").Replace(string(text)))
	deploy("~ sync acme-crm/contacts  1.0.0 → 1.0.1  (code; frequency: every hour → every day)\ndeployed 1 functions\n", "--sync", "contacts")

	out, _, err := d.deploy(t.Context(), folder, "--json", "--integration", "acme-crm")
	var answer struct {
		Plan     deployment.Plan
		Deployed []deployment.Deployed
	}
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil || len(answer.Deployed) != 2 || answer.Deployed[0].Version != "1.0.1" ||
		answer.Plan.Functions[0].Change != "changed" || answer.Plan.Functions[0].PreviousVersion != "2.0.0" {
		t.Errorf("%s, %v", out, err)
	}
}

const (
	simpleSync = `import { createSync } from 'nango';
import { z } from 'zod';
export default createSync({ description: 'd', frequency: 'every hour', models: { Issue: z.object({ id: z.string() }) }, exec: async () => {} });`
	simpleEvent = `import { createOnEvent } from 'nango';
export default createOnEvent({ description: 'd', event: 'post-connection-creation', exec: async () => {} });`
)

func TestDataOfConnectionsIsOnlyDeletedWhenItIsConfirmed(t *testing.T) {
	t.Parallel()
	d := newDeployServer(t)
	folder := t.TempDir()
	write(t, folder, "github/syncs/issues.ts", simpleSync)
	write(t, folder, "github/syncs/others.ts", strings.Replace(simpleSync, "Issue", "Other", 1))
	write(t, folder, "github/on-events/hello.ts", simpleEvent)
	write(t, folder, "index.ts", "import './github/syncs/issues.js';\nimport './github/syncs/others.js';\nimport './github/on-events/hello.js';\n")
	if _, progress, err := d.deploy(t.Context(), folder); err != nil {
		t.Fatal(err, progress)
	}
	all := []string{"github/hello 0.0.1", "github/issues 1", "github/others 1"}
	if diff := cmp.Diff(all, d.deployed(t)); diff != "" {
		t.Fatal(diff)
	}
	write(t, folder, "index.ts", "import './github/syncs/issues.js';\n")
	for _, args := range [][]string{{}, {"--yes"}, {"--allow-destructive"}} {
		out, _, err := d.deploy(t.Context(), folder, args...)
		if err == nil || !strings.Contains(err.Error(), "--yes --allow-destructive") {
			t.Errorf("%v: %v", args, err)
		}
		if !strings.Contains(out, "- sync github/others  1  deletes the records of 2 connections\n- on-event github/hello") &&
			!strings.Contains(out, "- on-event github/hello  0.0.1\n- sync github/others  1  deletes the records of 2 connections\n") {
			t.Errorf("%v: %s", args, out)
		}
		if diff := cmp.Diff(all, d.deployed(t)); diff != "" {
			t.Errorf("%v deleted: %s", args, diff)
		}
	}
	if _, _, err := d.deploy(t.Context(), folder, "--yes", "--allow-destructive"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"github/issues 1"}, d.deployed(t)); diff != "" {
		t.Error(diff)
	}
	write(t, folder, "github/syncs/issues.ts", strings.Replace(simpleSync, "Issue", "Renamed", 1))
	out, _, err := d.deploy(t.Context(), folder)
	if err == nil || !strings.Contains(out, "(code; models: +Renamed -Issue)\n- model Issue") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestNothingIsNoTerminal(t *testing.T) {
	t.Parallel()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nothing.Close() }()
	if isTerminal(nothing) || isTerminal(strings.NewReader("")) {
		t.Error("it would be asked for a confirmation")
	}
}

func TestDeploySaysWhatToDoWhenItCannotWork(t *testing.T) {
	t.Parallel()
	d := newDeployServer(t)
	good := project(t, acmefunctions.Project)
	elsewhere := t.TempDir()
	write(t, elsewhere, "index.ts", "import './absent/syncs/issues.js';\n")
	write(t, elsewhere, "absent/syncs/issues.ts", simpleSync)
	broken := t.TempDir()
	write(t, broken, "index.ts", "import './github/syncs/issues.js';\n")
	write(t, broken, "github/syncs/issues.ts", "export default {\n  oops oops\n}")
	for name, test := range map[string]struct {
		args  []string
		want  string
		usage bool
	}{
		"no folder":      {[]string{filepath.Join(good, "absent"), "--url", d.URL, "--key", "good"}, "is not a folder", true},
		"no project":     {[]string{t.TempDir(), "--url", d.URL, "--key", "good"}, "it has no index.ts", false},
		"no server":      {[]string{good, "--url", "http://127.0.0.1:1", "--key", "good"}, "is the server running?", false},
		"another server": {[]string{good, "--url", d.URL + "/x", "--key", "good"}, "No such route", false},
		"no URL":         {[]string{good, "--url", "localhost:3003", "--key", "good"}, "want something like http://localhost:3003", true},
		"no key":         {[]string{good, "--url", d.URL, "--env", "st-age"}, "PATCHBAY_SECRET_KEY_ST_AGE", true},
		"a wrong key":    {[]string{good, "--url", d.URL, "--key", "bad"}, "patchbay key show", false},
		"a small key":    {[]string{good, "--url", d.URL, "--key", "reader"}, "needs the scope environment:deploy", false},
		"no integration": {[]string{elsewhere, "--url", d.URL, "--key", "good"}, "no integration absent: create it first", false},
		"no such sync":   {[]string{good, "--url", d.URL, "--key", "good", "--sync", "x"}, "the project has no sync x", true},
		"both":           {[]string{good, "--url", d.URL, "--key", "good", "--sync", "x", "--action", "y"}, "none of the others can be", false},
		"two folders":    {[]string{good, good}, "at most 1", true},
	} {
		_, _, err := run(t.Context(), append([]string{"deploy"}, test.args...)...)
		var usage usageError
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &usage) != test.usage {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "good") {
			t.Errorf("%s: the key is in %v", name, err)
		}
	}
	_, progress, err := d.deploy(t.Context(), broken)
	if status := exitError(0); !errors.As(err, &status) || status != 1 || !strings.HasPrefix(progress, "github/syncs/issues.ts:2:8: Expected") {
		t.Errorf("%v: %s", err, progress)
	}
	if got := d.deployed(t); len(got) != 0 {
		t.Errorf("deployed %v", got)
	}
}

func TestTheKeyOfTheEnvironmentGoesFirst(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"NANGO_SECRET_KEY": "a", "PATCHBAY_SECRET_KEY_PROD": "b", "NANGO_SECRET_KEY_DEV": "c", "PATCHBAY_URL": "https://p.example/base"}
	getenv := func(name string) string { return variables[name] }
	for _, test := range []struct {
		flags     serverFlags
		key, base string
	}{
		{serverFlags{}, "a", "https://p.example/base"},
		{serverFlags{env: "prod"}, "b", "https://p.example/base"},
		{serverFlags{env: "dev"}, "c", "https://p.example/base"},
		{serverFlags{env: "other"}, "a", "https://p.example/base"},
		{serverFlags{env: "prod", key: "d", url: "http://x"}, "d", "http://x"},
	} {
		c, err := test.flags.client(getenv)
		if err != nil || c.key.Reveal() != test.key || c.base.String() != test.base {
			t.Errorf("%+v: %+v, %v", test.flags, c, err)
		}
	}
	c, err := (&serverFlags{key: "k"}).client(func(string) string { return "" })
	if err != nil || c.base.String() != "http://localhost:3003" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCompileListsFunctionsAndProblems(t *testing.T) {
	t.Parallel()
	folder := project(t, acmefunctions.Project)
	out, _, err := run(t.Context(), "compile", folder)
	if err != nil || out != "sync    acme-crm  contacts        every hour\naction  acme-crm  create-contact  \n" {
		t.Errorf("%q, %v", out, err)
	}
	type answer struct {
		Functions []compiledRow
		Problems  []struct {
			File         string
			Line, Column int
			Message      string
		}
	}
	read := func(out string) (a answer) {
		t.Helper()
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err, out)
		}
		return a
	}
	out, _, err = run(t.Context(), "compile", folder, "--json")
	if a := read(out); err != nil || len(a.Functions) != 2 || a.Functions[0].Models[0] != "Contact" || a.Functions[0].Bytes == 0 || len(a.Problems) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	write(t, folder, "index.ts", "import './absent.js';\nimport './also.js';\n")
	out, progress, err := run(t.Context(), "compile", folder, "--json")
	status := exitError(0)
	if a := read(out); !errors.As(err, &status) || len(a.Problems) != 2 || a.Problems[1].Line != 2 || !strings.HasSuffix(progress, "\n2 problems\n") {
		t.Errorf("%+v, %v, %s", a, err, progress)
	}
	if _, _, err := run(t.Context(), "compile", t.TempDir()); err == nil || !strings.Contains(err.Error(), "patchbay init") {
		t.Error(err)
	}
}

func TestErrorsNameTheFieldsAtFault(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	printError(&out, errs.Invalid("invalid_body", errs.Issue{Message: "Invalid input", Path: []string{"flowConfigs", "0", "runs"}}))
	printError(&out, fmt.Errorf("doing: %w", errs.New(http.StatusConflict, "concurrent_deployment", "Try again")))
	if want := "patchbay: invalid_body\n  flowConfigs.0.runs: Invalid input\npatchbay: Try again (concurrent_deployment)\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
