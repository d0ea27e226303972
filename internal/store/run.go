package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Runs implements run.Store.
type Runs struct{ *Store }

var _ run.Store = Runs{}

// Runs gives the SQL of sync instances, runs, asynchronous actions and locks.
func (s *Store) Runs() Runs { return Runs{s} }

const (
	syncColumns = `SELECT s.id, s.environment_id, s.connection_id, c.connection_id, s.integration_id,
		i.key, s.name, s.variant, s.frequency, s.last_sync_at, s.created_at
		FROM syncs s JOIN connections c ON c.id = s.connection_id JOIN integrations i ON i.id = s.integration_id `
	runColumns = `SELECT id, sync_id, environment_id, connection_id, job_id, generation, type, status,
		result, operation_id, error, interrupted, prepared,
		since, started_at, finished_at FROM runs `
)

var (
	insertSync = engine.SQL(`INSERT INTO syncs (id, environment_id, connection_id, integration_id, name, variant, frequency, last_sync_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (connection_id, name, variant) DO NOTHING`)
	getSync   = engine.SQL(syncColumns + `WHERE s.environment_id = $1 AND s.id = $2`)
	listSyncs = engine.SQL(syncColumns + `WHERE s.environment_id = $1 AND ($2 = 0 OR s.integration_id = $2) AND ($3 = 0 OR s.connection_id = $3)
		AND ($4 = '' OR s.name = $4) AND ($5 = '' OR s.variant = $5) ORDER BY s.connection_id, s.name, s.variant`)
	setSyncFrequency = engine.SQL(`UPDATE syncs SET frequency = $3 WHERE environment_id = $1 AND id = $2`)
	setLastSync      = engine.SQL(`UPDATE syncs SET last_sync_at = $3 WHERE environment_id = $1 AND id = $2`)
	deleteSync       = engine.SQL(`DELETE FROM syncs WHERE environment_id = $1 AND id = $2`)
	connectionsOf    = engine.SQL(`SELECT id FROM connections WHERE environment_id = $1 AND integration_id = $2 ORDER BY id`)

	insertRun = engine.SQL(`INSERT INTO runs (sync_id, environment_id, connection_id, job_id, generation, type, status,
		result, operation_id, error, interrupted,
		prepared, since, started_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id`)
	saveRun = engine.SQL(`UPDATE runs SET status = $2, result = $3, error = $4, interrupted = $5, prepared = $6, finished_at = $7
		WHERE id = $1 AND status = 'RUNNING'`)
	lastRun   = engine.SQL(runColumns + `WHERE id = (SELECT MAX(id) FROM runs WHERE sync_id = $1)`)
	lastRuns  = engine.SQL(runColumns + `WHERE id IN (SELECT MAX(id) FROM runs WHERE sync_id {in $1} GROUP BY sync_id)`)
	runningOf = engine.SQL(`SELECT COUNT(*) FROM runs WHERE environment_id = $1 AND connection_id = $2 AND status = 'RUNNING'`)
	stopRuns  = engine.SQL(`UPDATE runs SET status = 'STOPPED', error = $3, finished_at = $4
		WHERE environment_id = $1 AND connection_id = $2 AND status = 'RUNNING'`)
	deleteRuns = engine.SQL(`DELETE FROM runs WHERE id IN (SELECT r.id FROM runs r WHERE r.finished_at > 0 AND r.finished_at < $1
		AND (r.id < (SELECT MAX(n.id) FROM runs n WHERE n.sync_id = r.sync_id) OR NOT EXISTS (SELECT 1 FROM syncs s WHERE s.id = r.sync_id)) LIMIT $2)`)

	acquireLock = engine.SQL(`INSERT INTO function_locks (environment_id, key, owner, expires_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (environment_id, key) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
		WHERE function_locks.owner = excluded.owner OR function_locks.expires_at <= $5`)
	releaseLock  = engine.SQL(`DELETE FROM function_locks WHERE environment_id = $1 AND key = $2 AND owner = $3`)
	releaseLocks = engine.SQL(`DELETE FROM function_locks WHERE environment_id = $1 AND owner = $2`)
	deleteLocks  = engine.SQL(`DELETE FROM function_locks WHERE expires_at < $1`)

	insertCall = engine.SQL(`INSERT INTO action_calls (id, environment_id, connection_id, integration, action, operation_id,
		begun, max_attempts, input, created_at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, 0)`)
	getCall = engine.SQL(`SELECT id, environment_id, connection_id, integration, action, operation_id,
		begun, max_attempts, input, output, failure, created_at, ended_at
		FROM action_calls WHERE environment_id = $1 AND id = $2`)
	beginCall   = engine.SQL(`UPDATE action_calls SET begun = $3 WHERE environment_id = $1 AND id = $2 AND begun = $3 - 1 AND ended_at = 0`)
	endCall     = engine.SQL(`UPDATE action_calls SET output = $3, failure = $4, ended_at = $5 WHERE environment_id = $1 AND id = $2`)
	deleteCalls = engine.SQL(`DELETE FROM action_calls WHERE id IN
		(SELECT id FROM action_calls WHERE (ended_at > 0 AND ended_at < $1) OR created_at < $2 LIMIT $3)`)
)

