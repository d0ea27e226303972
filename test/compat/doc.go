// Package compat drives the built binary with the unmodified npm package @nangohq/node. Everything is in its test: the suite in
// suite/ is run by Node.js against a server on each database, and then every secret that it knew is looked for in the logs.
package compat
