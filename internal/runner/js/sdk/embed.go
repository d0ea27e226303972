// Package sdk holds the JavaScript side of the function SDK: the runtime object that integration functions receive, and
// the __run entry point that executes one function call inside a VM.
//
// The sources are the ES modules in src/, one file per subject; runtime.js is their bundle, committed so that a build needs
// no bundler run. ops.md is the contract with the host that answers the SDK's calls. The SDK promises that __run never
// rejects and that user code sees only the guarded facade. It breaks when a global it needs (__host and
// __loadBundle at load; Buffer, URL, URLSearchParams, setTimeout at use) is missing.
package sdk

import _ "embed"

//go:generate go run ./generate

// Runtime is the script a VM evaluates once, as the body of a function with the parameters __host, __loadBundle and require
// (ops.md). It defines one global, __run.
//
//go:embed runtime.js
var Runtime string
