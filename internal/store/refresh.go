package store

import (
	"context"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/refresh"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Refreshes implements refresh.Store.
type Refreshes struct{ db *engine.DB }

// Refreshes gives the SQL of refreshing credentials.
func (s *Store) Refreshes() Refreshes { return Refreshes{s.core} }

var (
	leaseRefresh = engine.SQL(`UPDATE connections SET refresh_owner = $3, refresh_until = $5
		WHERE environment_id = $1 AND id = $2 AND refresh_until <= $4`)
	releaseRefresh = engine.SQL(`UPDATE connections SET refresh_owner = '', refresh_until = 0
		WHERE environment_id = $1 AND id = $2 AND refresh_owner = $3`)
	saveRefresh = engine.SQL(`UPDATE connections
		SET credentials = $5, config = COALESCE($6, config), version = version + 1, expires_at = $7, updated_at = $8,
			refresh_owner = '', refresh_until = 0, refresh_failures = 0, refresh_failed_at = 0, needs_reconnect = FALSE,
			refresh_code = '', refresh_message = ''
		WHERE environment_id = $1 AND id = $2 AND refresh_owner = $3 AND version = $4`)
	failRefresh = engine.SQL(`UPDATE connections
		SET refresh_failures = $5, refresh_failed_at = $6, needs_reconnect = $7, refresh_code = $8, refresh_message = $9,
			refresh_owner = '', refresh_until = 0
		WHERE environment_id = $1 AND id = $2 AND refresh_owner = $3 AND version = $4`)
	// The sweep is the server's own work and covers every environment; each row names its own.
	dueRefreshes = engine.SQL(`SELECT c.environment_id, c.id, i.key, c.expires_at, c.refresh_failures, c.refresh_failed_at
		FROM connections c JOIN integrations i ON i.id = c.integration_id
		WHERE c.expires_at > 0 AND c.expires_at <= $1 AND (c.last_fetched_at > $2 OR c.expires_at <= $2) AND NOT c.needs_reconnect
			AND c.refresh_until <= $3 AND c.auth_mode {in $4} AND (c.expires_at, c.id) > ($5, $6)
		ORDER BY c.expires_at, c.id LIMIT $7`)
)

// Lease implements refresh.Store.
func (s Refreshes) Lease(ctx context.Context, environmentID, id int64, owner string, now, until time.Time) (bool, error) {
	n, err := s.db.Exec(ctx, leaseRefresh, environmentID, id, owner, engine.Micros(now), engine.Micros(until))
	if err != nil {
		return false, fmt.Errorf("lease connection %d: %w", id, err)
	}
	return n == 1, nil
}

// Release implements refresh.Store.
func (s Refreshes) Release(ctx context.Context, environmentID, id int64, owner string) error {
	if _, err := s.db.Exec(ctx, releaseRefresh, environmentID, id, owner); err != nil {
		return fmt.Errorf("release connection %d: %w", id, err)
	}
	return nil
}

// Save implements refresh.Store.
func (s Refreshes) Save(ctx context.Context, c connection.Stored, owner string) (bool, error) {
	var config any
	if c.SealedConfig != nil {
		config = c.SealedConfig
	}
	n, err := s.db.Exec(ctx, saveRefresh, c.EnvironmentID, c.ID, owner, c.Version-1,
		c.SealedCredentials, config, engine.Micros(c.ExpiresAt), engine.Micros(c.UpdatedAt))
	if err != nil {
		return false, fmt.Errorf("save credentials of connection %d: %w", c.ID, err)
	}
	return n == 1, nil
}

// Fail implements refresh.Store.
func (s Refreshes) Fail(ctx context.Context, c connection.Connection, owner string) (bool, error) {
	r := c.Refresh
	n, err := s.db.Exec(ctx, failRefresh, c.EnvironmentID, c.ID, owner, c.Version,
		r.Failures, engine.Micros(r.LastFailure), r.NeedsReconnect, r.Code, r.Message)
	if err != nil {
		return false, fmt.Errorf("record the failed refresh of connection %d: %w", c.ID, err)
	}
	return n == 1, nil
}

// Due implements refresh.Store.
func (s Refreshes) Due(ctx context.Context, q refresh.Query) ([]refresh.Due, error) {
	modes := make(engine.List[string], len(q.Modes))
	for i, mode := range q.Modes {
		modes[i] = string(mode)
	}
	return engine.Collect(func(row engine.Scanner) (refresh.Due, error) {
		var d refresh.Due
		var expires, failed int64
		err := row.Scan(&d.EnvironmentID, &d.ID, &d.IntegrationKey, &expires, &d.Refresh.Failures, &failed)
		d.ExpiresAt, d.Refresh.LastFailure = engine.Time(expires), engine.Time(failed)
		return d, err
	})(s.db.Query(ctx, dueRefreshes, engine.Micros(q.ExpireBy), engine.Micros(q.IdleSince), engine.Micros(q.Now), modes,
		engine.Micros(q.After.ExpiresAt), q.After.ID, q.Limit))
}
