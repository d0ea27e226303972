package runner_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

const author = `import { createAction } from 'nango';
interface Input { id: string }

function check(input: Input): void {
    if (!input.id) {
        throw new TypeError('no id');
    }
}

export default createAction({
    exec: async (nango: unknown, input: Input) => {
        check(input);
        return input.id;
    }
});
`

func TestStacksShowTheAuthorsLines(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	for name, minify := range map[string]bool{"plain": false, "on one line": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			built := api.Transform(author, api.TransformOptions{
				Loader: api.LoaderTS, Format: api.FormatCommonJS, Sourcemap: api.SourceMapInline, Sourcefile: "github/actions/act.ts",
				MinifyWhitespace: minify,
			})
			if len(built.Errors) > 0 {
				t.Fatal(built.Errors[0].Text)
			}
			req := action("")
			req.Bundle.Hash, req.Bundle.Code = name, string(built.Code)
			r, err := p.Run(t.Context(), req, &host{})
			if err != nil || r.Error == nil {
				t.Fatalf("got %s %v", r.Output, err)
			}
			var payload struct {
				Name, Message string
				Stacktrace    []string
			}
			if err := json.Unmarshal(r.Error.Payload, &payload); err != nil {
				t.Fatal(err)
			}
			if payload.Name != "TypeError" || payload.Message != "no id" {
				t.Errorf("payload %+v", payload)
			}
			for _, text := range []string{strings.Join(payload.Stacktrace, "\n"), r.Error.Stack} {
				if !strings.Contains(text, "check (github/actions/act.ts:6:") || !strings.Contains(text, "github/actions/act.ts:12:") {
					t.Errorf("stack:\n%s", text)
				}
				if strings.Contains(text, ".cjs") {
					t.Errorf("the stack shows the bundle:\n%s", text)
				}
			}
		})
	}
}

func TestStackWithoutMapShowsTheBundle(t *testing.T) {
	t.Parallel()
	p := newPool(t, runner.Options{Workers: 1})
	r, err := p.Run(t.Context(), action("\n\nthrow new Error('here')"), &host{})
	if err != nil || r.Error == nil || !strings.Contains(string(r.Error.Payload), "act-test.cjs:3:") {
		t.Errorf("got %v %v", r.Error, err)
	}
}
