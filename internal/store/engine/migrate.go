package engine

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Migrations is one line of numbered schema changes: files NNNN_name.sql, applied in order, each in its own transaction, and
// never changed once released.
type Migrations struct {
	// Line names the schema it changes ("core", "records"); it is part of the name of the version table.
	Line string
	// Files holds the folders "sqlite" and "postgres" with the same file names.
	Files fs.FS
}

// NewerSchemaError is returned when the database was written by a later release. Starting anyway could damage it.
type NewerSchemaError struct {
	Line         string
	Found, Known int
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the database has schema version %d of %q, this release knows %d: "+
		"start a newer release of Patchbay, or restore a backup made before the upgrade",
		e.Found, e.Line, e.Known)
}

// ChangedMigrationError is returned when a migration that was applied differs from the file of the same number.
type ChangedMigrationError struct {
	Line, Name string
}

func (e *ChangedMigrationError) Error() string {
	return fmt.Sprintf("migration %s of %q was applied with other contents", e.Name, e.Line)
}

type migration struct {
	version  int
	name     string
	text     string
	checksum string
}

// MigrationStatus says how far a database is.
type MigrationStatus struct {
	Applied, Known int
	Pending        []string
}

// migrationLock is the PostgreSQL advisory lock that lets one node migrate while the others wait.
const migrationLock = 0x70617463 // "patc"

// Status reports what Migrate would do. A newer schema is an error.
func (m Migrations) Status(ctx context.Context, db *DB) (MigrationStatus, error) {
	all, err := m.load(db)
	if err != nil {
		return MigrationStatus{}, err
	}
	applied, err := m.applied(ctx, db)
	if err != nil {
		return MigrationStatus{}, err
	}
	status := MigrationStatus{}
	for version := range applied {
		status.Applied = max(status.Applied, version)
	}
	for _, one := range all {
		status.Known = one.version
		checksum, done := applied[one.version]
		switch {
		case !done:
			status.Pending = append(status.Pending, one.name)
		case checksum != one.checksum:
			return status, &ChangedMigrationError{m.Line, one.name}
		}
	}
	if status.Applied > status.Known {
		return status, &NewerSchemaError{m.Line, status.Applied, status.Known}
	}
	return status, nil
}

// Migrate brings db to the newest schema. A SQLite file that already has data is copied to backup(version) first.
func (m Migrations) Migrate(ctx context.Context, db *DB, now time.Time, backup func(version int) string) error {
	if db.pg != nil {
		conn, err := db.pg.db.Conn(ctx)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", m.Line, err)
		}
		defer func() { _ = conn.Close() }() // back to the pool
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
			return fmt.Errorf("migrate %s: %w", m.Line, err)
		}
		defer func() {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
		}()
	}
	status, err := m.Status(ctx, db)
	if err != nil || len(status.Pending) == 0 {
		return err
	}
	if db.lite != nil && status.Applied > 0 && backup != nil {
		if err := db.Backup(ctx, backup(status.Applied)); err != nil {
			return fmt.Errorf("before migrating %s: %w", m.Line, err)
		}
	}
	all, err := m.load(db)
	if err != nil {
		return err
	}
	for _, one := range all {
		if !slices.Contains(status.Pending, one.name) {
			continue
		}
		if err := m.apply(ctx, db, one, now); err != nil {
			return fmt.Errorf("migration %s of %q: %w", one.name, m.Line, err)
		}
	}
	return nil
}

func (m Migrations) apply(ctx context.Context, db *DB, one migration, now time.Time) error {
	return db.Write(ctx, func(ctx context.Context) error {
		for _, statement := range statements(one.text) {
			if _, err := db.Exec(ctx, SQL(statement)); err != nil {
				return err
			}
		}
		record := SQL(`INSERT INTO ` + m.table() + ` (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)`)
		_, err := db.Exec(ctx, record, one.version, one.name, one.checksum, Micros(now))
		return err
	})
}

func (m Migrations) table() string { return "schema_" + m.Line }

func (m Migrations) applied(ctx context.Context, db *DB) (map[int]string, error) {
	create := SQL(`CREATE TABLE IF NOT EXISTS ` + m.table() +
		` (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
	if _, err := db.Exec(ctx, create); err != nil {
		return nil, fmt.Errorf("create the version table of %q: %w", m.Line, err)
	}
	applied := map[int]string{}
	_, err := Collect(func(row Scanner) (struct{}, error) {
		var version int
		var checksum string
		err := row.Scan(&version, &checksum)
		applied[version] = checksum
		return struct{}{}, err
	})(db.Query(ctx, SQL(`SELECT version, checksum FROM `+m.table())))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the version table of %q: %w", m.Line, err)
	}
	return applied, nil
}

func (m Migrations) load(db *DB) ([]migration, error) {
	folder := "sqlite"
	if db.pg != nil {
		folder = "postgres"
	}
	names, err := fs.Glob(m.Files, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	all := make([]migration, 0, len(names))
	for _, name := range names { // in the order of their numbers: fs.Glob sorts
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(number)
		if err != nil || len(number) != 4 || version < 1 || len(all) > 0 && version == all[len(all)-1].version {
			return nil, fmt.Errorf("migration %s: want a name like 0001_name.sql with a number of its own", name)
		}
		text, err := fs.ReadFile(m.Files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{version, path.Base(name), string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// statements splits a migration at semicolons that end a line, so a statement may hold one elsewhere.
func statements(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ";\n") {
		part = strings.TrimSuffix(strings.TrimSpace(part), ";")
		if withoutComments(part) != "" {
			all = append(all, part)
		}
	}
	return all
}

func withoutComments(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			kept = append(kept, line)
		}
	}
	return strings.TrimSpace(strings.Join(kept, "\n"))
}
