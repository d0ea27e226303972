package tenant

import (
	"sync"
	"time"
)

const (
	// cacheFor is how long something is used without a look at the database, should a notification be lost.
	cacheFor = 30 * time.Second
	// cacheSize bounds each cache; a full one is emptied, which costs one read per entry in use.
	cacheSize = 10_000
)

// cache remembers what was read from the database until cacheFor has passed or it is emptied.
type cache[K comparable, V any] struct {
	mu         sync.RWMutex
	entries    map[K]cached[V]
	generation uint64
}

type cached[V any] struct {
	value V
	until time.Time
}

func (c *cache[K, V]) get(key K, now time.Time) (V, bool) {
	c.mu.RLock()
	entry, ok := c.entries[key]
	c.mu.RUnlock()
	if !ok || !now.Before(entry.until) {
		var none V
		return none, false
	}
	return entry.value, true
}

// begin must be called before reading what is then put: something read before the cache was emptied is not kept.
func (c *cache[K, V]) begin() (generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.generation
}

func (c *cache[K, V]) put(generation uint64, key K, value V, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if c.entries == nil || len(c.entries) >= cacheSize {
		c.entries = map[K]cached[V]{}
	}
	c.entries[key] = cached[V]{value, now.Add(cacheFor)}
}

func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
	c.generation++
}
