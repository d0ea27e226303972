package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Functions implements function.Store.
type Functions struct{ *Store }

// Functions gives the SQL of functions.
func (s *Store) Functions() Functions { return Functions{s} }

const functionColumns = `f.id, f.environment_id, f.integration_id, i.key, i.provider, f.name, f.type, f.version, f.enabled, f.source,
	f.sdk_version, f.definition, f.js, f.ts, f.created_at`

var (
	// Rows that refer to the environment can still be inserted while it is locked.
	lockForDeploy = engine.SQLPair(`SELECT id FROM environments WHERE id = $1`,
		`SELECT id FROM environments WHERE id = $1 FOR NO KEY UPDATE`)
	listFunctions = engine.SQL(`SELECT ` + functionColumns + ` FROM functions f JOIN integrations i ON i.id = f.integration_id
		WHERE f.environment_id = $1 AND f.active AND (f.integration_id = $2 OR $2 = 0) ORDER BY i.key, f.type, f.name`)
	findFunction = engine.SQL(`SELECT ` + functionColumns + `, t.text FROM functions f
		JOIN integrations i ON i.id = f.integration_id JOIN function_texts t ON t.hash = f.js
		WHERE f.environment_id = $1 AND f.integration_id = $2 AND f.type = $3 AND f.name = $4 AND f.active`)
	insertFunction = engine.SQL(`INSERT INTO functions
		(environment_id, integration_id, name, type, version, active, enabled, source, sdk_version, definition, js, ts, created_at)
		VALUES ($1, $2, $3, $4, $5, TRUE, $6, $7, $8, $9, $10, $11, $12) RETURNING id`)
	deactivateFunction = engine.SQL(`UPDATE functions SET active = FALSE WHERE environment_id = $1 AND id = $2`)
	enableFunction     = engine.SQL(`UPDATE functions SET enabled = $3 WHERE environment_id = $1 AND id = $2 AND active`)
	insertFunctionText = engine.SQL(`INSERT INTO function_texts (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`)
	functionText       = engine.SQL(`SELECT text FROM function_texts WHERE hash = $1`)
	countConnections   = engine.SQL(`SELECT COUNT(*) FROM connections WHERE integration_id = $1`)
	deleteFunctions    = engine.SQL(`DELETE FROM functions WHERE integration_id = $1`)
)

// LockEnvironment implements function.Store.
func (s Functions) LockEnvironment(ctx context.Context, environmentID int64) error {
	var id int64
	return s.core.QueryRow(ctx, lockForDeploy, environmentID).Scan(&id)
}

// List implements function.Store.
func (s Functions) List(ctx context.Context, environmentID, integrationID int64) ([]function.Function, error) {
	one := func(row engine.Scanner) (function.Function, error) { return scanFunction(row) }
	return engine.Collect(one)(s.core.Query(ctx, listFunctions, environmentID, integrationID))
}

// Find implements function.Store.
func (s Functions) Find(
	ctx context.Context, environmentID, integrationID int64, t function.Type, name string,
) (function.Function, string, error) {
	var text string
	f, err := scanFunction(s.core.QueryRow(ctx, findFunction, environmentID, integrationID, string(t), name), &text)
	if errors.Is(err, sql.ErrNoRows) {
		return f, "", function.ErrNotFound
	}
	if err != nil {
		return f, "", fmt.Errorf("find function %s: %w", name, err)
	}
	return f, text, nil
}

// Insert implements function.Store.
func (s Functions) Insert(ctx context.Context, f function.Function) (int64, error) {
	var id int64
	err := s.core.Write(ctx, func(ctx context.Context) error {
		return s.core.QueryRow(ctx, insertFunction, f.EnvironmentID, f.IntegrationID, f.Name, string(f.Type), f.Version, f.Enabled,
			f.Source, f.SDKVersion, jsonText(f.Definition), f.JSHash, f.TSHash, engine.Micros(f.DeployedAt)).Scan(&id)
	})
	return id, err
}

// Deactivate implements function.Store.
func (s Functions) Deactivate(ctx context.Context, environmentID, id int64) error {
	_, err := s.core.Exec(ctx, deactivateFunction, environmentID, id)
	return err
}

// SetEnabled turns an active function on or off; deployments keep what it is.
func (s Functions) SetEnabled(ctx context.Context, environmentID, id int64, enabled bool) error {
	n, err := s.core.Exec(ctx, enableFunction, environmentID, id, enabled)
	if err == nil && n == 0 {
		return function.ErrNotFound
	}
	return err
}

// InsertText implements function.Store.
func (s Functions) InsertText(ctx context.Context, hash, text string) error {
	_, err := s.core.Exec(ctx, insertFunctionText, hash, text)
	return err
}

// Text implements function.Store.
func (s Functions) Text(ctx context.Context, hash string) (string, error) {
	var text string
	err := s.core.QueryRow(ctx, functionText, hash).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", function.ErrNotFound
	}
	return text, err
}

// CountConnections implements function.Store.
func (s Functions) CountConnections(ctx context.Context, integrationID int64) (int, error) {
	var n int
	err := s.core.QueryRow(ctx, countConnections, integrationID).Scan(&n)
	return n, err
}

// DeleteAll implements function.Store.
func (s Functions) DeleteAll(ctx context.Context, integrationID int64) error {
	_, err := s.core.Exec(ctx, deleteFunctions, integrationID)
	return err
}

func scanFunction(row engine.Scanner, more ...any) (function.Function, error) {
	var f function.Function
	var definition string
	var created int64
	var t string
	err := row.Scan(append([]any{
		&f.ID, &f.EnvironmentID, &f.IntegrationID, &f.Integration, &f.Provider, &f.Name, &t, &f.Version, &f.Enabled, &f.Source,
		&f.SDKVersion, &definition, &f.JSHash, &f.TSHash, &created,
	}, more...)...)
	if err != nil {
		return f, err
	}
	f.DeployedAt = engine.Time(created)
	if err := json.Unmarshal([]byte(definition), &f.Definition); err != nil {
		return f, fmt.Errorf("definition of function %d: %w", f.ID, err)
	}
	f.Type = function.Type(t)
	return f, nil
}
