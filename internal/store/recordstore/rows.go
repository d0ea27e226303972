package recordstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

const recordColumns = `r.id, r.external_id, r.hash, r.created_at, r.updated_at, r.deleted_at, r.pruned_at, r.generation, r.size_bytes`

// The records with the external ids of $2 or $8. By itself PostgreSQL reads the whole stream as soon as it is not much larger than
// the list, or was not analyzed yet; the subquery makes it look up each id, and so does the name of the index on SQLite.
const (
	namedLite = `records r INDEXED BY records_by_external_id`
	namedPG   = ` AS want (id) CROSS JOIN LATERAL (SELECT stream_id, ` + recordColumns + ` FROM records r
		WHERE stream_id = $1 AND external_id = want.id OFFSET 0) r`
)

const withPayload = ` LEFT JOIN record_payloads p ON p.record_id = r.id`

const inRange = `
	WHERE r.stream_id = $1 AND r.updated_at > $2 AND r.updated_at <= $3 AND (
		$4 AND r.deleted_at = 0 AND r.created_at = r.updated_at
		OR $5 AND r.deleted_at = 0 AND r.created_at <> r.updated_at
		OR $6 AND r.deleted_at <> 0)`

const inOrder = ` ORDER BY r.updated_at LIMIT $7`

var (
	recordsByID = engine.SQLPair(`SELECT `+recordColumns+` FROM `+namedLite+` WHERE r.stream_id = $1 AND r.external_id {in $2}`,
		`SELECT `+recordColumns+` FROM unnest($2::text[])`+namedPG)
	payloadsByID = engine.SQLPair(
		`SELECT `+recordColumns+`, p.payload FROM `+namedLite+withPayload+` WHERE r.stream_id = $1 AND r.external_id {in $2}`,
		`SELECT `+recordColumns+`, p.payload FROM unnest($2::text[])`+namedPG+withPayload)
	recordsInRange     = engine.SQL(`SELECT ` + recordColumns + `, p.payload FROM records r` + withPayload + inRange + inOrder)
	recordsInRangeByID = engine.SQLPair(
		`SELECT `+recordColumns+`, p.payload FROM `+namedLite+withPayload+inRange+` AND r.external_id {in $8}`+inOrder,
		`SELECT `+recordColumns+`, p.payload FROM (SELECT DISTINCT unnest($8::text[]))`+namedPG+withPayload+inRange+inOrder)
	firstRecord = engine.SQL(`SELECT ` + recordColumns + ` FROM records r WHERE r.stream_id = $1 ORDER BY r.updated_at LIMIT 1`)
	lastRecord  = engine.SQL(`SELECT ` + recordColumns + ` FROM records r WHERE r.stream_id = $1 ORDER BY r.updated_at DESC LIMIT 1`)

	// SQLite has one writer, so what follows the greatest id is free until the transaction ends.
	newRecordIDs = engine.SQLPair(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			SELECT i + (SELECT COALESCE(MAX(id), 0) FROM records) FROM n`,
		`SELECT nextval(pg_get_serial_sequence('records', 'id')) FROM generate_series(1, $1::bigint)`)
	insertRecord = engine.SQL(`INSERT INTO records
		(stream_id, id, external_id, hash, created_at, updated_at, deleted_at, pruned_at, generation, size_bytes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`)
	insertRecords = engine.SQL(`INSERT INTO records
		(stream_id, id, external_id, hash, created_at, updated_at, deleted_at, pruned_at, generation, size_bytes)
		SELECT $1, n.id, n.external_id, n.hash, n.created_at, n.updated_at, n.deleted_at, n.pruned_at, n.generation, n.size_bytes
		FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
			$10::bigint[])
			AS n (id, external_id, hash, created_at, updated_at, deleted_at, pruned_at, generation, size_bytes)`)
	updateRecord = engine.SQL(`UPDATE records SET hash = $2, created_at = $3, updated_at = $4, deleted_at = $5, pruned_at = $6,
		generation = $7, size_bytes = $8 WHERE id = $1`)
	updateRecords = engine.SQL(`UPDATE records r SET hash = n.hash, created_at = n.created_at, updated_at = n.updated_at,
		deleted_at = n.deleted_at, pruned_at = n.pruned_at, generation = n.generation, size_bytes = n.size_bytes
		FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
			AS n (id, hash, created_at, updated_at, deleted_at, pruned_at, generation, size_bytes)
		WHERE r.id = n.id`)
	putPayload = engine.SQL(`INSERT INTO record_payloads (record_id, payload) VALUES ($1, $2)
		ON CONFLICT (record_id) DO UPDATE SET payload = excluded.payload`)
	putPayloads = engine.SQL(`INSERT INTO record_payloads (record_id, payload)
		SELECT n.id, n.payload FROM unnest($1::bigint[], $2::bytea[]) AS n (id, payload)
		ON CONFLICT (record_id) DO UPDATE SET payload = excluded.payload`)
	markRecords = engine.SQL(`UPDATE records SET generation = $2 WHERE id {in $1} AND generation < $2`)

	removableRecords = engine.SQL(`SELECT id, deleted_at, size_bytes FROM records
		WHERE stream_id = $1 AND updated_at <= $2 ORDER BY updated_at LIMIT $3`)
	deleteRecords   = engine.SQL(`DELETE FROM records WHERE id {in $1}`)
	deletePayloads  = engine.SQL(`DELETE FROM record_payloads WHERE record_id {in $1}`)
	prunableRecords = engine.SQL(`SELECT ` + recordColumns + ` FROM records r
		WHERE r.stream_id = $1 AND r.updated_at > $2 AND r.updated_at <= $3 AND r.pruned_at = 0 ORDER BY r.updated_at LIMIT $4`)
	pruneRecords = engine.SQL(`UPDATE records SET pruned_at = $2, size_bytes = 0 WHERE id {in $1}`)

	unseenRecords = engine.SQL(`SELECT ` + recordColumns + ` FROM records r
		WHERE r.stream_id = $1 AND r.external_id > $2 AND r.deleted_at = 0 AND r.generation < $3 ORDER BY r.external_id LIMIT $4`)
	deleteUnseen = engine.SQL(`UPDATE records SET updated_at = $2, deleted_at = $3 WHERE id = $1 AND deleted_at = 0 AND generation < $4`)
	// Rows come back in any order, so the ids do too.
	deleteAllUnseen = engine.SQL(`UPDATE records r SET updated_at = n.updated_at, deleted_at = n.deleted_at
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS n (id, updated_at, deleted_at)
		WHERE r.id = n.id AND r.deleted_at = 0 AND r.generation < $4 RETURNING r.id`)
)

func recordDest(r *record.Row) []any {
	return []any{&r.ID, &r.ExternalID, &r.Hash, &r.Created, &r.Updated, &r.Deleted, &r.Pruned, &r.Generation, &r.Size}
}

func scanRecord(row engine.Scanner) (r record.Row, err error) {
	return r, row.Scan(recordDest(&r)...)
}

// Rows implements record.Store.
func (s Records) Rows(ctx context.Context, streamID int64, externalIDs []string, payloads bool) ([]record.Row, error) {
	if !payloads {
		return engine.Collect(scanRecord)(s.db.Query(ctx, recordsByID, streamID, engine.List[string](externalIDs)))
	}
	return engine.Collect(func(row engine.Scanner) (r record.Row, err error) {
		return r, row.Scan(append(recordDest(&r), &r.Payload)...)
	})(s.db.Query(ctx, payloadsByID, streamID, engine.List[string](externalIDs)))
}

// Each implements record.Store.
func (s Records) Each(ctx context.Context, r record.Range, fn func(row record.Row) (bool, error)) (err error) {
	query, args := recordsInRange, []any{r.StreamID, r.After, r.Until, r.Added, r.Updated, r.Deleted, r.Limit}
	if r.IDs != nil {
		query, args = recordsInRangeByID, append(args, engine.List[string](r.IDs))
	}
	rows, err := s.db.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err below says what went wrong
	for rows.Next() {
		var row record.Row
		var payload sql.RawBytes // not copied: it is opened before the next row is read
		if err := rows.Scan(append(recordDest(&row), &payload)...); err != nil {
			return err
		}
		row.Payload = payload
		if more, err := fn(row); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// Edge implements record.Store.
func (s Records) Edge(ctx context.Context, streamID int64, last bool) (record.Row, bool, error) {
	query := firstRecord
	if last {
		query = lastRecord
	}
	rows, err := engine.Collect(scanRecord)(s.db.Query(ctx, query, streamID))
	if err != nil || len(rows) == 0 {
		return record.Row{}, false, err
	}
	return rows[0], true, nil
}

// Insert implements record.Store. It sets the ids of rows.
func (s Records) Insert(ctx context.Context, streamID int64, rows []record.Row) error {
	ids, err := engine.Collect(scanID)(s.db.Query(ctx, newRecordIDs, len(rows)))
	if err != nil {
		return fmt.Errorf("new record ids: %w", err)
	}
	for i := range rows {
		rows[i].ID = ids[i]
	}
	if s.db.Postgres() {
		c := columnsOf(rows)
		if _, err := s.db.Exec(ctx, insertRecords, streamID, c.id, c.externalID, c.hash, c.created, c.updated, c.deleted, c.pruned,
			c.generation, c.size); err != nil {
			return fmt.Errorf("insert records: %w", err)
		}
		return s.putPayloads(ctx, rows)
	}
	for i := range rows {
		r := &rows[i]
		if _, err := s.db.Exec(ctx, insertRecord, streamID, r.ID, r.ExternalID, r.Hash, r.Created, r.Updated, r.Deleted, r.Pruned,
			r.Generation, r.Size); err != nil {
			return fmt.Errorf("insert record: %w", err)
		}
	}
	return s.putPayloads(ctx, rows)
}

// Update implements record.Store.
func (s Records) Update(ctx context.Context, rows []record.Row) error {
	if s.db.Postgres() {
		c := columnsOf(rows)
		_, err := s.db.Exec(ctx, updateRecords, c.id, c.hash, c.created, c.updated, c.deleted, c.pruned, c.generation, c.size)
		if err != nil {
			return fmt.Errorf("update records: %w", err)
		}
		return s.putPayloads(ctx, rows)
	}
	for i := range rows {
		r := &rows[i]
		_, err := s.db.Exec(ctx, updateRecord, r.ID, r.Hash, r.Created, r.Updated, r.Deleted, r.Pruned, r.Generation, r.Size)
		if err != nil {
			return fmt.Errorf("update record: %w", err)
		}
	}
	return s.putPayloads(ctx, rows)
}

// putPayloads stores the payloads of the rows that have one.
func (s Records) putPayloads(ctx context.Context, rows []record.Row) error {
	var ids []int64
	var payloads [][]byte
	for i := range rows {
		switch r := &rows[i]; {
		case r.Payload == nil:
		case s.db.Postgres():
			ids, payloads = append(ids, r.ID), append(payloads, r.Payload)
		default:
			if _, err := s.db.Exec(ctx, putPayload, r.ID, r.Payload); err != nil {
				return fmt.Errorf("store payload: %w", err)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if _, err := s.db.Exec(ctx, putPayloads, ids, payloads); err != nil {
		return fmt.Errorf("store payloads: %w", err)
	}
	return nil
}

// recordArrays are the columns of rows, for unnest.
type recordArrays struct {
	id                                                  []int64
	externalID                                          []string
	hash                                                [][]byte
	created, updated, deleted, pruned, generation, size []int64
}

func columnsOf(rows []record.Row) recordArrays {
	var c recordArrays
	for i := range rows {
		r := &rows[i]
		c.id, c.externalID, c.hash = append(c.id, r.ID), append(c.externalID, r.ExternalID), append(c.hash, r.Hash)
		c.created, c.updated = append(c.created, r.Created), append(c.updated, r.Updated)
		c.deleted, c.pruned = append(c.deleted, r.Deleted), append(c.pruned, r.Pruned)
		c.generation, c.size = append(c.generation, r.Generation), append(c.size, r.Size)
	}
	return c
}

func scanID(row engine.Scanner) (id int64, err error) { return id, row.Scan(&id) }

// Mark implements record.Store.
func (s Records) Mark(ctx context.Context, ids []int64, generation int64) error {
	_, err := s.db.Exec(ctx, markRecords, engine.List[int64](ids), generation)
	return err
}

// Remove implements record.Store.
func (s Records) Remove(ctx context.Context, streamID, until int64, limit int) (record.Removed, error) {
	var removed record.Removed
	ids, err := engine.Collect(func(row engine.Scanner) (int64, error) {
		var id, deleted, size int64
		err := row.Scan(&id, &deleted, &size)
		if deleted == 0 {
			removed.Live++
		}
		removed.Size += size
		return id, err
	})(s.db.Query(ctx, removableRecords, streamID, until, limit))
	if err != nil || len(ids) == 0 {
		return record.Removed{}, err
	}
	removed.Count = len(ids)
	for _, query := range []*engine.Query{deletePayloads, deleteRecords} {
		if _, err := s.db.Exec(ctx, query, engine.List[int64](ids)); err != nil {
			return record.Removed{}, err
		}
	}
	return removed, nil
}

// Prune implements record.Store.
func (s Records) Prune(ctx context.Context, streamID, after, until, now int64, limit int) (record.Pruned, error) {
	rows, err := engine.Collect(scanRecord)(s.db.Query(ctx, prunableRecords, streamID, after, until, limit))
	if err != nil || len(rows) == 0 {
		return record.Pruned{}, err
	}
	pruned := record.Pruned{Count: len(rows), Last: rows[len(rows)-1]}
	ids := make(engine.List[int64], len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
		pruned.Size += rows[i].Size
	}
	if _, err := s.db.Exec(ctx, pruneRecords, ids, now); err != nil {
		return record.Pruned{}, err
	}
	_, err = s.db.Exec(ctx, deletePayloads, ids)
	return pruned, err
}

// Unseen implements record.Store.
func (s Records) Unseen(ctx context.Context, streamID int64, after string, generation int64, limit int) ([]record.Row, error) {
	return engine.Collect(scanRecord)(s.db.Query(ctx, unseenRecords, streamID, after, generation, limit))
}

// DeleteUnseen implements record.Store.
func (s Records) DeleteUnseen(ctx context.Context, rows []record.Row, generation int64) ([]record.Row, error) {
	gone := map[int64]bool{}
	if s.db.Postgres() {
		c := columnsOf(rows)
		ids, err := engine.Collect(scanID)(s.db.Query(ctx, deleteAllUnseen, c.id, c.updated, c.deleted, generation))
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			gone[id] = true
		}
	} else {
		for i := range rows {
			n, err := s.db.Exec(ctx, deleteUnseen, rows[i].ID, rows[i].Updated, rows[i].Deleted, generation)
			if err != nil {
				return nil, err
			}
			gone[rows[i].ID] = n == 1
		}
	}
	var deleted []record.Row
	for _, row := range rows {
		if gone[row.ID] {
			deleted = append(deleted, row)
		}
	}
	return deleted, nil
}
