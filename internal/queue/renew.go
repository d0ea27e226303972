package queue

import (
	"context"
	"sync"
	"time"
)

// running is what this process runs.
type running struct {
	mu   sync.Mutex
	runs map[Hold]*execution
	// cancels and before remember the cancellations heard since the last two beats, for jobs that were claimed at that moment
	// and had not started here.
	cancels, before map[JobID]struct{}
	beat            chan struct{}
}

func (r *running) init() {
	r.runs = map[Hold]*execution{}
	r.cancels = map[JobID]struct{}{}
	r.beat = make(chan struct{}, 1)
}

func (r *running) add(e *execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs[e.row.Hold] = e
	_, now := r.cancels[e.row.ID]
	_, then := r.before[e.row.ID]
	if now || then {
		poke(r.beat)
	}
}

func (r *running) remove(e *execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, e.row.Hold)
}

// cancelHeard has the job's row looked at now instead of at the next beat. The hint itself proves nothing: on PostgreSQL it may
// come from another installation in the same database.
func (r *running) cancelHeard(id JobID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancels[id] = struct{}{}
	for hold := range r.runs {
		if hold.ID == id {
			poke(r.beat)
		}
	}
}

func (r *running) beatNow() { poke(r.beat) }

// holds returns what runs, and ages the remembered cancellations.
func (r *running) holds() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.cancels = r.cancels, map[JobID]struct{}{}
	all := make([]*execution, 0, len(r.runs))
	for _, e := range r.runs {
		all = append(all, e)
	}
	return all
}

// renew is the loop that renews the leases of what this process runs.
func (c *Client) renew(ctx context.Context) {
	ticker := time.NewTicker(c.config.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.running.beat:
		}
		if runs := c.running.holds(); len(runs) > 0 {
			err := c.renewAll(ctx, runs)
			c.health.set("renew", err)
			if err != nil && ctx.Err() == nil {
				c.logger.ErrorContext(ctx, "renew leases", "jobs", len(runs), "err", err)
			}
		}
	}
}

func (c *Client) renewAll(ctx context.Context, runs []*execution) error {
	holds := make([]Hold, len(runs))
	for i, e := range runs {
		holds[i] = e.row.Hold
	}
	until := c.now().Add(c.config.Lease)
	ctx, cancel := context.WithTimeout(ctx, c.config.Beat)
	defer cancel()
	renewed, err := c.store.Renew(ctx, holds, until)
	if err != nil {
		for _, e := range runs {
			// The next beat would be too late: from here on another process may run the job.
			if c.now().Add(c.config.Beat).UnixNano() > e.until.Load() {
				e.stop(ErrLeaseLost)
			}
		}
		return err
	}
	for _, e := range runs {
		switch cancelled, held := renewed[e.row.Hold]; {
		case !held:
			e.stop(ErrLeaseLost) // or it has just ended, and then nobody listens
		case cancelled:
			e.stop(ErrCancelled)
		default:
			e.until.Store(until.UnixNano())
		}
	}
	return nil
}
