package engine

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// pool is the reading side of a SQLite file: statements stay prepared on its connections.
type pool struct {
	db    *sql.DB
	stmts sync.Map // *Query -> *sql.Stmt
}

func (p *pool) prepared(ctx context.Context, q *Query) (*sql.Stmt, error) {
	if stmt, ok := p.stmts.Load(q); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := p.db.PrepareContext(ctx, q.lite)
	if err != nil {
		return nil, err
	}
	if kept, raced := p.stmts.LoadOrStore(q, stmt); raced {
		_ = stmt.Close() // the other one is used
		return kept.(*sql.Stmt), nil
	}
	return stmt, nil
}

func (p *pool) exec(ctx context.Context, q *Query, args []any) (sql.Result, error) {
	stmt, err := p.prepared(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (p *pool) query(ctx context.Context, q *Query, args []any) (*sql.Rows, error) {
	stmt, err := p.prepared(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (p *pool) queryRow(ctx context.Context, q *Query, args []any) *sql.Row {
	stmt, err := p.prepared(ctx, q)
	if err != nil {
		return p.db.QueryRowContext(ctx, q.lite, args...) // reports the same error from Scan
	}
	return stmt.QueryRowContext(ctx, args...)
}

// snapshot runs fn in a read-only transaction, which is always rolled back.
func (p *pool) snapshot(ctx context.Context, fn func(*transaction) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return fn(&transaction{conn: &poolTx{pool: p, tx: tx}, readOnly: true})
}

func (p *pool) close() error {
	var all []error
	p.stmts.Range(func(_, stmt any) bool {
		all = append(all, stmt.(*sql.Stmt).Close())
		return true
	})
	return errors.Join(append(all, p.db.Close())...)
}

// poolTx runs statements in one transaction of a pool. It uses what the pool has prepared but prepares nothing through the
// pool: that would take a second connection while holding one, and enough of these at once would wait for each other.
type poolTx struct {
	pool *pool
	tx   *sql.Tx
}

func (t *poolTx) prepared(ctx context.Context, q *Query) *sql.Stmt {
	if stmt, ok := t.pool.stmts.Load(q); ok {
		return t.tx.StmtContext(ctx, stmt.(*sql.Stmt))
	}
	return nil
}

func (t *poolTx) exec(ctx context.Context, q *Query, args []any) (sql.Result, error) {
	if stmt := t.prepared(ctx, q); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return t.tx.ExecContext(ctx, q.lite, args...)
}

func (t *poolTx) query(ctx context.Context, q *Query, args []any) (*sql.Rows, error) {
	if stmt := t.prepared(ctx, q); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return t.tx.QueryContext(ctx, q.lite, args...)
}

func (t *poolTx) queryRow(ctx context.Context, q *Query, args []any) *sql.Row {
	if stmt := t.prepared(ctx, q); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return t.tx.QueryRowContext(ctx, q.lite, args...)
}
