package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// DB is one database: a SQLite file or a PostgreSQL database. It is safe for concurrent use.
type DB struct {
	lite *lite // exactly one of lite and pg is set
	pg   *postgres
	bus  *bus
}

// conn runs statements: a transaction, the reader pool, or a plain PostgreSQL pool.
type conn interface {
	exec(ctx context.Context, q *Query, args []any) (sql.Result, error)
	query(ctx context.Context, q *Query, args []any) (*sql.Rows, error)
	queryRow(ctx context.Context, q *Query, args []any) *sql.Row
}

// txKey finds a transaction in a context. It holds the database, so that a transaction on one SQLite file is never taken
// for one on another.
type txKey struct{ db *DB }

type transaction struct {
	conn

	readOnly bool
	after    []func()
}

var errReadOnly = errors.New("write inside a read transaction")

func (db *DB) current(ctx context.Context) *transaction {
	tx, _ := ctx.Value(txKey{db}).(*transaction)
	return tx
}

// Postgres reports whether this is the PostgreSQL engine.
func (db *DB) Postgres() bool { return db.pg != nil }

// Write runs fn in a transaction and returns once it is durable. If fn fails nothing of it is kept and its error is returned
// unchanged. It waits for the outcome even when ctx ends meanwhile, so that a caller is never told the wrong thing.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context) error) error {
	if tx := db.current(ctx); tx != nil {
		if tx.readOnly {
			return errReadOnly
		}
		return fn(ctx)
	}
	if db.lite != nil {
		return db.lite.write(ctx, db, fn)
	}
	return db.pg.write(ctx, db, fn)
}

// Read runs fn against one consistent snapshot. Single statements don't need it.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context) error) error {
	if db.current(ctx) != nil {
		return fn(ctx)
	}
	if db.lite != nil {
		return db.lite.read(ctx, db, fn)
	}
	return db.pg.read(ctx, db, fn)
}

// Exec runs a statement that returns no rows and reports how many it changed. Outside a transaction it is one of its own.
func (db *DB) Exec(ctx context.Context, q *Query, args ...any) (int64, error) {
	args = db.args(args)
	if tx := db.current(ctx); tx != nil {
		if tx.readOnly {
			return 0, errReadOnly
		}
		return affected(tx.exec(ctx, q, args))
	}
	if db.pg != nil {
		return affected(db.pg.exec(ctx, q, args))
	}
	var n int64
	err := db.Write(ctx, func(ctx context.Context) error {
		var err error
		n, err = affected(db.current(ctx).exec(ctx, q, args))
		return err
	})
	return n, err
}

// Query runs a statement for its rows: in the transaction of ctx, else on a reader. A statement with RETURNING must be in a
// Write. The caller closes the rows; Collect does it for them.
func (db *DB) Query(ctx context.Context, q *Query, args ...any) (*sql.Rows, error) {
	return db.reader(ctx).query(ctx, q, db.args(args))
}

// QueryRow is Query for a single row; Scan gives sql.ErrNoRows when there is none.
func (db *DB) QueryRow(ctx context.Context, q *Query, args ...any) *sql.Row {
	return db.reader(ctx).queryRow(ctx, q, db.args(args))
}

func (db *DB) reader(ctx context.Context) conn {
	if tx := db.current(ctx); tx != nil {
		return tx
	}
	if db.lite != nil {
		return db.lite.readers
	}
	return db.pg
}

func (db *DB) args(args []any) []any {
	for i, arg := range args {
		list, ok := arg.(listArg)
		switch {
		case !ok:
		case db.lite != nil:
			args[i] = list.liteArg()
		default:
			args[i] = list.pgArg()
		}
	}
	return args
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// AfterCommit runs fn once the transaction of ctx is durable, and never if it is rolled back. Without a transaction it runs
// at once. fn must be quick: on SQLite it runs before the group's callers are told.
func (db *DB) AfterCommit(ctx context.Context, fn func()) {
	if tx := db.current(ctx); tx != nil {
		tx.after = append(tx.after, fn)
		return
	}
	fn()
}

// Close waits for running writes, checkpoints the WAL and closes all connections. It may be called twice.
func (db *DB) Close() error {
	db.bus.close()
	if db.lite != nil {
		return db.lite.close()
	}
	return db.pg.close()
}

// Scanner is what a row and rows have in common.
type Scanner interface{ Scan(dest ...any) error }

// Collect reads all rows with scan and closes them. It takes the results of DB.Query as they come.
func Collect[T any](scan func(Scanner) (T, error)) func(*sql.Rows, error) ([]T, error) {
	return func(rows *sql.Rows, err error) ([]T, error) {
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }() // rows.Err below says what went wrong
		var all []T
		for rows.Next() {
			one, err := scan(rows)
			if err != nil {
				return nil, fmt.Errorf("scan: %w", err)
			}
			all = append(all, one)
		}
		return all, rows.Err()
	}
}
