// Package acmefunctions is an example project of integration functions, for the built-in third party Acme CRM. `patchbay dev`
// deploys it.
package acmefunctions

import "embed"

// Project is the folder as `patchbay deploy` takes it.
//
//go:embed index.ts all:acme-crm
var Project embed.FS
