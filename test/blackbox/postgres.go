package blackbox

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PostgresEnv names the variable with the URL of a PostgreSQL server on which tests may create schemas.
const PostgresEnv = "PATCHBAY_TEST_POSTGRES_URL"

// Databases runs a test on each database, with the options for it.
func Databases(t *testing.T, test func(t *testing.T, opts Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, Options{})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Options{DatabaseURL: Postgres(t)})
	})
}

// Postgres makes an empty schema and gives its URL. The schema is dropped when the test ends, so call it before Start.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv(PostgresEnv)
	if base == "" {
		t.Fatalf("%s is not set: run the tests with `make test-compat`, or under scripts/with-postgres", PostgresEnv)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s: %v", PostgresEnv, err)
	}
	schema := pgx.Identifier{"blackbox_" + rand.Text()}.Sanitize()
	execute(t, base, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { execute(t, base, "DROP SCHEMA "+schema+" CASCADE") })
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

func execute(t testing.TB, base, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }() // one statement, already done
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("PostgreSQL: %s: %v", statement, err)
	}
}
