// Package store holds all SQL of the control plane and the records cache, one file per domain.
//
// A domain package declares the narrow interface it needs; the types here implement it over [engine.DB], so the same text
// runs on SQLite and PostgreSQL. Nothing here decides anything: rules live in the domains, and what must be true together is
// written in one transaction that the domain opens (see package engine for how it travels in the context).
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/store/migrations"
)

// Options say where the data is.
type Options struct {
	// DataDir is the folder of the SQLite files. It is created.
	DataDir string
	// PostgresURL picks PostgreSQL; empty means SQLite.
	PostgresURL string
	// PostgresConns is the pool's size; 0 leaves it to the URL.
	PostgresConns int32
	Logger        *slog.Logger
	// Now is the clock for migration times and backup names; nil means time.Now.
	Now func() time.Time
}

// Store is the open databases. On PostgreSQL core and records are the same one.
type Store struct {
	core    *engine.DB
	records *engine.DB
	opts    Options
}

// Open opens the databases and brings their schema up to date. A schema of a later release is an *engine.NewerSchemaError.
func Open(ctx context.Context, opts Options) (*Store, error) {
	s, err := Connect(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Connect opens the databases as they are.
func Connect(ctx context.Context, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{opts: opts}
	if opts.PostgresURL != "" {
		db, err := engine.OpenPostgres(ctx, opts.PostgresURL, engine.PostgresOptions{MaxConns: opts.PostgresConns, Logger: opts.Logger})
		if err != nil {
			return nil, err
		}
		s.core, s.records = db, db
		return s, nil
	}
	var err error
	if s.core, err = engine.OpenSQLite(ctx, filepath.Join(opts.DataDir, "core.db"), engine.LiteOptions{Logger: opts.Logger}); err != nil {
		return nil, err
	}
	if s.records, err = engine.OpenSQLite(ctx, filepath.Join(opts.DataDir, "records.db"), engine.LiteOptions{Logger: opts.Logger}); err != nil {
		return nil, errors.Join(err, s.core.Close())
	}
	return s, nil
}

// Write runs fn in a transaction of the control plane; see engine.DB.Write for what fn may do.
func (s *Store) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.core.Write(ctx, fn)
}

// Read runs fn on one snapshot of the control plane.
func (s *Store) Read(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.core.Read(ctx, fn)
}

// Postgres reports which engine is in use.
func (s *Store) Postgres() bool { return s.core.Postgres() }

// Listen and Notify carry hints between parts and nodes; see engine.DB.
func (s *Store) Listen(topic string, deliver func(payload string)) (cancel func()) {
	return s.core.Listen(topic, deliver)
}

// Notify sends a hint when the transaction of ctx commits.
func (s *Store) Notify(ctx context.Context, topic, payload string) error {
	return s.core.Notify(ctx, topic, payload)
}

// AfterCommit runs fn, which must not block, once the transaction of ctx is durable, or at once without one.
func (s *Store) AfterCommit(ctx context.Context, fn func()) { s.core.AfterCommit(ctx, fn) }

// Close closes both databases. It may be called twice.
func (s *Store) Close() error {
	if s.core == s.records {
		return s.core.Close()
	}
	return errors.Join(s.core.Close(), s.records.Close())
}

// LineStatus is how far one line of the schema is.
type LineStatus struct {
	Line string
	engine.MigrationStatus
}

// Status reports the schema of each line without changing it.
func (s *Store) Status(ctx context.Context) ([]LineStatus, error) {
	var all []LineStatus
	for _, line := range s.lines() {
		status, err := line.migrations.Status(ctx, line.db)
		if err != nil {
			return nil, err
		}
		all = append(all, LineStatus{line.migrations.Line, status})
	}
	return all, nil
}

// Migrate brings every line up to date. A SQLite file with data is first copied beside itself, as core.db.v3-20261121T090000.bak.
func (s *Store) Migrate(ctx context.Context) error {
	for _, line := range s.lines() {
		now := s.opts.Now().UTC()
		backup := func(version int) string {
			return filepath.Join(s.opts.DataDir, fmt.Sprintf("%s.db.v%d-%s.bak", line.migrations.Line, version, now.Format("20060102T150405")))
		}
		if err := line.migrations.Migrate(ctx, line.db, now, backup); err != nil {
			return err
		}
	}
	return nil
}

// Backup copies the SQLite files into folder while they are in use.
func (s *Store) Backup(ctx context.Context, folder string) error {
	for _, line := range s.lines() {
		if err := line.db.Backup(ctx, filepath.Join(folder, line.migrations.Line+".db")); err != nil {
			return err
		}
	}
	return nil
}

type schemaLine struct {
	db         *engine.DB
	migrations engine.Migrations
}

func (s *Store) lines() []schemaLine {
	return []schemaLine{
		{s.core, engine.Migrations{Line: "core", Files: within(migrations.Core, "core")}},
		{s.records, engine.Migrations{Line: "records", Files: within(migrations.Records, "records")}},
	}
}

func within(files fs.FS, folder string) fs.FS {
	sub, err := fs.Sub(files, folder)
	if err != nil { // only for a malformed name
		panic(err)
	}
	return sub
}
