package store

import (
	"context"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/store/recordstore"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Vault stores the keysets of the vault.
type Vault struct{ *Store }

// Vault gives the keyset storage.
func (s *Store) Vault() Vault { return Vault{s} }

var (
	listKeysets = engine.SQL(`SELECT name, version, master_key_id, sealed, staged_key_id, staged_at, clean_since, updated_at
		FROM vault_keysets ORDER BY name`)
	insertKeyset = engine.SQL(`INSERT INTO vault_keysets
		(name, version, master_key_id, sealed, staged_key_id, staged_at, clean_since, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING`)
	swapKeyset = engine.SQL(`UPDATE vault_keysets
		SET version = $6, master_key_id = $7, sealed = $8, staged_key_id = $9, staged_at = $10, clean_since = $11, updated_at = $12
		WHERE name = $1 AND version = $2 AND master_key_id = $3 AND staged_key_id = $4 AND clean_since = $5`)
)

// Write implements vault.Store. Where the records have a file of their own it opens a transaction there too, so that a batch
// of payloads that are sealed again is one commit.
func (s Vault) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.core.Write(ctx, func(ctx context.Context) error { return s.records.Write(ctx, fn) })
}

// Keysets reads all keysets.
func (s Vault) Keysets(ctx context.Context) ([]vault.StoredKeyset, error) {
	return engine.Collect(func(row engine.Scanner) (vault.StoredKeyset, error) {
		var k vault.StoredKeyset
		var stagedAt, cleanSince, updatedAt int64
		err := row.Scan(&k.Name, &k.Version, &k.MasterKeyID, &k.Sealed, &k.StagedKeyID, &stagedAt, &cleanSince, &updatedAt)
		k.StagedAt, k.CleanSince, k.UpdatedAt = engine.Time(stagedAt), engine.Time(cleanSince), engine.Time(updatedAt)
		return k, err
	})(s.core.Query(ctx, listKeysets))
}

// InsertKeyset stores a keyset unless there is one of its name.
func (s Vault) InsertKeyset(ctx context.Context, k vault.StoredKeyset) (bool, error) {
	n, err := s.core.Exec(ctx, insertKeyset, k.Name, k.Version, k.MasterKeyID, k.Sealed, int64(k.StagedKeyID),
		engine.Micros(k.StagedAt), engine.Micros(k.CleanSince), engine.Micros(k.UpdatedAt))
	if err != nil {
		return false, fmt.Errorf("insert keyset %s: %w", k.Name, err)
	}
	return n == 1, nil
}

// SwapKeyset replaces a keyset that is still as it was.
func (s Vault) SwapKeyset(ctx context.Context, was, now vault.StoredKeyset) (bool, error) {
	n, err := s.core.Exec(ctx, swapKeyset,
		was.Name, was.Version, was.MasterKeyID, int64(was.StagedKeyID), engine.Micros(was.CleanSince),
		now.Version, now.MasterKeyID, now.Sealed, int64(now.StagedKeyID),
		engine.Micros(now.StagedAt), engine.Micros(now.CleanSince), engine.Micros(now.UpdatedAt))
	if err != nil {
		return false, fmt.Errorf("replace keyset %s: %w", was.Name, err)
	}
	return n == 1, nil
}

// sealedColumns are all columns with sealed values. The vault refuses to seal for any other, so a forgotten one shows at once.
var sealedColumns = []sealedColumn{
	sealedBy("api_keys", "secret", "uuid"),
	sealedBy("environment_settings", "signing_key", "environment_uuid"),
	sealedBy("environment_settings", "previous_signing_key", "environment_uuid"),
	sealedBy("environment_settings", "otlp_headers", "environment_uuid"),
	sealedBy("environment_settings", "variables", "environment_uuid"),
	sealedBy("integrations", "secrets", "uuid"),
	sealedBy("connections", "credentials", "uuid"),
	sealedBy("connections", "config", "uuid"),
	sealedBy("action_calls", "input", "id"),
	sealedBy("action_calls", "output", "id"),
	sealedBy("action_calls", "failure", "id"),
}

// Sealed gives every sealed column to the vault.
func (s *Store) Sealed() []vault.Sealed {
	all := make([]vault.Sealed, 0, len(sealedColumns)+1)
	for _, column := range sealedColumns {
		column.db = s.core
		all = append(all, column)
	}
	return append(all, recordstore.Payloads(s.records))
}

// sealedColumn is a column whose rows are identified, in their vault.Context too, by the unique column key.
type sealedColumn struct {
	db             *engine.DB
	table, column  string
	batch, replace *engine.Query
}

// sealedBy is for a key that is a text.
func sealedBy(table, column, key string) sealedColumn {
	// Text sorts by language on PostgreSQL; any order will do if it is the one of the comparison.
	batch := `SELECT ` + key + `, ` + column + ` FROM ` + table + `
		WHERE ` + key + ` > $1 AND ` + column + ` IS NOT NULL ORDER BY ` + key + ` LIMIT $2`
	return sealedColumn{
		table: table, column: column, batch: engine.SQL(batch),
		replace: engine.SQL(`UPDATE ` + table + ` SET ` + column + ` = $3 WHERE ` + key + ` = $1 AND ` + column + ` = $2`),
	}
}

// Place implements vault.Sealed.
func (c sealedColumn) Place() (table, column string) { return c.table, c.column }

// Batch implements vault.Sealed.
func (c sealedColumn) Batch(ctx context.Context, after string, limit int) ([]vault.SealedRow, error) {
	return engine.Collect(func(row engine.Scanner) (vault.SealedRow, error) {
		one := vault.SealedRow{Context: vault.Context{Table: c.table, Column: c.column}}
		err := row.Scan(&one.Context.ID, &one.Sealed)
		return one, err
	})(c.db.Query(ctx, c.batch, after, limit))
}

// Replace implements vault.Sealed.
func (c sealedColumn) Replace(ctx context.Context, row vault.SealedRow, sealed []byte) (bool, error) {
	n, err := c.db.Exec(ctx, c.replace, row.Context.ID, row.Sealed, sealed)
	return n == 1, err
}
