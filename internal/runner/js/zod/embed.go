// Package zod holds the validation library that every function may require: the npm package zod, as one CommonJS text with
// the English locale only. LICENSE is the package's own.
//
// Both are made by "go run generate.go", which needs npm and the network; "go generate ./..." leaves them alone for that.
package zod

import _ "embed"

// Source is the bundle.
//
//go:embed zod.js
var Source string
