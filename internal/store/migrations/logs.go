package migrations

import "embed"

// Logs is operations and their messages: on SQLite in a file per day, on PostgreSQL in tables partitioned by the day.
//
//go:embed logs
var Logs embed.FS
