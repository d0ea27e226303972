// Package provider is the catalog of third-party APIs: how each one is authorised, where its API lives, and where
// credentials go in a request. The entries are data (providers/*.yaml at the top of the repository, embedded in the
// binary) and an operator's own directory laid over them; docs/providers.md describes every key.
//
// It promises: Load reports every problem of every file at once, each with file and line; a Catalog is an immutable
// snapshot whose templates are parsed, so reading it costs a map look-up; Live swaps in a new snapshot when the operator's
// files change and keeps the last good one when they are broken.
//
// What breaks it: changing a Provider, its maps or its Document after Load. They are shared by all readers.
//
// The placeholder language is in the package template, and what a proxied request is built from in proxyrequest.
package provider
