package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

const keyColumns = `k.id, k.uuid, k.account_id, k.environment_id, k.display_name, k.scopes, k.created_at, k.last_used_at`

var (
	// An update that changes nothing locks the row on PostgreSQL; on SQLite there is one writer anyway.
	lockAccount     = engine.SQL(`UPDATE accounts SET name = name WHERE id = $1`)
	lockEnvironment = engine.SQL(`UPDATE environments SET name = name WHERE account_id = $1 AND id = $2 AND deleted_at = 0`)
	countKeys       = engine.SQL(`SELECT COUNT(*) FROM api_keys WHERE account_id = $1 AND environment_id = $2`)
	insertKey       = engine.SQL(`INSERT INTO api_keys
		(uuid, account_id, environment_id, display_name, scopes, hash, secret, created_at, last_used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) RETURNING id`)
	listKeys = engine.SQL(`SELECT ` + keyColumns + ` FROM api_keys k WHERE k.account_id = $1 AND k.environment_id = $2 ORDER BY k.id`)
	getKey   = engine.SQL(`SELECT ` + keyColumns + `, k.hash, k.secret FROM api_keys k
		WHERE k.account_id = $1 AND k.environment_id = $2 AND (k.id = $3 OR k.uuid = $4)`)
	deleteKey = engine.SQL(`DELETE FROM api_keys WHERE account_id = $1 AND environment_id = $2 AND (id = $3 OR uuid = $4)`)
	keyByHash = engine.SQL(`SELECT ` + keyColumns + `, k.hash, k.secret, a.uuid, a.name, a.created_at,
			COALESCE(e.id, 0), COALESCE(e.uuid, ''), COALESCE(e.account_id, 0), COALESCE(e.name, ''), COALESCE(e.is_production, FALSE),
			COALESCE(e.created_at, 0), COALESCE(e.updated_at, 0)
		FROM api_keys k
		JOIN accounts a ON a.id = k.account_id
		LEFT JOIN environments e ON e.id = k.environment_id AND e.account_id = k.account_id AND e.deleted_at = 0
		WHERE k.hash = $1 AND (k.environment_id = 0 OR e.id IS NOT NULL)`)
	touchKey = engine.SQL(`UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND last_used_at < $2`)
)

// LockKeys serialises changes of an owner's keys until the end of the transaction, and counts them.
func (s Tenants) LockKeys(ctx context.Context, owner tenant.Owner) (count int, _ error) {
	var n int64
	var err error
	missing := tenant.ErrEnvironmentNotFound
	if owner.EnvironmentID == 0 {
		missing = tenant.ErrAccountNotFound
		n, err = s.core.Exec(ctx, lockAccount, owner.AccountID)
	} else {
		n, err = s.core.Exec(ctx, lockEnvironment, owner.AccountID, owner.EnvironmentID)
	}
	if err != nil {
		return 0, fmt.Errorf("lock the API keys: %w", err)
	}
	if n == 0 {
		return 0, missing
	}
	err = s.core.QueryRow(ctx, countKeys, owner.AccountID, owner.EnvironmentID).Scan(&count)
	return count, err
}

// InsertKey stores a new key.
func (s Tenants) InsertKey(ctx context.Context, k tenant.StoredKey) (int64, error) {
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return 0, fmt.Errorf("encode scopes: %w", err)
	}
	return insertNamed(ctx, s.core, insertKey, k.UUID, k.Owner.AccountID, k.Owner.EnvironmentID, k.DisplayName,
		string(scopes), k.Hash, k.Sealed, engine.Micros(k.CreatedAt))
}

// Keys lists an owner's keys.
func (s Tenants) Keys(ctx context.Context, owner tenant.Owner) ([]tenant.Key, error) {
	return engine.Collect(func(row engine.Scanner) (tenant.Key, error) {
		k, err := scanKey(row)
		return k.Key, err
	})(s.core.Query(ctx, listKeys, owner.AccountID, owner.EnvironmentID))
}

// Key finds one of an owner's keys.
func (s Tenants) Key(ctx context.Context, owner tenant.Owner, ref tenant.KeyRef) (tenant.StoredKey, error) {
	var hash, secret []byte
	k, err := scanKey(s.core.QueryRow(ctx, getKey, owner.AccountID, owner.EnvironmentID, ref.ID, ref.UUID), &hash, &secret)
	if errors.Is(err, sql.ErrNoRows) {
		return k, tenant.ErrKeyNotFound
	}
	k.Hash, k.Sealed = hash, secret
	return k, err
}

// DeleteKey deletes one of an owner's keys.
func (s Tenants) DeleteKey(ctx context.Context, owner tenant.Owner, ref tenant.KeyRef) error {
	n, err := s.core.Exec(ctx, deleteKey, owner.AccountID, owner.EnvironmentID, ref.ID, ref.UUID)
	if err == nil && n == 0 {
		return tenant.ErrKeyNotFound
	}
	return err
}

// KeyByHash finds a key whose environment exists, and what it belongs to.
func (s Tenants) KeyByHash(ctx context.Context, hash []byte) (tenant.StoredKey, tenant.Account, tenant.Environment, error) {
	var (
		stored, secret []byte
		account        tenant.Account
		createdAt      int64
		environment    environmentScan
	)
	fields := append([]any{&stored, &secret, &account.UUID, &account.Name, &createdAt}, environment.fields()...)
	k, err := scanKey(s.core.QueryRow(ctx, keyByHash, hash), fields...)
	if errors.Is(err, sql.ErrNoRows) {
		return k, account, tenant.Environment{}, tenant.ErrKeyNotFound
	}
	k.Hash, k.Sealed = stored, secret
	account.ID, account.CreatedAt = k.Owner.AccountID, engine.Time(createdAt)
	return k, account, environment.environment(), err
}

// TouchKey moves the time of last use forward.
func (s Tenants) TouchKey(ctx context.Context, id int64, at time.Time) error {
	_, err := s.core.Exec(ctx, touchKey, id, engine.Micros(at))
	return err
}

// scanKey reads keyColumns and what follows them.
func scanKey(row engine.Scanner, more ...any) (tenant.StoredKey, error) {
	var k tenant.StoredKey
	var scopes string
	var createdAt, lastUsedAt int64
	fields := []any{&k.ID, &k.UUID, &k.Owner.AccountID, &k.Owner.EnvironmentID, &k.DisplayName, &scopes, &createdAt, &lastUsedAt}
	if err := row.Scan(append(fields, more...)...); err != nil {
		return k, err
	}
	k.CreatedAt, k.LastUsedAt = engine.Time(createdAt), engine.Time(lastUsedAt)
	if err := json.Unmarshal([]byte(scopes), &k.Scopes); err != nil {
		return k, fmt.Errorf("decode scopes: %w", err)
	}
	return k, nil
}
