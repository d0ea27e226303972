package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A document is one YAML file as JSON values, with the line of every key.
type document struct {
	values map[string]any
	lines  map[string]int // by pointer: "proxy/headers/x-api-key"
}

// maxFileSize bounds one file. The largest entry of the embedded catalog is a few kilobytes.
const maxFileSize = 256 << 10

// readDocument parses a YAML file. Numbers become json.Number; unquoted dates stay the text they are. Anchors, merge keys,
// several documents and duplicate keys are refused: they make a file mean something other than what it shows.
func readDocument(file string, data []byte) (document, Problems) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return document{}, Problems{{File: file, Message: "the file is empty"}}
		}
		return document{}, Problems{syntaxProblem(file, err)}
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return document{}, Problems{{File: file, Line: second.Line, Message: "a file holds one entry, this is a second document"}}
	} else if !errors.Is(err, io.EOF) {
		return document{}, Problems{syntaxProblem(file, err)}
	}
	r := reader{file: file, lines: map[string]int{}}
	values, isMap := r.value(root.Content[0], "").(map[string]any)
	if !isMap {
		r.fault(root.Content[0], "the file must be a map of keys")
	}
	return document{values: values, lines: r.lines}, r.problems
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxProblem moves the line number out of the parser's message.
func syntaxProblem(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		line, _ = strconv.Atoi(text[m[2]:m[3]])
		text = text[:m[0]] + text[m[1]:]
	}
	return Problem{File: file, Line: line, Message: "not valid YAML: " + text}
}

type reader struct {
	file     string
	lines    map[string]int
	problems Problems
}

func (r *reader) fault(n *yaml.Node, message string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: n.Line, Message: message})
}

func (r *reader) value(n *yaml.Node, pointer string) any {
	switch n.Kind {
	case yaml.MappingNode:
		return r.mapping(n, pointer)
	case yaml.SequenceNode:
		items := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			at := join(pointer, strconv.Itoa(i))
			r.lines[at] = item.Line
			items = append(items, r.value(item, at))
		}
		return items
	case yaml.ScalarNode:
		return r.scalar(n)
	default:
		r.fault(n, "anchors and aliases are not allowed; repeat the value, or use the key alias")
		return nil
	}
}

func (r *reader) mapping(n *yaml.Node, pointer string) map[string]any {
	values := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(pointer, key.Value)
		switch _, twice := values[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			r.fault(key, "keys are plain texts; merge keys are not allowed")
			continue
		case twice:
			r.fault(key, fmt.Sprintf("the key %q is there twice, first in line %d", key.Value, r.lines[at]))
			continue
		}
		r.lines[at] = key.Line
		values[key.Value] = r.value(value, at)
	}
	return values
}

func (r *reader) scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return json.Number(strconv.FormatInt(i, 10))
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil {
			if text, err := json.Marshal(f); err == nil {
				return json.Number(text)
			}
		}
	case "!!str", "!!timestamp":
		return n.Value
	}
	r.fault(n, fmt.Sprintf("%q is a value of a kind that a catalog entry can't hold", n.Value))
	return nil
}

// join adds a key to a pointer. Keys may hold "/" only in names that no position is asked for.
func join(pointer, key string) string {
	if pointer == "" {
		return key
	}
	return pointer + "/" + key
}
