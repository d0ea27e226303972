// Package zod holds the validation library that every function may require: the npm package zod, as one CommonJS text with
// the English locale only. It is generated; LICENSE is the package's own.
package zod

import _ "embed"

//go:generate go run generate.go

// Source is the bundle.
//
//go:embed zod.js
var Source string
