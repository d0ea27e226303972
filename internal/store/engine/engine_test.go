package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/store/storetest"
)

var (
	createItems = engine.SQL(`CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE)`)
	insertItem  = engine.SQL(`INSERT INTO items (id, name) VALUES ($1, $2)`)
	itemsIn     = engine.SQL(`SELECT name FROM items WHERE name {in $1} ORDER BY id`)
	idsIn       = engine.SQL(`SELECT name FROM items WHERE id {in $1} ORDER BY id {skip locked}`)
	countItems  = engine.SQL(`SELECT COUNT(*) FROM items`)
	returnName  = engine.SQL(`UPDATE items SET name = $2 WHERE id = $1 RETURNING name`)
	swapped     = engine.SQL(`SELECT $2 || '-' || $1`)
)

var errStop = errors.New("stop")

// both runs test on a fresh database of each engine, with an empty table items.
func both(t *testing.T, test func(t *testing.T, db *engine.DB)) {
	t.Helper()
	run := func(t *testing.T, db *engine.DB, err error) {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		if _, err := db.Exec(t.Context(), createItems); err != nil {
			t.Fatal(err)
		}
		test(t, db)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		db, err := engine.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "test.db"), engine.LiteOptions{Logger: slog.New(slog.DiscardHandler)})
		run(t, db, err)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		opts := storetest.Postgres(t)
		db, err := engine.OpenPostgres(t.Context(), opts.PostgresURL, engine.PostgresOptions{Logger: opts.Logger})
		run(t, db, err)
	})
}

func count(t *testing.T, db *engine.DB) int {
	t.Helper()
	var n int
	if err := db.QueryRow(context.WithoutCancel(t.Context()), countItems).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func names(row engine.Scanner) (string, error) {
	var name string
	err := row.Scan(&name)
	return name, err
}

func TestAWriteThatFailsLeavesNothingAndDisturbsNobody(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		const writers = 60
		var done sync.WaitGroup
		for i := range writers {
			done.Go(func() {
				err := db.Write(t.Context(), func(ctx context.Context) error {
					if _, err := db.Exec(ctx, insertItem, i, fmt.Sprint("item", i)); err != nil {
						return err
					}
					if i%3 == 0 {
						return errStop
					}
					return nil
				})
				if want := i%3 == 0; errors.Is(err, errStop) != want || (err != nil) != want {
					t.Errorf("write %d = %v", i, err)
				}
			})
		}
		done.Wait()
		if got, want := count(t, db), writers-writers/3; got != want {
			t.Errorf("%d rows were kept, want %d", got, want)
		}
	})
}

func TestAPanicInAClosureReachesItsCallerAndOnlyIt(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic did not reach the caller")
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context) error {
				_, _ = db.Exec(ctx, insertItem, 1, "lost")
				panic("boom")
			})
		}()
		if _, err := db.Exec(t.Context(), insertItem, 2, "kept"); err != nil {
			t.Fatal(err)
		}
		if got := count(t, db); got != 1 {
			t.Errorf("%d rows, want only the one written after the panic", got)
		}
	})
}

func TestANestedWriteJoinsTheOuterOne(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		err := db.Write(t.Context(), func(ctx context.Context) error {
			if err := db.Write(ctx, func(ctx context.Context) error {
				_, err := db.Exec(ctx, insertItem, 1, "inner")
				return err
			}); err != nil {
				return err
			}
			var n int
			if err := db.QueryRow(ctx, countItems).Scan(&n); err != nil || n != 1 {
				t.Errorf("the outer write sees %d rows, %v; want the inner one's", n, err)
			}
			return errStop
		})
		if !errors.Is(err, errStop) || count(t, db) != 0 {
			t.Errorf("err %v and %d rows: the inner write outlived the outer one", err, count(t, db))
		}
	})
}

func TestHooksRunOnlyAfterACommit(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		var ran atomic.Int32
		note := make(chan string, 10)
		defer db.Listen("topic", func(payload string) { note <- payload })()
		for _, outcome := range []error{errStop, nil} {
			_ = db.Write(t.Context(), func(ctx context.Context) error {
				db.AfterCommit(ctx, func() { ran.Add(1) })
				if err := db.Notify(ctx, "topic", fmt.Sprint(outcome)); err != nil {
					t.Error(err)
				}
				if ran.Load() != 0 {
					t.Error("the hook ran before the commit")
				}
				return outcome
			})
		}
		if ran.Load() != 1 {
			t.Errorf("the hook ran %d times, want once, for the write that was kept", ran.Load())
		}
		if got := <-note; got != "<nil>" {
			t.Errorf("note %q: a rolled back write was announced", got)
		}
	})
}

