package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Integrations implements integration.Store.
type Integrations struct{ db *engine.DB }

// Integrations gives the SQL of integrations.
func (s *Store) Integrations() Integrations { return Integrations{s.core} }

const integrationColumns = `id, uuid, environment_id, key, provider, display_name, forward_webhooks, secrets, created_at, updated_at`

var (
	insertIntegration = engine.SQL(`INSERT INTO integrations
			(uuid, environment_id, key, provider, display_name, forward_webhooks, secrets, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`)
	getIntegration    = engine.SQL(`SELECT ` + integrationColumns + ` FROM integrations WHERE environment_id = $1 AND key = $2`)
	listIntegrations  = engine.SQL(`SELECT ` + integrationColumns + ` FROM integrations WHERE environment_id = $1 ORDER BY provider, created_at, id`)
	updateIntegration = engine.SQL(`UPDATE integrations SET key = $3, display_name = $4, forward_webhooks = $5, secrets = $6, updated_at = $7
		WHERE environment_id = $1 AND id = $2`)
	deleteIntegration         = engine.SQL(`DELETE FROM integrations WHERE environment_id = $1 AND id = $2`)
	integrationHasConnections = engine.SQL(`SELECT EXISTS (SELECT 1 FROM connections WHERE integration_id = $1)`)
)

// Insert implements integration.Store.
func (s Integrations) Insert(ctx context.Context, i integration.Stored) (int64, error) {
	var id int64
	err := s.db.Write(ctx, func(ctx context.Context) error {
		return s.db.QueryRow(ctx, insertIntegration, i.UUID, i.EnvironmentID, i.Key, i.Provider, i.DisplayName, i.ForwardWebhooks, i.Sealed,
			engine.Micros(i.CreatedAt), engine.Micros(i.UpdatedAt)).Scan(&id)
	})
	if engine.IsUnique(err) {
		return 0, integration.ErrDuplicate
	}
	return id, err
}

// Get implements integration.Store.
func (s Integrations) Get(ctx context.Context, environmentID int64, key string) (integration.Stored, error) {
	i, err := scanIntegration(s.db.QueryRow(ctx, getIntegration, environmentID, key))
	if errors.Is(err, sql.ErrNoRows) {
		return i, integration.ErrNotFound
	}
	if err != nil {
		return i, fmt.Errorf("get integration %s: %w", key, err)
	}
	return i, nil
}

// List implements integration.Store.
func (s Integrations) List(ctx context.Context, environmentID int64) ([]integration.Stored, error) {
	return engine.Collect(scanIntegration)(s.db.Query(ctx, listIntegrations, environmentID))
}

// Update implements integration.Store.
func (s Integrations) Update(ctx context.Context, i integration.Stored) error {
	n, err := s.db.Exec(ctx, updateIntegration, i.EnvironmentID, i.ID, i.Key, i.DisplayName, i.ForwardWebhooks, i.Sealed, engine.Micros(i.UpdatedAt))
	switch {
	case engine.IsUnique(err):
		return integration.ErrDuplicate
	case err == nil && n == 0:
		return integration.ErrNotFound
	}
	return err
}

// Delete implements integration.Store.
func (s Integrations) Delete(ctx context.Context, environmentID, id int64) error {
	n, err := s.db.Exec(ctx, deleteIntegration, environmentID, id)
	if err == nil && n == 0 {
		return integration.ErrNotFound
	}
	return err
}

// HasConnections implements integration.Store.
func (s Integrations) HasConnections(ctx context.Context, id int64) (bool, error) {
	var has bool
	err := s.db.QueryRow(ctx, integrationHasConnections, id).Scan(&has)
	return has, err
}

func scanIntegration(row engine.Scanner) (integration.Stored, error) {
	var i integration.Stored
	var created, updated int64
	err := row.Scan(&i.ID, &i.UUID, &i.EnvironmentID, &i.Key, &i.Provider, &i.DisplayName, &i.ForwardWebhooks, &i.Sealed, &created, &updated)
	i.CreatedAt, i.UpdatedAt = engine.Time(created), engine.Time(updated)
	return i, err
}
