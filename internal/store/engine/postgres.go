package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// channel is the one NOTIFY channel; the topic is the first line of the payload.
const channel = "patchbay"

// transactionTries bounds how often a transaction that lost a race is run again before the caller hears of it.
const transactionTries = 5

// PostgresOptions tune the pool. The zero value is right.
type PostgresOptions struct {
	// MaxConns is the size of the pool; 0 means what the URL says (pool_max_conns), else 4 or the number of processors.
	MaxConns int32
	Logger   *slog.Logger
}

// postgres is the PostgreSQL engine. pgx keeps each statement prepared on each connection by itself.
type postgres struct {
	pool   *pgxpool.Pool
	db     *sql.DB
	logger *slog.Logger
	bus    *bus

	cancel   context.CancelFunc
	finished sync.WaitGroup
	once     sync.Once
}

// OpenPostgres connects to url and listens for the notes of other nodes. A pooler in transaction mode can't LISTEN: then
// notes stay within the process and the periodic looks of each part do the rest.
func OpenPostgres(ctx context.Context, url string, opts PostgresOptions) (*DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the PostgreSQL URL: %w", err)
	}
	if opts.MaxConns > 0 {
		config.MaxConns = opts.MaxConns
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	p := &postgres{pool: pool, db: stdlib.OpenDBFromPool(pool), logger: opts.Logger, bus: newBus()}
	if p.logger == nil {
		p.logger = slog.Default()
	}
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	p.finished.Go(func() { p.listen(listening, config.ConnConfig) })
	return &DB{pg: p, bus: p.bus}, nil
}

func (p *postgres) write(ctx context.Context, db *DB, fn func(context.Context) error) error {
	for try := 1; ; try++ {
		err := p.writeOnce(ctx, db, fn)
		if err == nil || !isRetryable(err) || try == transactionTries {
			return err
		}
	}
}

func (p *postgres) writeOnce(ctx context.Context, db *DB, fn func(context.Context) error) error {
	sqlTx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = sqlTx.Rollback() }() // does nothing after the commit
	tx := &transaction{conn: pgConn{sqlTx}}
	if err := fn(context.WithValue(ctx, txKey{db}, tx)); err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, after := range tx.after {
		after()
	}
	return nil
}

func (p *postgres) read(ctx context.Context, db *DB, fn func(context.Context) error) error {
	sqlTx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = sqlTx.Rollback() }() // nothing was written
	return fn(context.WithValue(ctx, txKey{db}, &transaction{conn: pgConn{sqlTx}, readOnly: true}))
}

// notify sends through PostgreSQL, which delivers on commit, and tells this process's own listeners as soon as the commit is
// done, so that what it changed itself is never served stale.
func (p *postgres) notify(ctx context.Context, db *DB, topic, payload string) error {
	if _, err := db.Exec(ctx, sendNote, channel, topic+"\n"+payload); err != nil {
		return fmt.Errorf("notify %s: %w", topic, err)
	}
	db.AfterCommit(ctx, func() { p.bus.publish(topic, payload) })
	return nil
}

var sendNote = SQL(`SELECT pg_notify($1, $2)`)

func (p *postgres) listen(ctx context.Context, config *pgx.ConnConfig) {
	const retry = 2 * time.Second
	for first := true; ctx.Err() == nil; first = false {
		err := p.receive(ctx, config, !first)
		if ctx.Err() != nil {
			return
		}
		p.logger.WarnContext(ctx, "lost the PostgreSQL notification connection", "err", err, "retry", retry)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

func (p *postgres) receive(ctx context.Context, config *pgx.ConnConfig, missed bool) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the session ends either way
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	if missed {
		p.bus.resync()
	}
	for {
		note, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		topic, payload, _ := strings.Cut(note.Payload, "\n")
		p.bus.publish(topic, payload)
	}
}

func (p *postgres) close() error {
	var err error
	p.once.Do(func() {
		p.cancel()
		p.finished.Wait()
		err = p.db.Close()
		p.pool.Close()
	})
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

func (p *postgres) exec(ctx context.Context, q *Query, args []any) (sql.Result, error) {
	return p.db.ExecContext(ctx, q.pg, args...)
}

func (p *postgres) query(ctx context.Context, q *Query, args []any) (*sql.Rows, error) {
	return p.db.QueryContext(ctx, q.pg, args...)
}

func (p *postgres) queryRow(ctx context.Context, q *Query, args []any) *sql.Row {
	return p.db.QueryRowContext(ctx, q.pg, args...)
}

// pgConn runs statements in one PostgreSQL transaction.
type pgConn struct{ tx *sql.Tx }

func (c pgConn) exec(ctx context.Context, q *Query, args []any) (sql.Result, error) {
	return c.tx.ExecContext(ctx, q.pg, args...)
}

func (c pgConn) query(ctx context.Context, q *Query, args []any) (*sql.Rows, error) {
	return c.tx.QueryContext(ctx, q.pg, args...)
}

func (c pgConn) queryRow(ctx context.Context, q *Query, args []any) *sql.Row {
	return c.tx.QueryRowContext(ctx, q.pg, args...)
}
