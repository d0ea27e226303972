package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"strings"
)

// A layer is one source of catalog files. dir is put before file names in messages.
type layer struct {
	dir   string
	files fs.FS
}

// An entry is a file on its way into the catalog.
type entry struct {
	name, file string
	doc        document
	below      *entry // the entry of the same name in the layer underneath
	base       *entry // what alias names
	broken     bool
	merged     map[string]any // nil until resolved
	resolving  bool
}

// line finds the line of a key, or of the nearest key around it.
func (e *entry) line(pointer string) int {
	for ; pointer != ""; pointer = pointer[:max(strings.LastIndexByte(pointer, '/'), 0)] {
		if line, ok := e.doc.lines[pointer]; ok {
			return line
		}
	}
	return 1
}

// position finds where a key of the merged entry was written: in this file, or in the one it copies.
func (e *entry) position(pointer string) (file string, line int) {
	top, _, _ := strings.Cut(pointer, "/")
	at := e
	for at.base != nil && top != "" {
		if _, own := at.doc.values[top]; own {
			break
		}
		at = at.base
	}
	if _, written := at.doc.values[top]; !written {
		return e.file, 1
	}
	return at.file, at.line(pointer)
}

var idPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func load(layers []layer) (*Catalog, Problems) {
	schema, err := compileSchema()
	if err != nil {
		return nil, Problems{{File: "schema.json", Message: err.Error()}}
	}
	entries := map[string]*entry{}
	var problems Problems
	for _, l := range layers {
		found, faults := l.read()
		problems = append(problems, faults...)
		for _, e := range found {
			if !e.broken {
				faults := validate(schema, e)
				problems, e.broken = append(problems, faults...), len(faults) > 0
			}
			e.below = entries[e.name]
			entries[e.name] = e
		}
	}
	byName := make(map[string]*Provider, len(entries))
	for name, e := range entries {
		if e.resolve(entries, &problems); e.broken {
			continue
		}
		p, err := e.decode()
		if err != nil {
			problems = append(problems, Problem{File: e.file, Message: err.Error()})
			continue
		}
		problems = append(problems, e.check(p)...)
		byName[name] = p
	}
	if len(problems) > 0 {
		return nil, problems.sorted()
	}
	return newCatalog(byName), nil
}

// read parses the files of one layer. Directories, hidden files and files that are no YAML are left alone; an entry that
// can't be parsed is returned as broken, so that aliases of it are not reported as unknown.
func (l layer) read() ([]*entry, Problems) {
	listing, err := fs.ReadDir(l.files, ".")
	if err != nil {
		return nil, Problems{{File: l.path("."), Message: err.Error()}}
	}
	var entries []*entry
	var problems Problems
	for _, item := range listing {
		if !isCatalogFile(item) {
			continue
		}
		extension := path.Ext(item.Name())
		name := strings.TrimSuffix(item.Name(), extension)
		file := l.path(item.Name())
		if extension == ".yml" || !idPattern.MatchString(name) {
			const rule = "the file name must be an id of lower-case letters, digits and dashes with the ending .yaml"
			problems = append(problems, Problem{File: file, Message: rule})
			continue
		}
		e := &entry{name: name, file: file}
		data, err := l.readFile(item.Name())
		if err == nil {
			var faults Problems
			e.doc, faults = readDocument(file, data)
			problems, e.broken = append(problems, faults...), len(faults) > 0
		} else {
			problems, e.broken = append(problems, Problem{File: file, Message: err.Error()}), true
		}
		entries = append(entries, e)
	}
	return entries, problems
}

// isCatalogFile also takes .yml, so that a file with the wrong ending is reported and not overlooked.
func isCatalogFile(item fs.DirEntry) bool {
	extension := path.Ext(item.Name())
	return !item.IsDir() && !strings.HasPrefix(item.Name(), ".") && (extension == ".yaml" || extension == ".yml")
}

func (l layer) path(name string) string { return path.Join(l.dir, name) }

func (l layer) readFile(name string) ([]byte, error) {
	info, err := fs.Stat(l.files, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are allowed", info.Size(), maxFileSize)
	}
	return fs.ReadFile(l.files, name)
}

// resolve lays the entry over the one its alias names and fills in merged. An entry whose base is broken becomes broken
// without a word of its own.
func (e *entry) resolve(entries map[string]*entry, problems *Problems) {
	if e.broken || e.merged != nil {
		return
	}
	alias, _ := e.doc.values["alias"].(string)
	fail := func(format string, args ...any) {
		e.broken = true
		*problems = append(*problems, Problem{File: e.file, Line: e.line("alias"), Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case alias == "":
		e.merged = e.doc.values
		return
	case e.resolving:
		fail("alias %s leads back to this entry", alias)
		return
	case alias == e.name:
		e.base = e.below
	default:
		e.base = entries[alias]
	}
	if e.base == nil && alias == e.name {
		fail("alias %s is this entry itself and there is none below it", alias)
		return
	}
	if e.base == nil {
		fail("alias %s: there is no such provider", alias)
		return
	}
	e.resolving = true
	e.base.resolve(entries, problems)
	e.resolving = false
	if e.broken = e.broken || e.base.broken; e.broken {
		return
	}
	e.merged = maps.Clone(e.base.merged)
	maps.Copy(e.merged, e.doc.values)
	if alias == e.name {
		delete(e.merged, "alias")
	}
}

// decode makes the Provider of a resolved entry.
func (e *entry) decode() (*Provider, error) {
	text, err := json.Marshal(e.merged)
	if err != nil {
		return nil, fmt.Errorf("read the entry: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	p := &Provider{Name: e.name, Document: e.merged, ScopeSeparator: " "}
	if err := decoder.Decode(p); err != nil { //nolint:musttag // Pattern and StatusRange read texts and have no JSON fields
		if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("%s must be of type %s", mismatch.Field, mismatch.Type)
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if v := p.Proxy.Verification; v != nil && v.Method == "" {
		v.Method = "GET"
	}
	for i := range p.PostConnection {
		if p.PostConnection[i].Method == "" {
			p.PostConnection[i].Method = "GET"
		}
	}
	return p, nil
}
