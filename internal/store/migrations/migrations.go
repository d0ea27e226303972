// Package migrations embeds the schema changes, one folder per line and engine. The files of a line have the same names for
// both engines, and a file is never changed once it has been released.
package migrations

import "embed"

// Core is the control plane: tenants, connections, functions, queue, deliveries.
//
//go:embed core
var Core embed.FS

// Records is the records cache, which on SQLite lives in a file of its own.
//
//go:embed records
var Records embed.FS
