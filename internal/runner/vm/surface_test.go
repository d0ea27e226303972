package vm_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-dev/patchbay/internal/runner/vm"
)

const errFunction = `const err = (f, only) => {
	try { f() } catch (e) { return only === 'name' ? e.name : [e.name, e.code ?? null, e.message.split(/[.:] /)[0].slice(0, 60)] }
	return 'no error';
};`

// TestSurfaceIsNodes compares the language surface, and the changed zod, with what Node and the npm package answer to the same
// expressions.
func TestSurfaceIsNodes(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	for name, prelude := range map[string]string{
		"surface": "",
		"zod":     `const zod = require("zod"), { z } = zod; const issues = (r) => (r.success ? 'success' : r.error.issues.map((i) => [i.code, i.path.join('.'), i.message]));`,
	} {
		want := strings.Split(read(t, "testdata/"+name+".golden"), "\n")
		n := 0
		for line := range strings.SplitSeq(read(t, "testdata/"+name+".js"), "\n") {
			if line == "" || strings.HasPrefix(line, "//") {
				continue
			}
			expected := want[n]
			n++
			out := run(t, e, "exports.default = async () => {"+errFunction+prelude+"\nreturn "+line+"\n}", vm.Job{CPU: slow * 20 * time.Second})
			if out.Err != nil {
				t.Errorf("%s\n got %v\nwant %s", line, out.Err, expected)
				continue
			}
			var a, b any
			if json.Unmarshal([]byte(out.Result), &a) != nil || json.Unmarshal([]byte(expected), &b) != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s\n got %s\nwant %s", line, out.Result, expected)
			}
		}
		if n == 0 || len(want) != n+1 {
			t.Errorf("%s: %d expressions, %d answers", name, n, len(want)-1)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
