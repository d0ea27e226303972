package archtest

import (
	"bytes"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The limits of docs/architecture.md, in lines. A reader holds a file of 300 lines in the head and not one of 800; a package
// over 3,000 lines is two nouns.
const (
	maxFile    = 800
	maxPackage = 3000
	maxMedian  = 300
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if ignoredByBuild(f.syntax) || strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		doc := f.syntax.Doc.Text()
		name := f.syntax.Name.Name
		if doc != "" && name != "main" && !strings.HasPrefix(doc, "Package "+name+" ") {
			t.Errorf("%s: the package comment does not begin with %q", f.name, "Package "+name)
		}
		documented[f.folder] = documented[f.folder] || doc != ""
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say what it is, what it promises and what breaks it", folder)
		}
	}
}

type sizes struct {
	Files    []oversize `yaml:"files"`
	Packages []oversize `yaml:"packages"`
}

type oversize struct {
	Name   string `yaml:"name"`
	Lines  int    `yaml:"lines"`
	Reason string `yaml:"reason"`
}

func TestFilesAndPackagesStaySmall(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("sizes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var allowed sizes
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&allowed); err != nil {
		t.Fatalf("sizes.yaml: %v", err)
	}

	files, packages := map[string]int{}, map[string]int{}
	for _, f := range goFiles(t) {
		if f.generated {
			continue
		}
		files[f.name] = f.lines
		if !strings.HasSuffix(f.name, "_test.go") {
			packages[f.folder] += f.lines
		}
	}
	checkSizes(t, "file", files, maxFile, allowed.Files)
	checkSizes(t, "package", packages, maxPackage, allowed.Packages)

	var source []int
	for name, n := range files {
		if !strings.HasSuffix(name, "_test.go") {
			source = append(source, n)
		}
	}
	slices.Sort(source)
	median := source[len(source)/2]
	if median > maxMedian {
		t.Errorf("the median file has %d lines, the limit is %d", median, maxMedian)
	}
	file, pkg := largest(files), largest(packages)
	t.Logf("%d packages; median file %d lines; largest file %s %d; largest package %s %d",
		len(packages), median, file, files[file], pkg, packages[pkg])
}

// checkSizes fails for what is over the limit and not allowed, and for what the allow-list no longer needs.
func checkSizes(t *testing.T, what string, lines map[string]int, limit int, allowed []oversize) {
	t.Helper()
	ceiling := map[string]int{}
	for _, a := range allowed {
		ceiling[a.Name] = a.Lines
		if a.Reason == "" {
			t.Errorf("sizes.yaml: %s %s has no reason", what, a.Name)
		}
		if lines[a.Name] <= limit {
			t.Errorf("sizes.yaml: %s %s is not over %d lines (any more): remove it", what, a.Name, limit)
		}
	}
	for name, n := range lines {
		if n > max(limit, ceiling[name]) {
			t.Errorf("%s %s has %d lines, the limit is %d: cut it by what its parts are about", what, name, n, max(limit, ceiling[name]))
		}
	}
}

func largest(lines map[string]int) string {
	return slices.MaxFunc(slices.Sorted(maps.Keys(lines)), func(a, b string) int { return lines[a] - lines[b] })
}

// TestNoMutablePackageState finds package variables that are written after they are declared, or that are made to be: locks,
// atomics, channels. Tables and sentinels are fine. Within a file only; a write from another file of the package is rare.
func TestNoMutablePackageState(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if !f.isProduct() {
			continue
		}
		vars := map[*ast.Object]bool{} //nolint:staticcheck // resolving with types would load every package; within a file this is exact
		for _, decl := range f.syntax.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				value := spec.(*ast.ValueSpec)
				for _, name := range value.Names {
					vars[name.Obj] = true
					if isMutableType(value) {
						t.Errorf("%s: package variable %s is state; give it an owner", f.fset.Position(name.Pos()), name.Name)
					}
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			for _, target := range written(n) {
				if id := rootIdent(target); id != nil && id.Obj != nil && vars[id.Obj] {
					t.Errorf("%s: package variable %s is written here; give it an owner", f.fset.Position(id.Pos()), id.Name)
				}
			}
			return true
		})
	}
}

// isMutableType reports whether a declaration names a type that exists to be changed: sync.Mutex, atomic.Int64, a channel.
func isMutableType(v *ast.ValueSpec) bool {
	if v.Type == nil {
		return false
	}
	found := false
	ast.Inspect(v.Type, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ChanType:
			found = true
		case *ast.SelectorExpr:
			if p, ok := n.X.(*ast.Ident); ok && (p.Name == "sync" || p.Name == "atomic") {
				found = true
			}
		case *ast.FuncType, *ast.InterfaceType:
			return false
		}
		return !found
	})
	return found
}

// written are the expressions that a statement writes to.
func written(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// rootIdent is the variable that an index, field or dereference starts from.
func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