func TestAReadTransactionCannotWriteAndSeesOneSnapshot(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		err := db.Read(t.Context(), func(ctx context.Context) error {
			if _, err := db.Exec(ctx, insertItem, 1, "x"); err == nil {
				t.Error("a read transaction wrote")
			}
			var before, after int
			if err := db.QueryRow(ctx, countItems).Scan(&before); err != nil {
				return err
			}
			if _, err := db.Exec(t.Context(), insertItem, 2, "meanwhile"); err != nil {
				return err
			}
			if err := db.QueryRow(ctx, countItems).Scan(&after); err != nil {
				return err
			}
			if before != after {
				t.Errorf("the snapshot moved from %d to %d rows", before, after)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestOneTextMeansTheSameOnBothEngines(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, db *engine.DB) {
		ctx := t.Context()
		for i, name := range []string{"a", `b"\`, "c"} {
			if _, err := db.Exec(ctx, insertItem, i, name); err != nil {
				t.Fatal(err)
			}
		}
		byName, err := engine.Collect(names)(db.Query(ctx, itemsIn, engine.List[string]{"c", `b"\`, "none"}))
		if diff := cmp.Diff([]string{`b"\`, "c"}, byName); err != nil || diff != "" {
			t.Errorf("by name: %v %s", err, diff)
		}
		byID, err := engine.Collect(names)(db.Query(ctx, idsIn, engine.List[int64]{0, 2}))
		if diff := cmp.Diff([]string{"a", "c"}, byID); err != nil || diff != "" {
			t.Errorf("by id: %v %s", err, diff)
		}
		none, err := engine.Collect(names)(db.Query(ctx, idsIn, engine.List[int64]{}))
		if err != nil || len(none) != 0 {
			t.Errorf("an empty list gives %v, %v", none, err)
		}
		var text string
		if err := db.QueryRow(ctx, swapped, "first", "second").Scan(&text); err != nil || text != "second-first" {
			t.Errorf("placeholders in another order give %q, %v", text, err)
		}
		_, err = db.Exec(ctx, insertItem, 9, "a")
		if !engine.IsUnique(err) || engine.IsForeignKey(err) {
			t.Errorf("a second %q = %v, want a unique violation", "a", err)
		}
		err = db.Write(ctx, func(ctx context.Context) error {
			return db.QueryRow(ctx, returnName, 0, "renamed").Scan(&text)
		})
		if err != nil || text != "renamed" {
			t.Errorf("RETURNING gives %q, %v", text, err)
		}
		if err := db.QueryRow(ctx, returnName, 77, "x").Scan(&text); err == nil {
			t.Error("a missing row was found, or a reader wrote")
		}
		if err := db.QueryRow(ctx, itemsIn, engine.List[string]{"none"}).Scan(&text); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("no row = %v", err)
		}
	})
}

func TestAFailedStatementDoesNotBreakTheNextOnSQLite(t *testing.T) {
	t.Parallel()
	db, err := engine.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "test.db"), engine.LiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec(t.Context(), engine.SQL(`SELECT broken FROM nowhere`)); err == nil {
		t.Error("nonsense was accepted")
	}
	if _, err := db.Exec(t.Context(), createItems); err != nil {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Exec(cancelled, insertItem, 1, "late"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled write = %v", err)
	}
	if count(t, db) != 0 {
		t.Error("a cancelled write was kept")
	}
}

func TestClosingWaitsForWritesAndRefusesLaterOnes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := engine.OpenSQLite(t.Context(), path, engine.LiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), createItems); err != nil {
		t.Fatal(err)
	}
	var kept atomic.Int32
	var writers sync.WaitGroup
	for i := range 20 {
		writers.Go(func() {
			switch _, err := db.Exec(t.Context(), insertItem, i, fmt.Sprint(i)); {
			case err == nil:
				kept.Add(1)
			case !errors.Is(err, engine.ErrClosed):
				t.Errorf("write %d = %v", i, err)
			}
		})
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Error(err)
	}
	writers.Wait()
	again, err := engine.OpenSQLite(t.Context(), path, engine.LiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if got := count(t, again); got != int(kept.Load()) {
		t.Errorf("%d rows after reopening, %d were acknowledged", got, kept.Load())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others may read the database", info.Mode(), err)
	}
}

func line(files ...string) engine.Migrations {
	all := fstest.MapFS{}
	for i, text := range files {
		for _, engine := range []string{"sqlite", "postgres"} {
			all[fmt.Sprintf("%s/%04d_step.sql", engine, i+1)] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return engine.Migrations{Line: "test", Files: all}
}

func TestMigrationsApplyOnceInOrderAndRefuseANewerSchema(t *testing.T) {
	t.Parallel()
	first := "-- comment; with a semicolon\nCREATE TABLE one (id BIGINT);\n\nINSERT INTO one VALUES (1);\n"
	second := "CREATE TABLE two (id BIGINT);\nINSERT INTO two SELECT id + 1 FROM one;\n"
	both(t, func(t *testing.T, db *engine.DB) {
		ctx, now := t.Context(), time.Unix(1, 0)
		if err := line(first).Migrate(ctx, db, now, nil); err != nil {
			t.Fatal(err)
		}
		backup := filepath.Join(t.TempDir(), "before.db")
		for range 2 {
			if err := line(first, second).Migrate(ctx, db, now, func(int) string { return backup }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(backup); errors.Is(err, os.ErrNotExist) != db.Postgres() {
			t.Errorf("backup file: %v on postgres=%v", err, db.Postgres())
		}
		var n int
		if err := db.QueryRow(ctx, engine.SQL(`SELECT id FROM two`)).Scan(&n); err != nil || n != 2 {
			t.Errorf("two holds %d, %v", n, err)
		}
		var newer *engine.NewerSchemaError
		if err := line(first).Migrate(ctx, db, now, nil); !errors.As(err, &newer) || newer.Found != 2 || newer.Known != 1 {
			t.Errorf("an older release starts: %v", err)
		}
		var changed *engine.ChangedMigrationError
		if err := line(first+"-- edited", second).Migrate(ctx, db, now, nil); !errors.As(err, &changed) {
			t.Errorf("an edited migration is accepted: %v", err)
		}
		if err := line(first, second, "CREATE TABLE three (id BIGINT);\nnonsense;\n").Migrate(ctx, db, now, nil); err == nil {
			t.Error("a broken migration is accepted")
		}
		if err := db.QueryRow(ctx, engine.SQL(`SELECT COUNT(*) FROM three`)).Scan(&n); err == nil {
			t.Error("half of a broken migration was kept")
		}
	})
}
