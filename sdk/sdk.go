// Package sdk holds what authors of integration functions need on their own machine: the TypeScript declarations of the module
// that functions import. `patchbay init` puts them into a project.
package sdk

import _ "embed"

// Types is the declaration file of the module "nango".
//
//go:embed types/nango.d.ts
var Types string
