package provider

import (
	"io/fs"
	"maps"
	"slices"

	"github.com/patchbay-dev/patchbay/providers"
)

// Catalog is an immutable set of providers.
type Catalog struct {
	byName map[string]*Provider
	sorted []*Provider
}

func newCatalog(byName map[string]*Provider) *Catalog {
	c := &Catalog{byName: byName, sorted: make([]*Provider, 0, len(byName))}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c.sorted = append(c.sorted, byName[name])
	}
	return c
}

// Get finds a provider by its id.
func (c *Catalog) Get(name string) (*Provider, bool) {
	p, ok := c.byName[name]
	return p, ok
}

// List returns all providers sorted by id. The slice is the caller's, the providers are shared.
func (c *Catalog) List() []*Provider { return slices.Clone(c.sorted) }

// Len is the number of providers.
func (c *Catalog) Len() int { return len(c.sorted) }

// Embedded loads the catalog that is part of the binary.
func Embedded() (*Catalog, error) { return Load(providers.Files) }

// Load reads *.yaml in the root of each file system. A file in a later one replaces the entry of the same id in an earlier
// one; with "alias: <its own id>" it only replaces some keys. The error is Problems and lists every fault of every file.
func Load(files ...fs.FS) (*Catalog, error) {
	layers := make([]layer, len(files))
	for i, f := range files {
		layers[i] = layer{files: f}
	}
	catalog, problems := load(layers)
	if len(problems) > 0 {
		return nil, problems
	}
	return catalog, nil
}
