package archtest

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// A test is named in a document as `folder.TestName`.
var testName = regexp.MustCompile("`([a-z0-9_/]+)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)`")

// TestPromisesNameTestsThatExist keeps the table of promises from pointing at nothing.
func TestPromisesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				exists[strings.TrimPrefix(f.folder, "internal/")+"."+fn.Name.Name] = true
			}
		}
	}
	text := read(t, "docs/architecture.md")
	for _, m := range testName.FindAllStringSubmatch(text, -1) {
		if name := m[1] + "." + m[2]; !exists[name] {
			t.Errorf("docs/architecture.md names the test %s, which does not exist", name)
		}
	}
}

var (
	required   = regexp.MustCompile(`(?m)^\s*(?:require )?([a-z0-9.-]+\.[a-z]+/\S+) v\S+( // indirect)?$`)
	toolLine   = regexp.MustCompile(`(?m)^tool (\S+)$`)
	documented = regexp.MustCompile("(?m)^\\| `([^`]+)`")
)

// TestDependenciesAreWhatIsImported: go.mod calls direct what is imported here and nothing else, and docs/dependencies.md
// has a line with the reason for each of those and for no other.
func TestDependenciesAreWhatIsImported(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, m := range documented.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		listed[m[1]] = true
	}
	var modules []string
	direct := map[string]bool{}
	for _, m := range required.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		modules = append(modules, m[1])
		direct[m[1]] = m[2] == ""
	}
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			if m := moduleOf(imported, modules); m != "" {
				used[m] = true
			}
		}
	}
	for _, m := range modules {
		if direct[m] && !used[m] {
			t.Errorf("go.mod calls %s direct, but nothing imports it", m)
		}
		if !direct[m] && used[m] {
			t.Errorf("go.mod calls %s indirect, but it is imported", m)
		}
	}
	for _, m := range toolLine.FindAllStringSubmatch(read(t, "tools/go.mod"), -1) {
		used[m[1]] = true
	}
	for m := range used {
		if !listed[m] {
			t.Errorf("docs/dependencies.md has no line for %s: why, licence, what else was considered", m)
		}
	}
	for m := range listed {
		if !used[m] {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", m)
		}
	}
}

// moduleOf is the longest of modules that contains the package.
func moduleOf(imported string, modules []string) string {
	longest := ""
	for _, m := range modules {
		if within(imported, []string{m}) && len(m) > len(longest) {
			longest = m
		}
	}
	return longest
}
