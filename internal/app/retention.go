package app

import (
	"context"
	"errors"
	"time"
)

const (
	// retentionEvery is how often old data is looked for. Its ages are days, so an hour is soon enough.
	retentionEvery = time.Hour
	// retentionBatch is how many rows one step removes; between steps others can write.
	retentionBatch = 1000
)

// retain drops what is old, until the process stops: payloads of records that were not changed for 30 days, records whose sync
// has not run for 60, and deliveries as old as the logs are kept. Logs see to themselves.
func (p *parts) retain(keep time.Duration) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(retentionEvery)
		defer ticker.Stop()
		for {
			now := time.Now().UTC()
			if err := errors.Join(p.retainRecords(ctx, now), p.outbound.Drop(ctx, now.Add(-keep))); err != nil {
				return err
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func (p *parts) retainRecords(ctx context.Context, now time.Time) error {
	for {
		pruned, err := p.records.PruneOld(ctx, now, retentionBatch)
		if err != nil {
			return err
		}
		streams, _, err := p.records.DeleteIdle(ctx, now, retentionBatch)
		if err != nil || pruned < retentionBatch && streams < retentionBatch {
			return err
		}
	}
}