// InsertSync implements run.Store.
func (s Runs) InsertSync(ctx context.Context, y run.Sync) (bool, error) {
	n, err := s.core.Exec(ctx, insertSync, y.ID, y.EnvironmentID, y.ConnectionID, y.IntegrationID, y.Name, y.Variant, y.Frequency,
		engine.Micros(y.LastSyncAt), engine.Micros(y.CreatedAt))
	return n == 1, err
}

// Sync implements run.Store.
func (s Runs) Sync(ctx context.Context, environmentID int64, id string) (run.Sync, error) {
	y, err := scanSync(s.core.QueryRow(ctx, getSync, environmentID, id))
	if errors.Is(err, sql.ErrNoRows) {
		return y, run.ErrNotFound
	}
	return y, err
}

// Syncs implements run.Store.
func (s Runs) Syncs(ctx context.Context, environmentID int64, f run.SyncFilter) ([]run.Sync, error) {
	return engine.Collect(scanSync)(s.core.Query(ctx, listSyncs, environmentID, f.IntegrationID, f.ConnectionID, f.Name, f.Variant))
}

// SetFrequency implements run.Store.
func (s Runs) SetFrequency(ctx context.Context, environmentID int64, id, frequency string) error {
	_, err := s.core.Exec(ctx, setSyncFrequency, environmentID, id, frequency)
	return err
}

// SetLastSync implements run.Store.
func (s Runs) SetLastSync(ctx context.Context, environmentID int64, id string, at time.Time) error {
	_, err := s.core.Exec(ctx, setLastSync, environmentID, id, engine.Micros(at))
	return err
}

// DeleteSync implements run.Store.
func (s Runs) DeleteSync(ctx context.Context, environmentID int64, id string) error {
	_, err := s.core.Exec(ctx, deleteSync, environmentID, id)
	return err
}

// ConnectionsOf implements run.Store.
func (s Runs) ConnectionsOf(ctx context.Context, environmentID, integrationID int64) ([]int64, error) {
	return engine.Collect(func(row engine.Scanner) (id int64, err error) {
		err = row.Scan(&id)
		return id, err
	})(s.core.Query(ctx, connectionsOf, environmentID, integrationID))
}

// InsertRun implements run.Store.
func (s Runs) InsertRun(ctx context.Context, r run.Run) (int64, error) {
	var id int64
	err := s.core.Write(ctx, func(ctx context.Context) error {
		return s.core.QueryRow(ctx, insertRun, r.SyncID, r.EnvironmentID, r.ConnectionID, r.JobID, r.Generation,
			string(r.Type), string(r.Status), jsonText(r.Result),
			r.OperationID, r.Error, r.Interrupted, r.Prepared, engine.Micros(r.Since), engine.Micros(r.StartedAt), engine.Micros(r.FinishedAt)).Scan(&id)
	})
	return id, err
}

// SaveRun implements run.Store.
func (s Runs) SaveRun(ctx context.Context, r run.Run) error {
	_, err := s.core.Exec(ctx, saveRun, r.ID, string(r.Status), jsonText(r.Result), r.Error, r.Interrupted, r.Prepared, engine.Micros(r.FinishedAt))
	return err
}

// LastRun implements run.Store.
func (s Runs) LastRun(ctx context.Context, syncID string) (run.Run, error) {
	r, err := scanRun(s.core.QueryRow(ctx, lastRun, syncID))
	if errors.Is(err, sql.ErrNoRows) {
		return r, run.ErrNotFound
	}
	return r, err
}

// LastRuns implements run.Store.
func (s Runs) LastRuns(ctx context.Context, syncIDs []string) (map[string]run.Run, error) {
	all, err := engine.Collect(scanRun)(s.core.Query(ctx, lastRuns, engine.List[string](syncIDs)))
	if err != nil {
		return nil, err
	}
	last := make(map[string]run.Run, len(all))
	for i := range all {
		last[all[i].SyncID] = all[i]
	}
	return last, nil
}

// RunningOf implements run.Store.
func (s Runs) RunningOf(ctx context.Context, environmentID, connectionID int64) (bool, error) {
	var n int
	err := s.core.QueryRow(ctx, runningOf, environmentID, connectionID).Scan(&n)
	return n > 0, err
}

