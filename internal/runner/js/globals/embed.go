// Package globals holds the language surface that functions find in their virtual machine and that the engine lacks: one
// JavaScript file per module. core.js runs in every machine; the others load when a function first touches what they define.
//
// A file is one expression, a function (native, load) that returns the module's exports: native(op, …) calls into Go,
// load(name) returns another module's exports.
package globals

import "embed"

//go:embed *.js
var files embed.FS

// Source returns the text of a module, by file name without extension.
func Source(name string) (string, bool) {
	text, err := files.ReadFile(name + ".js")
	return string(text), err == nil
}
