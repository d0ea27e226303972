package archtest

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/patchbay-dev/patchbay"
	root   = "../.."
)

// goFile is one Go file of the tree; names are slash-separated and relative to the repository.
type goFile struct {
	name      string
	folder    string
	lines     int
	test      bool // _test.go, or in a package whose name ends in "test"
	generated bool
	ignored   bool // a program that go generate runs: with //go:build ignore, or in a folder named generate
	syntax    *ast.File
	fset      *token.FileSet
}

// imports are the import paths of f.
func (f goFile) imports() []string {
	paths := make([]string, 0, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// isProduct reports whether f is compiled into the binary.
func (f goFile) isProduct() bool { return !f.test && !f.ignored }

// Folders that hold nothing of the product: at any depth what tools put there, at the top what make does.
var (
	skipped    = []string{".git", "dist", "node_modules"}
	skippedTop = []string{"bin", "data", "tools"}
)

// walk calls visit with the name of each file in the tree.
func walk(visit func(name string) error) error {
	return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if d.IsDir() && (slices.Contains(skipped, d.Name()) || slices.Contains(skippedTop, name)) {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return visit(filepath.ToSlash(name))
	})
}

func readFile(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	return string(text), err
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := readFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// goFiles gives every Go file of the tree, parsed once for all tests.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found: is the test run in its folder?")
	}
	return files
}

var parseOnce = sync.OnceValues(parse)

func parse() ([]goFile, error) {
	var files []goFile
	fset := token.NewFileSet()
	err := walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "/testdata/") {
			return nil
		}
		text, err := readFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		folder := path.Dir(name)
		files = append(files, goFile{
			name:      name,
			folder:    folder,
			lines:     strings.Count(text, "\n"),
			test:      strings.HasSuffix(name, "_test.go") || strings.HasSuffix(folder, "test"),
			generated: ast.IsGenerated(syntax),
			ignored:   path.Base(folder) == "generate" || ignoredByBuild(syntax),
			syntax:    syntax,
			fset:      fset,
		})
		return nil
	})
	return files, err
}

// ignoredByBuild reports whether a build constraint keeps the file out of every build.
func ignoredByBuild(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

// within reports whether folder is one of parents or below one.
func within(folder string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return folder == parent || strings.HasPrefix(folder, parent+"/")
	})
}