// StopRunsOf implements run.Store.
func (s Runs) StopRunsOf(ctx context.Context, environmentID, connectionID int64, code string, now time.Time) error {
	_, err := s.core.Exec(ctx, stopRuns, environmentID, connectionID, code, engine.Micros(now))
	return err
}

// DeleteRuns implements run.Store.
func (s Runs) DeleteRuns(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.core.Exec(ctx, deleteRuns, engine.Micros(before), limit)
	return int(n), err
}

// AcquireLock implements run.Store.
func (s Runs) AcquireLock(ctx context.Context, environmentID int64, key, owner string, now, until time.Time) (bool, error) {
	n, err := s.core.Exec(ctx, acquireLock, environmentID, key, owner, engine.Micros(until), engine.Micros(now))
	return n == 1, err
}

// ReleaseLock implements run.Store.
func (s Runs) ReleaseLock(ctx context.Context, environmentID int64, key, owner string) (bool, error) {
	n, err := s.core.Exec(ctx, releaseLock, environmentID, key, owner)
	return n == 1, err
}

// ReleaseLocks implements run.Store.
func (s Runs) ReleaseLocks(ctx context.Context, environmentID int64, owner string) error {
	_, err := s.core.Exec(ctx, releaseLocks, environmentID, owner)
	return err
}

// DeleteLocks implements run.Store.
func (s Runs) DeleteLocks(ctx context.Context, before time.Time) error {
	_, err := s.core.Exec(ctx, deleteLocks, engine.Micros(before))
	return err
}

// InsertCall implements run.Store.
func (s Runs) InsertCall(ctx context.Context, c run.SealedCall) error {
	_, err := s.core.Exec(ctx, insertCall, c.ID, c.EnvironmentID, c.ConnectionID, c.Integration, c.Action, c.OperationID, c.MaxAttempts, c.SealedInput,
		engine.Micros(c.CreatedAt))
	return err
}

// Call implements run.Store.
func (s Runs) Call(ctx context.Context, environmentID int64, id string) (run.SealedCall, error) {
	var c run.SealedCall
	var created, ended int64
	err := s.core.QueryRow(ctx, getCall, environmentID, id).Scan(&c.ID, &c.EnvironmentID,
		&c.ConnectionID, &c.Integration, &c.Action, &c.OperationID, &c.Begun,
		&c.MaxAttempts, &c.SealedInput, &c.SealedOutput, &c.SealedFailure, &created, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return c, run.ErrNotFound
	}
	c.CreatedAt, c.EndedAt = engine.Time(created), engine.Time(ended)
	return c, err
}

// BeginCall implements run.Store.
func (s Runs) BeginCall(ctx context.Context, environmentID int64, id string, number int) (bool, error) {
	n, err := s.core.Exec(ctx, beginCall, environmentID, id, number)
	return n == 1, err
}

// EndCall implements run.Store.
func (s Runs) EndCall(ctx context.Context, c run.SealedCall) error {
	_, err := s.core.Exec(ctx, endCall, c.EnvironmentID, c.ID, c.SealedOutput, c.SealedFailure, engine.Micros(c.EndedAt))
	return err
}

// DeleteCalls implements run.Store.
func (s Runs) DeleteCalls(ctx context.Context, endedBefore, createdBefore time.Time, limit int) (int, error) {
	n, err := s.core.Exec(ctx, deleteCalls, engine.Micros(endedBefore), engine.Micros(createdBefore), limit)
	return int(n), err
}

func scanSync(row engine.Scanner) (run.Sync, error) {
	var y run.Sync
	var last, created int64
	err := row.Scan(&y.ID, &y.EnvironmentID, &y.ConnectionID, &y.ConnectionName, &y.IntegrationID, &y.Integration,
		&y.Name, &y.Variant, &y.Frequency, &last, &created)
	y.LastSyncAt, y.CreatedAt = engine.Time(last), engine.Time(created)
	return y, err
}

func scanRun(row engine.Scanner) (run.Run, error) {
	var r run.Run
	var kind, status, result string
	var since, started, finished int64
	err := row.Scan(&r.ID, &r.SyncID, &r.EnvironmentID, &r.ConnectionID, &r.JobID, &r.Generation, &kind, &status, &result, &r.OperationID, &r.Error,
		&r.Interrupted, &r.Prepared, &since, &started, &finished)
	if err != nil {
		return r, err
	}
	if r.Generation == 0 {
		r.Generation = r.ID
	}
	r.Type, r.Status = run.Type(kind), run.Status(status)
	r.Since, r.StartedAt, r.FinishedAt = engine.Time(since), engine.Time(started), engine.Time(finished)
	if err := json.Unmarshal([]byte(result), &r.Result); err != nil {
		return r, fmt.Errorf("result of run %d: %w", r.ID, err)
	}
	return r, nil
}
