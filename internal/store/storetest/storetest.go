// Package storetest runs a domain's storage contract on both engines.
//
// SQLite always; PostgreSQL at PATCHBAY_TEST_POSTGRES_URL, which `make test` provides. A missing PostgreSQL fails the test:
// a suite that silently ran on one engine would promise what nobody checked.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"log/slog"
	"net/url"
	"os"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the "pgx" driver

	"github.com/patchbay-dev/patchbay/internal/store"
)

// PostgresEnv names the variable with the URL of a PostgreSQL server on which the tests may create schemas.
const PostgresEnv = "PATCHBAY_TEST_POSTGRES_URL"

// Run runs test once per engine, each on a fresh, migrated, empty store of its own.
func Run(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	RunOptions(t, func(t *testing.T, opts store.Options) { test(t, Open(t, opts)) })
}

// RunOptions is Run for tests that open the store themselves, more than once, or from several nodes.
func RunOptions(t *testing.T, test func(t *testing.T, opts store.Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Postgres(t))
	})
}

// Open opens a store and closes it when the test ends.
func Open(t testing.TB, opts store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// SQLite gives options for a store in a folder of its own.
func SQLite(t testing.TB) store.Options {
	return store.Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
}

// Postgres gives options for a store in a schema of its own, which is dropped when the test ends.
func Postgres(t testing.TB) store.Options {
	t.Helper()
	base := os.Getenv(PostgresEnv)
	if base == "" {
		t.Fatalf("%s is not set: run the tests with `make test`, or under scripts/with-postgres", PostgresEnv)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s: %v", PostgresEnv, err)
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	schema := "t_" + hex.EncodeToString(random)
	admin(t, base, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { admin(t, base, "DROP SCHEMA "+schema+" CASCADE") })
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return store.Options{DataDir: t.TempDir(), PostgresURL: u.String(), PostgresConns: 4, Logger: slog.New(slog.DiscardHandler)}
}

func admin(t testing.TB, url, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	defer func() { _ = db.Close() }() // one statement, already done
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatalf("PostgreSQL: %s: %v", statement, err)
	}
}
