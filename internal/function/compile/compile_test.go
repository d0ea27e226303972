package compile_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	acmefunctions "github.com/patchbay-dev/patchbay/examples/acme-functions"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/function/compile"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// TestMain lets the test binary be the runner process of its own pools.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "runner" {
		os.Exit(runner.Main(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func newPool(t testing.TB) *runner.Pool {
	t.Helper()
	pool := runner.NewPool(runner.Options{Workers: 1, Logger: slog.New(slog.DiscardHandler)})
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return pool
}

func TestTheExampleProjectCompiles(t *testing.T) {
	t.Parallel()
	all, err := compile.Project(t.Context(), acmefunctions.Project, compile.Options{Inspector: newPool(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d functions", len(all))
	}
	sync, action := all[0], all[1]
	for _, c := range all {
		var schema struct {
			Definitions map[string]any `json:"definitions"`
		}
		if err := json.Unmarshal(c.JSONSchema, &schema); err != nil {
			t.Fatal(err)
		}
		for _, model := range append(c.Models, c.Input) {
			if model != "" && schema.Definitions[model] == nil {
				t.Errorf("%s: the schema lacks %s: %s", c.Name, model, c.JSONSchema)
			}
		}
		if !strings.Contains(c.JS, `require("zod")`) || strings.Contains(c.JS, "AcmeContact = z2.object") {
			t.Errorf("%s: zod is not left to the runtime", c.Name)
		}
	}
	sync.JS, sync.TS, sync.JSONSchema, action.JS, action.TS, action.JSONSchema = "", "", nil, "", "", nil
	want := function.Compiled{
		Name: "contacts", Integration: "acme-crm",
		Definition: function.Definition{
			Type: function.Sync, Description: sync.Description, Version: "1.0.0", Scopes: []string{}, Endpoints: []function.Endpoint{}, Models: []string{"Contact"},
			Frequency: "every hour", SyncType: "full", AutoStart: true, WebhookSubscriptions: []string{}, Features: []string{"checkpoints"},
		},
	}
	if diff := cmp.Diff(want, sync); diff != "" {
		t.Error(diff)
	}
	if action.Type != function.Action || action.Input != "ActionInput_acme_crm_createcontact" || action.Models[0] != "ActionOutput_acme_crm_createcontact" {
		t.Errorf("%+v", action)
	}
}

const goodSync = `import { createSync } from 'nango';
import { z } from 'zod';
export default createSync({ description: 'd', frequency: 'every hour', models: { Thing: z.object({ id: z.string() }) }, exec: async () => {} });`

func TestEveryProblemOfAProjectIsReportedWhereItIs(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"no entry points": {map[string]string{"index.ts": "// nothing\n"}, []string{"index.ts: no function is imported"}},
		"wrong places": {
			map[string]string{
				"index.ts": "import './missing/syncs/a.js'\nimport \"../outside.js\"\nimport './a.js'\nimport './gh/syncs/good.js'\nimport './gh/syncs/good.js'\nimport './gh/syncs/b d.js'\n",
				"a.ts":     "", "gh/syncs/good.ts": goodSync, "gh/syncs/b d.ts": goodSync,
			},
			[]string{
				"index.ts:1:1: ./missing/syncs/a.js does not exist", "index.ts:3:1: a.ts is at the wrong place",
				"index.ts:5:1: gh/syncs/good.ts is imported twice", `index.ts:6:1: "b d" is no name for a function`,
			},
		},
		"syntax error": {
			map[string]string{"index.ts": "import './gh/syncs/a.js'", "gh/syncs/a.ts": "export default {\n  oops oops\n}"},
			[]string{`gh/syncs/a.ts:2:8: Expected "}" but found "oops"`},
		},
		"modules": {
			map[string]string{
				"index.ts":      "import './gh/syncs/a.js'",
				"gh/syncs/a.ts": "import fs from 'node:fs';\nimport _ from 'lodash';\nimport './nope.js';\nimport '../../../etc/passwd';\nexport default [fs, _];",
			},
			[]string{
				`gh/syncs/a.ts:1:16: The module "node:fs" is not available to functions`, `gh/syncs/a.ts:2:15: The module "lodash" is not available`,
				`gh/syncs/a.ts:3:8: Could not resolve "./nope.js"`, `gh/syncs/a.ts:4:8: Could not resolve "../../../etc/passwd"`,
			},
		},
		"no default export":   {one("export const x = 1;"), []string{"gh/syncs/a.ts: loading the module fails: "}},
		"not a definition":    {one("export default { type: 'other' };"), []string{"gh/syncs/a.ts: "}},
		"throws while loaded": {one("throw new Error('at load');"), []string{"gh/syncs/a.ts: loading the module fails: at load"}},
		"endless loop":        {one("for (;;) {}"), []string{"gh/syncs/a.ts: loading the module does not end"}},
		"10 GB":               {one("const all: Uint8Array[] = []; for (;;) all.push(new Uint8Array(8e6).fill(1));"), []string{"gh/syncs/a.ts: loading the module needs more memory"}},
		"an action among syncs": {
			one("import { createAction } from 'nango'; import { z } from 'zod'; export default createAction({description: 'd', input: z.void(), output: z.void(), exec: async () => {}});"),
			[]string{"gh/syncs/a.ts: a function made with createAction belongs into the folder actions"},
		},
		"frequency too short": {one(strings.Replace(goodSync, "every hour", "every 5 seconds", 1)), []string{`gh/syncs/a.ts: frequency "every 5 seconds": A sync can run every 30 seconds`}},
		"frequency unknown":   {one(strings.Replace(goodSync, "every hour", "now and then", 1)), []string{`gh/syncs/a.ts: frequency "now and then": `}},
		"model name":          {one(strings.Replace(goodSync, "Thing", "thing", 1)), []string{`gh/syncs/a.ts: "thing" is no name for a model`}},
		"a model of two syncs": {
			map[string]string{"index.ts": "import './gh/syncs/a.js'\nimport './gh/syncs/b.js'\n", "gh/syncs/a.ts": goodSync, "gh/syncs/b.ts": goodSync},
			[]string{"gh/syncs/b.ts: the model Thing is also synced by a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := fstest.MapFS{}
			for file, text := range test.files {
				project[file] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := compile.Project(t.Context(), project, compile.Options{Inspector: pool})
			var problems compile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("err = %v", err)
			}
			if len(problems) != len(test.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(problems), len(test.want), problems)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(problems[i].String(), want) {
					t.Errorf("problem %d is\n%s, want\n%s", i, problems[i], want)
				}
			}
		})
	}
	t.Run("not a project", func(t *testing.T) {
		t.Parallel()
		var not *compile.NotAProjectError
		if _, err := compile.Project(t.Context(), fstest.MapFS{}, compile.Options{Inspector: pool}); !errors.As(err, &not) {
			t.Errorf("err = %v", err)
		}
	})
}

func one(source string) map[string]string {
	return map[string]string{"index.ts": "import './gh/syncs/a.js'\n", "gh/syncs/a.ts": source}
}
