package connection

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// touchEvery is how long last_fetched_at may lag behind: reads are far too many to write a row for each.
const touchEvery = 10 * time.Second

// toucher gathers last_fetched_at in memory and writes it in batches. What it holds is lost with the process; the value only
// tells which connections are in use.
type toucher struct {
	store Store

	mu      sync.Mutex
	fetched map[int64]time.Time
}

// Touch notes that a connection's credentials were handed out.
func (s *Service) Touch(c *Connection) {
	now := s.opts.Now().UTC()
	c.LastFetchedAt = now
	s.toucher.mu.Lock()
	defer s.toucher.mu.Unlock()
	if s.toucher.fetched == nil {
		s.toucher.fetched = map[int64]time.Time{}
	}
	s.toucher.fetched[c.ID] = now
}

// RunTouches writes what Touch gathered until ctx ends, and once more then.
func (s *Service) RunTouches(ctx context.Context) {
	ticker := time.NewTicker(touchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.toucher.flush(ctx)
		case <-ctx.Done():
			s.toucher.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

func (t *toucher) flush(ctx context.Context) {
	t.mu.Lock()
	fetched := t.fetched
	t.fetched = nil
	t.mu.Unlock()
	if len(fetched) == 0 {
		return
	}
	if err := t.store.Touch(ctx, fetched); err != nil {
		slog.WarnContext(ctx, "write last_fetched_at", "connections", len(fetched), "err", err)
	}
}
