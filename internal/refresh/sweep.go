package refresh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/provider"
)

const (
	sweepEvery = time.Minute
	// ahead is how much earlier than for a caller credentials are due in a sweep, so that callers seldom have to wait: two
	// sweeps.
	ahead = 2 * sweepEvery
	// idle is how long credentials may go unused before they are no longer kept fresh. Then they are renewed when they have
	// been expired for that long, because refresh tokens die of disuse too.
	idle = 24 * time.Hour
	// sweepBatch bounds what is in memory, sweepers how many providers are called at a time.
	sweepBatch = 200
	sweepers   = 4
)

// Query asks for connections that a sweep may renew: their credentials can be renewed and expire by ExpireBy; they were
// fetched after IdleSince, or have expired before it; they are not dead, and nobody has the lease at Now.
type Query struct {
	Modes     []provider.AuthMode
	ExpireBy  time.Time
	IdleSince time.Time
	Now       time.Time
	// After is the last row of the batch before; the zero Due begins.
	After Due
	Limit int
}

// Due is a connection that may have to be renewed.
type Due struct {
	EnvironmentID  int64
	ID             int64
	IntegrationKey string
	ExpiresAt      time.Time
	Refresh        connection.RefreshState // Failures and LastFailure
}

func (k *Coordinator) sweepForever(ctx context.Context) error {
	for {
		if err := k.opts.Wait(ctx, sweepEvery); err != nil {
			return nil //nolint:nilerr // the end of the context is the end of the work
		}
		if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Sweep renews once what is in use and about to expire, and what was not used for a day. Several nodes may sweep at a time.
func (k *Coordinator) Sweep(ctx context.Context) error {
	now := k.opts.Now()
	q := Query{
		Modes: slices.Sorted(maps.Keys(k.opts.Renewers)), ExpireBy: now.Add(provider.DefaultTokenExpirationBuffer + ahead),
		IdleSince: now.Add(-idle), Now: now, Limit: sweepBatch,
	}
	for {
		batch, err := k.opts.Store.Due(ctx, q)
		if err != nil {
			return fmt.Errorf("list what expires: %w", err)
		}
		group, working := errgroup.WithContext(ctx)
		group.SetLimit(sweepers)
		for _, due := range batch {
			if now.Before(retryAt(due.Refresh)) {
				continue
			}
			group.Go(func() error { return k.sweepOne(working, due) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(batch) < sweepBatch {
			return nil
		}
		q.After = batch[len(batch)-1]
	}
}

// sweepOne returns an error only when the sweep has to end.
func (k *Coordinator) sweepOne(ctx context.Context, due Due) error {
	i, err := k.opts.Integrations.Get(ctx, due.EnvironmentID, due.IntegrationKey)
	if err == nil {
		var c *connection.Connection
		if c, err = k.opts.Connections.GetByID(ctx, due.EnvironmentID, due.ID); err == nil {
			_, err = k.ensure(ctx, i, c, false, ahead)
		}
	}
	if err != nil && ctx.Err() == nil {
		// Refusals are in the connection's own log; a connection may also have been deleted since it was listed.
		k.opts.Logger.DebugContext(ctx, "sweep", "connection", due.ID, "err", err)
	}
	return ctx.Err()
}
