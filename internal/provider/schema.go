package provider

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/patchbay-dev/patchbay/providers"
)

const schemaURL = "provider.json"

// compileSchema compiles the embedded schema once: it takes longer than a whole reload.
var compileSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(providers.Schema))
	if err != nil {
		return nil, fmt.Errorf("read the provider schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat() // "regex" is the one format the schema uses
	if err := compiler.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf("read the provider schema: %w", err)
	}
	schema, err := compiler.Compile(schemaURL)
	if err != nil {
		return nil, fmt.Errorf("compile the provider schema: %w", err)
	}
	return schema, nil
})

// validate reports what in values breaks the schema.
func validate(schema *jsonschema.Schema, e *entry) Problems {
	err := schema.Validate(e.doc.values)
	var invalid *jsonschema.ValidationError
	if err == nil {
		return nil
	}
	if !errors.As(err, &invalid) {
		return Problems{{File: e.file, Message: err.Error()}}
	}
	var problems Problems
	e.addFaults(&problems, invalid)
	return problems
}

// addFaults turns the leaves of a validation error into sentences, each at the line of the key it is about.
func (e *entry) addFaults(problems *Problems, invalid *jsonschema.ValidationError) {
	pointer := strings.Join(invalid.InstanceLocation, "/")
	where := dotted(pointer)
	if where == "" {
		where = "the entry"
	}
	add := func(pointer, format string, args ...any) {
		*problems = append(*problems, Problem{File: e.file, Line: e.line(pointer), Message: fmt.Sprintf(format, args...)})
	}
	switch k := invalid.ErrorKind.(type) {
	case *kind.PropertyNames:
		add(join(pointer, k.Property), "the name %q is not allowed in %s", k.Property, where)
		return // the causes say the same without the name
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add(join(pointer, name), "unknown key %s", dotted(join(pointer, name)))
		}
	case *kind.Required:
		add(pointer, "%s needs %s", where, strings.Join(k.Missing, ", "))
	case *kind.Type:
		add(pointer, "%s must be of type %s, it is of type %s", where, strings.Join(k.Want, " or "), k.Got)
	case *kind.Format:
		add(pointer, "%s is no valid %s: %v", where, k.Want, k.Err)
	case *kind.Pattern:
		add(pointer, "%s must have the form %s", where, k.Want)
	default:
		if len(invalid.Causes) == 0 {
			add(pointer, "%s: %s", where, k.LocalizedString(message.NewPrinter(language.English)))
		}
	}
	for _, cause := range invalid.Causes {
		e.addFaults(problems, cause)
	}
}

// dotted writes a pointer the way the messages and the documentation name keys.
func dotted(pointer string) string { return strings.ReplaceAll(pointer, "/", ".") }
