package recordstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Checkpoints implements checkpoint.Store, in the database of the records.
type Checkpoints struct{ db *engine.DB }

var _ checkpoint.Store = Checkpoints{}

// NewCheckpoints gives the SQL of checkpoints in db.
func NewCheckpoints(db *engine.DB) Checkpoints { return Checkpoints{db} }

var (
	getCheckpoint = engine.SQL(`SELECT fields, version FROM checkpoints
		WHERE environment_id = $1 AND connection_id = $2 AND name = $3`)
	insertCheckpoint = engine.SQL(`INSERT INTO checkpoints (environment_id, connection_id, name, fields, version, updated_at)
		VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (connection_id, name) DO NOTHING`)
	swapCheckpoint = engine.SQL(`UPDATE checkpoints SET fields = $4, version = version + 1, updated_at = $5
		WHERE environment_id = $1 AND connection_id = $2 AND name = $3 AND version = $6`)
	resetCheckpoints = engine.SQL(`DELETE FROM checkpoints WHERE environment_id = $1 AND connection_id = $2
		AND (name = $3 OR substr(name, 1, length($3) + 1) = $3 || ':')`)
	deleteCheckpoints = engine.SQL(`DELETE FROM checkpoints WHERE environment_id = $1 AND connection_id = $2`)
)

// Get implements checkpoint.Store.
func (c Checkpoints) Get(ctx context.Context, key checkpoint.Key) (checkpoint.Checkpoint, error) {
	var fields sql.NullString
	var stored checkpoint.Checkpoint
	err := c.db.QueryRow(ctx, getCheckpoint, key.EnvironmentID, key.ConnectionID, key.Name).Scan(&fields, &stored.Version)
	if errors.Is(err, sql.ErrNoRows) {
		return checkpoint.Checkpoint{}, nil
	}
	if fields.Valid {
		stored.Fields = json.RawMessage(fields.String)
	}
	return stored, err
}

// Put implements checkpoint.Store.
func (c Checkpoints) Put(ctx context.Context, key checkpoint.Key, fields json.RawMessage, version int64, now time.Time) (bool, error) {
	text := sql.NullString{String: string(fields), Valid: fields != nil}
	if version == 0 {
		n, err := c.db.Exec(ctx, insertCheckpoint, key.EnvironmentID, key.ConnectionID, key.Name, text, engine.Micros(now))
		return n == 1, err
	}
	n, err := c.db.Exec(ctx, swapCheckpoint, key.EnvironmentID, key.ConnectionID, key.Name, text, engine.Micros(now), version)
	return n == 1, err
}

// Reset implements checkpoint.Store.
func (c Checkpoints) Reset(ctx context.Context, key checkpoint.Key) (int, error) {
	n, err := c.db.Exec(ctx, resetCheckpoints, key.EnvironmentID, key.ConnectionID, key.Name)
	return int(n), err
}

// DeleteConnection implements checkpoint.Store.
func (c Checkpoints) DeleteConnection(ctx context.Context, environmentID, connectionID int64) error {
	_, err := c.db.Exec(ctx, deleteCheckpoints, environmentID, connectionID)
	return err
}
