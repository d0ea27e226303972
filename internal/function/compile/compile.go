// Package compile turns a project of TypeScript functions into bundles and definitions.
//
// It needs no Node.js and no node_modules: esbuild runs as a library, types are stripped and not checked, and the modules a
// function may import besides its own files are those of the runtime. Every problem of a project is reported at once, with file,
// line and column. A bundle is only ever loaded in a runner process, with its limits, to read its definition.
package compile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

// Provided are the modules that the runtime provides. Any other has to be a file of the project.
func Provided() []string {
	return []string{"nango", "zod", "crypto", "node:crypto", "url", "node:url", "buffer", "node:buffer"}
}

// Problem is one thing that is wrong with a project.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1; 0 when the whole file is meant.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	// Hint says what to do about it; may be empty.
	Hint string `json:"hint,omitempty"`
}

// String is "file:line:column: message (hint)".
func (p Problem) String() string {
	text := p.File
	if p.Line > 0 {
		text += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	text += ": " + p.Message
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}

// Problems is everything that is wrong with a project, in the order of its files.
type Problems []Problem //nolint:errname // it is what it holds

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Inspector loads bundles where they can do no harm; *runner.Pool is one.
type Inspector interface {
	Run(ctx context.Context, req runner.Request, host runner.Host) (runner.Result, error)
}

// Options of Project. Inspector is required.
type Options struct {
	Inspector Inspector
	// Progress is called for each function before it is compiled; may be nil.
	Progress func(entry Entry, number, of int)
}

// Entry is one function of a project, as index.ts names it.
type Entry struct {
	// File is the path in the project, such as "github/syncs/issues.ts".
	File              string
	Integration, Name string
	Folder            string // syncs, actions or on-events
	line              int    // in index.ts
}

const index = "index.ts"

// NotAProjectError is returned for a folder without an index.ts.
type NotAProjectError struct{ Folder string }

func (e *NotAProjectError) Error() string {
	return fmt.Sprintf(`%s is no project of functions: it has no index.ts with a line like import "./github/syncs/issues.js";`, e.Folder)
}

// Project compiles all functions of a project folder. Everything that is wrong with it is a Problems error.
func Project(ctx context.Context, project fs.FS, opts Options) ([]function.Compiled, error) {
	entries, problems, err := Entries(project)
	if err != nil {
		return nil, err
	}
	var all []function.Compiled
	for i, entry := range entries {
		if opts.Progress != nil {
			opts.Progress(entry, i+1, len(entries))
		}
		compiled, found, err := one(ctx, project, entry, opts.Inspector)
		if err != nil {
			return nil, fmt.Errorf("compile %s: %w", entry.File, err)
		}
		problems = append(problems, found...)
		if len(found) == 0 {
			all = append(all, compiled)
		}
	}
	problems = append(problems, together(all)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return all, nil
}

// sideEffect is an import line of index.ts. Other lines are ignored.
var sideEffect = regexp.MustCompile(`^import ['"](\./[^'"]+)['"];?`)

// Entries reads which functions a project has.
func Entries(project fs.FS) ([]Entry, Problems, error) {
	text, err := fs.ReadFile(project, index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &NotAProjectError{"The folder"}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", index, err)
	}
	var entries []Entry
	var problems Problems
	for i, line := range strings.Split(string(text), "\n") {
		match := sideEffect.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		entry, problem := readEntry(project, match[1], i+1)
		switch {
		case problem != nil:
			problems = append(problems, *problem)
		case slices.ContainsFunc(entries, func(e Entry) bool { return e.File == entry.File }):
			problems = append(problems, Problem{index, i + 1, 1, entry.File + " is imported twice", "remove one of the lines"})
		default:
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{
			File: index, Message: "no function is imported", Hint: `add a line like import "./github/syncs/issues.js";`,
		})
	}
	return entries, problems, nil
}

func readEntry(project fs.FS, specifier string, line int) (Entry, *Problem) {
	wrong := func(message, hint string) (Entry, *Problem) { return Entry{}, &Problem{index, line, 1, message, hint} }
	name := path.Clean(specifier)
	if strings.HasPrefix(name, "..") {
		return wrong(specifier+" is outside the project", "keep functions below the folder of index.ts")
	}
	file, ok := find(project, name)
	if !ok {
		return wrong(specifier+" does not exist",
			"a function is a .ts file at <integration>/syncs, <integration>/actions or <integration>/on-events")
	}
	parts := strings.Split(file, "/")
	if len(parts) != 3 || !slices.Contains([]string{"syncs", "actions", "on-events"}, parts[1]) {
		return wrong(file+" is at the wrong place", "move it to <integration>/syncs, <integration>/actions or <integration>/on-events")
	}
	base := strings.TrimSuffix(parts[2], path.Ext(parts[2]))
	if !functionName.MatchString(base) {
		return wrong(fmt.Sprintf("%q is no name for a function", base), "letters, digits, _ and - only, at most 255")
	}
	return Entry{File: file, Integration: parts[0], Name: base, Folder: parts[1], line: line}, nil
}

var (
	functionName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)
	modelName    = regexp.MustCompile(`^[A-Z][a-zA-Z0-9_]+$`)
)

// find resolves a path without its extension, or with that of the compiled file, to a file of the project.
func find(project fs.FS, name string) (string, bool) {
	stem := name
	for _, ext := range []string{".js", ".mjs", ".cjs"} {
		stem = strings.TrimSuffix(stem, ext)
	}
	for _, candidate := range []string{
		name, stem + ".ts", stem + ".tsx", stem + ".js", stem + ".mjs", stem + ".json",
		path.Join(stem, "index.ts"), path.Join(stem, "index.js"),
	} {
		if info, err := fs.Stat(project, candidate); err == nil && info.Mode().IsRegular() {
			return candidate, true
		}
	}
	return "", false
}

// together finds what is wrong between functions.
func together(all []function.Compiled) Problems {
	var problems Problems
	owner := map[string]string{}
	for _, c := range all {
		if c.Type != function.Sync {
			continue
		}
		for _, model := range c.Models {
			key := c.Integration + "\x00" + model
			if other, taken := owner[key]; taken {
				problems = append(problems, Problem{
					File: fileOf(c), Message: fmt.Sprintf("the model %s is also synced by %s", model, other),
					Hint: "a model can be used by one sync of an integration",
				})
				continue
			}
			owner[key] = c.Name
		}
	}
	return problems
}

func fileOf(c function.Compiled) string {
	return path.Join(c.Integration, folders[c.Type], c.Name+".ts")
}

// folders is where the functions of a type are.
var folders = map[function.Type]string{function.Sync: "syncs", function.Action: "actions", function.OnEvent: "on-events"}
