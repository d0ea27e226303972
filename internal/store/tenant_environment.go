package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// Tenants implements tenant.Store.
type Tenants struct{ *Store }

// Tenants gives the SQL of accounts, environments, API keys and settings.
func (s *Store) Tenants() Tenants { return Tenants{s} }

const environmentColumns = `e.id, e.uuid, e.account_id, e.name, e.is_production, e.created_at, e.updated_at`

var (
	insertAccount     = engine.SQL(`INSERT INTO accounts (uuid, name, created_at) VALUES ($1, $2, $3) RETURNING id`)
	accountByName     = engine.SQL(`SELECT id, uuid, name, created_at FROM accounts WHERE name = $1`)
	insertEnvironment = engine.SQL(`INSERT INTO environments (uuid, account_id, name, is_production, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`)
	environmentByID   = engine.SQL(`SELECT ` + environmentColumns + ` FROM environments e WHERE e.id = $1 AND e.deleted_at = 0`)
	environmentByUUID = engine.SQL(`SELECT ` + environmentColumns + ` FROM environments e WHERE e.uuid = $1 AND e.deleted_at = 0`)
	environmentByName = engine.SQL(`SELECT ` + environmentColumns + ` FROM environments e
		WHERE e.account_id = $1 AND e.name = $2 AND e.deleted_at = 0`)
	listEnvironments = engine.SQL(`SELECT ` + environmentColumns + ` FROM environments e
		WHERE e.account_id = $1 AND e.deleted_at = 0 ORDER BY e.id`)
	hideEnvironment = engine.SQL(`UPDATE environments SET deleted_at = $3, updated_at = $3
		WHERE account_id = $1 AND id = $2 AND deleted_at = 0`)
	deleteEnvironmentKeys = engine.SQL(`DELETE FROM api_keys WHERE account_id = $1 AND environment_id = $2`)
)

// InsertAccount stores a new account.
func (s Tenants) InsertAccount(ctx context.Context, a tenant.Account) (int64, error) {
	return insertNamed(ctx, s.core, insertAccount, a.UUID, a.Name, engine.Micros(a.CreatedAt))
}

// AccountByName finds an account.
func (s Tenants) AccountByName(ctx context.Context, name string) (tenant.Account, error) {
	var a tenant.Account
	var createdAt int64
	err := s.core.QueryRow(ctx, accountByName, name).Scan(&a.ID, &a.UUID, &a.Name, &createdAt)
	if errors.Is(err, sql.ErrNoRows) {
		return a, tenant.ErrAccountNotFound
	}
	a.CreatedAt = engine.Time(createdAt)
	return a, err
}

// InsertEnvironment stores a new environment.
func (s Tenants) InsertEnvironment(ctx context.Context, e tenant.Environment) (int64, error) {
	return insertNamed(ctx, s.core, insertEnvironment,
		e.UUID, e.AccountID, e.Name, e.Production, engine.Micros(e.CreatedAt), engine.Micros(e.UpdatedAt))
}

// insertNamed inserts a row whose name must be its own, and gives its id.
func insertNamed(ctx context.Context, db *engine.DB, q *engine.Query, args ...any) (id int64, _ error) {
	err := db.Write(ctx, func(ctx context.Context) error { return db.QueryRow(ctx, q, args...).Scan(&id) })
	if engine.IsUnique(err) {
		return 0, tenant.ErrConflict.Because(err)
	}
	return id, err
}

// EnvironmentByID finds an environment that was not deleted.
func (s Tenants) EnvironmentByID(ctx context.Context, id int64) (tenant.Environment, error) {
	return oneEnvironment(s.core.QueryRow(ctx, environmentByID, id))
}

// EnvironmentByUUID finds an environment that was not deleted.
func (s Tenants) EnvironmentByUUID(ctx context.Context, uuid string) (tenant.Environment, error) {
	return oneEnvironment(s.core.QueryRow(ctx, environmentByUUID, uuid))
}

// EnvironmentByName finds an environment that was not deleted.
func (s Tenants) EnvironmentByName(ctx context.Context, accountID int64, name string) (tenant.Environment, error) {
	return oneEnvironment(s.core.QueryRow(ctx, environmentByName, accountID, name))
}

// Environments lists the environments of an account.
func (s Tenants) Environments(ctx context.Context, accountID int64) ([]tenant.Environment, error) {
	return engine.Collect(scanEnvironment)(s.core.Query(ctx, listEnvironments, accountID))
}

// DeleteEnvironment hides an environment and deletes its keys.
func (s Tenants) DeleteEnvironment(ctx context.Context, e tenant.Environment, at time.Time) error {
	return s.core.Write(ctx, func(ctx context.Context) error {
		n, err := s.core.Exec(ctx, hideEnvironment, e.AccountID, e.ID, engine.Micros(at))
		if err != nil {
			return fmt.Errorf("hide the environment: %w", err)
		}
		if n == 0 {
			return tenant.ErrEnvironmentNotFound
		}
		_, err = s.core.Exec(ctx, deleteEnvironmentKeys, e.AccountID, e.ID)
		return err
	})
}

func oneEnvironment(row engine.Scanner) (tenant.Environment, error) {
	e, err := scanEnvironment(row)
	if errors.Is(err, sql.ErrNoRows) {
		return e, tenant.ErrEnvironmentNotFound
	}
	return e, err
}

func scanEnvironment(row engine.Scanner) (tenant.Environment, error) {
	var scan environmentScan
	err := row.Scan(scan.fields()...)
	return scan.environment(), err
}

// environmentScan reads environmentColumns, alone or among other columns.
type environmentScan struct {
	e                    tenant.Environment
	createdAt, updatedAt int64
}

func (s *environmentScan) fields() []any {
	return []any{&s.e.ID, &s.e.UUID, &s.e.AccountID, &s.e.Name, &s.e.Production, &s.createdAt, &s.updatedAt}
}

func (s *environmentScan) environment() tenant.Environment {
	s.e.CreatedAt, s.e.UpdatedAt = engine.Time(s.createdAt), engine.Time(s.updatedAt)
	return s.e
}
