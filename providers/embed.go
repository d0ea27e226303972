// Package providers is the data of the catalog: one YAML file per third-party API and the JSON Schema they follow.
// internal/provider loads and checks it; docs/providers.md describes every key.
package providers

import "embed"

// Files holds *.yaml, one entry each; the file name without ".yaml" is the provider's id.
//
//go:embed *.yaml
var Files embed.FS

// Schema is the JSON Schema (2020-12) of one file. Unknown keys fail.
//
//go:embed schema.json
var Schema []byte
