package integration

import (
	"sync"
	"time"
)

const (
	// cacheLife bounds how long a node that missed an invalidation serves an old integration.
	cacheLife = 30 * time.Second
	// cacheSize bounds the cache; a full one is emptied, which costs one read per integration in use.
	cacheSize = 10_000
)

type cacheKey struct {
	environmentID int64
	key           string
}

type cached struct {
	integration *Integration
	until       time.Time
}

type cache struct {
	mu      sync.RWMutex
	entries map[cacheKey]cached
	changes int64
}

func (c *cache) get(environmentID int64, key string, now time.Time) *Integration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if entry := c.entries[cacheKey{environmentID, key}]; now.Before(entry.until) {
		return entry.integration
	}
	return nil
}

// generation is taken before the database is read, so that put drops what was read before an invalidation.
func (c *cache) generation() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changes
}

func (c *cache) put(i *Integration, now time.Time, generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != generation {
		return
	}
	if c.entries == nil || len(c.entries) >= cacheSize {
		c.entries = map[cacheKey]cached{}
	}
	c.entries[cacheKey{i.EnvironmentID, i.Key}] = cached{i, now.Add(cacheLife)}
}

func (c *cache) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.entries = nil
}
