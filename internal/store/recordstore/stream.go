// Package recordstore is the SQL of the records cache and of checkpoints, which lie in the same database so that they commit
// together. On SQLite that is a file of its own.
package recordstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Records implements record.Store. Rows are written one statement each on SQLite, where that costs no round trip, and as
// arrays on PostgreSQL.
type Records struct{ db *engine.DB }

var _ record.Store = Records{}

// New gives the SQL of the records cache in db.
func New(db *engine.DB) Records { return Records{db} }

const streamColumns = `id, environment_id, connection_id, model, clock, version, live, size_bytes, pruned_to, touched_at`

var (
	findStream = engine.SQL(`SELECT ` + streamColumns + ` FROM record_streams
		WHERE environment_id = $1 AND connection_id = $2 AND model = $3`)
	insertStream = engine.SQL(`INSERT INTO record_streams
		(environment_id, connection_id, model, clock, version, live, size_bytes, pruned_to, touched_at)
		VALUES ($1, $2, $3, $4, 0, 0, 0, 0, $5) ON CONFLICT (connection_id, model) DO NOTHING`)
	lockStream = engine.SQLPair(`SELECT `+streamColumns+` FROM record_streams WHERE id = $1`,
		`SELECT `+streamColumns+` FROM record_streams WHERE id = $1 FOR UPDATE`)
	saveStream = engine.SQL(`UPDATE record_streams
		SET clock = $2, version = $3, live = $4, size_bytes = $5, pruned_to = $6, touched_at = $7 WHERE id = $1`)
	deleteStream = engine.SQL(`DELETE FROM record_streams
		WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM records WHERE stream_id = $1)`)
	listStreams = engine.SQL(`SELECT ` + streamColumns + ` FROM record_streams
		WHERE environment_id = $1 AND (connection_id = $2 OR $2 = 0) ORDER BY model, connection_id`)
	prunableStreams = engine.SQL(`SELECT ` + streamColumns + ` FROM record_streams s WHERE id > $1 AND pruned_to < clock
		AND EXISTS (SELECT 1 FROM records r WHERE r.stream_id = s.id AND r.updated_at > s.pruned_to AND r.updated_at < $2)
		ORDER BY id LIMIT $3`)
	idleStreams = engine.SQL(`SELECT ` + streamColumns + ` FROM record_streams WHERE touched_at < $1 ORDER BY id LIMIT $2`)
)

// Write is that of the records' database.
func (s Records) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.db.Write(ctx, fn)
}

func scanStream(row engine.Scanner) (record.StreamState, error) {
	var s record.StreamState
	err := row.Scan(&s.ID, &s.EnvironmentID, &s.ConnectionID, &s.Model, &s.Clock, &s.Version, &s.Live, &s.Size, &s.PrunedTo, &s.Touched)
	if errors.Is(err, sql.ErrNoRows) {
		return s, record.ErrNoStream
	}
	return s, err
}

// FindStream implements record.Store.
func (s Records) FindStream(ctx context.Context, stream record.Stream) (record.StreamState, error) {
	return scanStream(s.db.QueryRow(ctx, findStream, stream.EnvironmentID, stream.ConnectionID, stream.Model))
}

// OpenStream implements record.Store.
func (s Records) OpenStream(ctx context.Context, stream record.Stream, now int64) (record.StreamState, error) {
	state, err := s.FindStream(ctx, stream)
	if !errors.Is(err, record.ErrNoStream) {
		return state, err
	}
	if _, err := s.db.Exec(ctx, insertStream, stream.EnvironmentID, stream.ConnectionID, stream.Model, now-1, now); err != nil {
		return state, fmt.Errorf("insert the stream: %w", err)
	}
	return s.FindStream(ctx, stream)
}

// LockStream implements record.Store. SQLite has one writer, so there being in a Write is the lock.
func (s Records) LockStream(ctx context.Context, id int64) (record.StreamState, error) {
	return scanStream(s.db.QueryRow(ctx, lockStream, id))
}

// SaveStream implements record.Store.
func (s Records) SaveStream(ctx context.Context, state record.StreamState) error {
	_, err := s.db.Exec(ctx, saveStream, state.ID, state.Clock, state.Version, state.Live, state.Size, state.PrunedTo, state.Touched)
	return err
}

// DeleteStream implements record.Store.
func (s Records) DeleteStream(ctx context.Context, id int64) (bool, error) {
	n, err := s.db.Exec(ctx, deleteStream, id)
	return n == 1, err
}

// Streams implements record.Store.
func (s Records) Streams(ctx context.Context, environmentID, connectionID int64) ([]record.StreamState, error) {
	return engine.Collect(scanStream)(s.db.Query(ctx, listStreams, environmentID, connectionID))
}

// Prunable implements record.Store.
func (s Records) Prunable(ctx context.Context, after, cutoff int64, limit int) ([]record.StreamState, error) {
	return engine.Collect(scanStream)(s.db.Query(ctx, prunableStreams, after, cutoff, limit))
}

// Idle implements record.Store.
func (s Records) Idle(ctx context.Context, cutoff int64, limit int) ([]record.StreamState, error) {
	return engine.Collect(scanStream)(s.db.Query(ctx, idleStreams, cutoff, limit))
}
