package sourcemap_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/patchbay-dev/patchbay/internal/runner/sourcemap"
)

const source = `import type { X } from './x';

interface Input { name: string }

export default async function run(input: Input): Promise<string> {
    if (!input.name) {
        throw new Error('no name');
    }
    return input.name;
}
`

func bundle(t testing.TB) string {
	t.Helper()
	r := api.Transform(source, api.TransformOptions{
		Loader: api.LoaderTS, Format: api.FormatCommonJS, Sourcemap: api.SourceMapInline, Sourcefile: "github/syncs/run.ts",
	})
	if len(r.Errors) > 0 {
		t.Fatal(r.Errors[0].Text)
	}
	return string(r.Code)
}

func TestFindLeadsToTheAuthorsLine(t *testing.T) {
	t.Parallel()
	script := bundle(t)
	m, err := sourcemap.FromScript(script)
	if err != nil {
		t.Fatal(err)
	}
	for number, line := range strings.Split(script, "\n") {
		column := strings.Index(line, "new Error")
		if column < 0 {
			continue
		}
		got, ok := m.Find(number+1, column+1)
		if want := (sourcemap.Position{Source: "github/syncs/run.ts", Line: 7, Column: 15}); !ok || got != want {
			t.Errorf("got %+v %v, want %+v", got, ok, want)
		}
		return
	}
	t.Error("the script does not throw")
}

func TestFindFindsNothingOutside(t *testing.T) {
	t.Parallel()
	m, err := sourcemap.FromScript(bundle(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range [][2]int{{0, 1}, {-1, 1}, {1, 1}, {10000, 1}} {
		if p, ok := m.Find(place[0], place[1]); ok {
			t.Errorf("%v: %+v", place, p)
		}
	}
}

func script(mapping string) string {
	return "x\n//# sourceMappingURL=data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(mapping)) + "\n"
}

func TestFromScriptRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no json":                script(`{`),
		"another version":        script(`{"version":2}`),
		"a source out of range":  script(`{"version":3,"sources":["a"],"mappings":"ACAA"}`),
		"a negative line":        script(`{"version":3,"sources":["a"],"mappings":"AADA"}`),
		"an unfinished number":   script(`{"version":3,"sources":["a"],"mappings":"g"}`),
		"an endless number":      script(`{"version":3,"sources":["a"],"mappings":"ggggggggggggggggA"}`),
		"six fields":             script(`{"version":3,"sources":["a"],"mappings":"AAAAAA"}`),
		"a foreign digit":        script(`{"version":3,"sources":["a"],"mappings":"A!AA"}`),
		"base64 that is none":    "//# sourceMappingURL=data:application/json;base64,%%%",
		"a data URL without end": "//# sourceMappingURL=data:application/json",
	} {
		if m, err := sourcemap.FromScript(text); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if _, err := sourcemap.FromScript("exports.x = 1;\n//# sourceMappingURL=x.js.map"); !errors.Is(err, sourcemap.ErrNone) {
		t.Errorf("a link to a file: %v", err)
	}
}

func FuzzFind(f *testing.F) {
	f.Add(bundle(f), 3, 5)
	f.Add(script(`{"version":3,"sources":["a"],"mappings":"AAAA;;AACA,CAAC;A"}`), 1, 1)
	f.Fuzz(func(t *testing.T, text string, line, column int) {
		m, err := sourcemap.FromScript(text)
		if err != nil {
			return
		}
		if p, ok := m.Find(line, column); ok && (p.Line < 1 || p.Column < 1) {
			t.Errorf("%+v", p)
		}
	})
}
