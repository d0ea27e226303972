package archtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type rings struct {
	Rings      []ring       `yaml:"rings"`
	Restricted []restricted `yaml:"restricted"`
	Forbidden  []restricted `yaml:"forbidden"`
}

// A ring may import itself and the rings after it in the table.
type ring struct {
	Name     string   `yaml:"name"`
	Packages []string `yaml:"packages"`
	// Importers are the rings that may import this one; none means every ring above.
	Importers []string `yaml:"importers"`
	Reason    string   `yaml:"reason"`
}

type restricted struct {
	Packages []string `yaml:"packages"`
	Only     []string `yaml:"only"`
	Reason   string   `yaml:"reason"`
}

// outside are folders with Go that is no part of the product.
var outside = []string{"internal/archtest", "test", "examples"}

func loadRings(t *testing.T) rings {
	t.Helper()
	text, err := os.ReadFile("rings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r rings
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("rings.yaml: %v", err)
	}
	for _, x := range slices.Concat(r.Restricted, r.Forbidden) {
		if x.Reason == "" {
			t.Fatalf("rings.yaml: %v has no reason", x.Packages)
		}
	}
	return r
}

// of gives the place of a folder's ring, or -1.
func (r rings) of(folder string) int {
	return slices.IndexFunc(r.Rings, func(x ring) bool { return within(folder, x.Packages) })
}

// allows reports whether ring from may import ring to.
func (r rings) allows(from, to int) bool {
	if from == to {
		return true
	}
	importers := r.Rings[to].Importers
	return from < to && (importers == nil || slices.Contains(importers, r.Rings[from].Name))
}

func TestImportsFollowTheRings(t *testing.T) {
	t.Parallel()
	table := loadRings(t)
	for _, f := range goFiles(t) {
		if table.of(f.folder) < 0 && !within(f.folder, outside) {
			t.Errorf("%s: %s is in no ring; add it to internal/archtest/rings.yaml", f.name, f.folder)
		}
		for _, imported := range f.imports() {
			for _, fault := range table.faults(f, imported) {
				t.Errorf("%s imports %s: %s", f.name, imported, fault)
			}
		}
	}
}

// faults says what is wrong with an import.
func (r rings) faults(f goFile, imported string) []string {
	var found []string
	for _, x := range r.Forbidden {
		if within(imported, x.Packages) {
			found = append(found, x.Reason)
		}
	}
	from := r.of(f.folder)
	if from < 0 || !f.isProduct() {
		return found
	}
	for _, x := range r.Restricted {
		if restrictedMatch(imported, x.Packages) && !within(f.folder, x.Only) {
			found = append(found, x.Reason)
		}
	}
	folder, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return found
	}
	switch to := r.of(folder); {
	case to < 0:
		found = append(found, "it is in no ring")
	case !r.allows(from, to):
		found = append(found, fmt.Sprintf("ring %s may not import ring %s: %s", r.Rings[from].Name, r.Rings[to].Name, r.Rings[to].Reason))
	}
	return found
}

// restrictedMatch is within for import paths; packages of the standard library match exactly, so that log is not log/slog.
func restrictedMatch(imported string, packages []string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		if isStd(p) && p != "database/sql" {
			return imported == p
		}
		return within(imported, []string{p})
	})
}

func isStd(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// TestGeneratedLintRules keeps the depguard rules of the linter equal to the table.
func TestGeneratedLintRules(t *testing.T) {
	t.Parallel()
	table := loadRings(t)
	var b strings.Builder
	tests := []string{"!**/*_test.go", "!**/*test/*.go", "!**/generate/*.go"}
	for from, r := range table.Rings {
		var deny []string
		for to, other := range table.Rings {
			if table.allows(from, to) {
				continue
			}
			for _, p := range other.Packages {
				desc := fmt.Sprintf("ring %s may not import ring %s: %s", r.Name, other.Name, other.Reason)
				deny = append(deny, denyEntry(module+"/"+p+"$", desc), denyEntry(module+"/"+p+"/", desc))
			}
		}
		if deny != nil {
			writeRule(&b, "ring-"+r.Name, slices.Concat(globs("", r.Packages), tests), deny)
		}
	}
	for _, x := range table.Restricted {
		files := slices.Concat([]string{"$all"}, tests, globs("!", x.Only), globs("!", outside))
		writeRule(&b, "only-"+ruleName(x.Packages[0]), files, denyAll(x))
	}
	for _, x := range table.Forbidden {
		writeRule(&b, "never-"+ruleName(x.Packages[0]), []string{"$all"}, denyAll(x))
	}
	compareGenerated(t, ".golangci.yml", "        # rings: generated from internal/archtest/rings.yaml\n", "        # rings: end\n", b.String())
}

func denyAll(x restricted) []string {
	var deny []string
	for _, p := range x.Packages {
		deny = append(deny, denyEntry(p+"$", x.Reason))
		if !isStd(p) || p == "database/sql" {
			deny = append(deny, denyEntry(p+"/", x.Reason))
		}
	}
	return deny
}

func globs(prefix string, folders []string) []string {
	patterns := make([]string, 0, len(folders))
	for _, f := range folders {
		patterns = append(patterns, prefix+"${base-path}/"+f+"/**")
	}
	return patterns
}

func denyEntry(pkg, desc string) string {
	return fmt.Sprintf("            - { pkg: %q, desc: %q }\n", pkg, desc)
}

func writeRule(b *strings.Builder, name string, files, deny []string) {
	fmt.Fprintf(b, "        %s:\n          list-mode: lax\n          files:\n", name)
	for _, f := range files {
		fmt.Fprintf(b, "            - %q\n", f)
	}
	b.WriteString("          deny:\n")
	for _, d := range deny {
		b.WriteString(d)
	}
}

func ruleName(p string) string {
	return strings.NewReplacer("/", "-", ".", "-").Replace(p)
}

// TestGeneratedRingTable keeps the table of the document equal to the table.
func TestGeneratedRingTable(t *testing.T) {
	t.Parallel()
	table := loadRings(t)
	var b strings.Builder
	b.WriteString("| ring | packages | may import | why it is a ring |\n| --- | --- | --- | --- |\n")
	for from, r := range table.Rings {
		var may []string
		for to, other := range table.Rings {
			if to != from && table.allows(from, to) {
				may = append(may, other.Name)
			}
		}
		if may == nil {
			may = []string{"only itself"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Name, code(r.Packages), strings.Join(may, ", "), r.Reason)
	}
	b.WriteString("\n| package | only imported by | why |\n| --- | --- | --- |\n")
	for _, x := range table.Restricted {
		only := "nobody"
		if len(x.Only) > 0 {
			only = code(x.Only)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(x.Packages), only, x.Reason)
	}
	compareGenerated(t, "docs/architecture.md", "<!-- rings: generated from internal/archtest/rings.yaml -->\n", "<!-- rings: end -->\n", b.String())
}

func code(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, n := range names {
		quoted = append(quoted, "`"+strings.TrimPrefix(n, "internal/")+"`")
	}
	return strings.Join(quoted, ", ")
}

// compareGenerated compares the text between two marker lines of a file with want; with -update it writes it.
func compareGenerated(t *testing.T, name, begin, end, want string) {
	t.Helper()
	text := read(t, name)
	before, rest, ok := strings.Cut(text, begin)
	if !ok {
		t.Fatalf("%s has no line %q", name, strings.TrimSpace(begin))
	}
	got, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no line %q", name, strings.TrimSpace(end))
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s does not agree with internal/archtest/rings.yaml: make generate", name)
		return
	}
	file := filepath.Join(root, filepath.FromSlash(name))
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}
