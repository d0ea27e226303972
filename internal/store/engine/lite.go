package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // registers the "sqlite" driver
)

// groupLimit bounds how many closures share one commit. Beyond some hundreds the fsync is already free and the first caller
// only waits longer.
const groupLimit = 512

// slowClosure is how long a write closure may hold the only writer before it is reported: everybody else waits for it.
const slowClosure = 500 * time.Millisecond

// checkpointEvery is how often the WAL is copied back into the file, in the background and without blocking writers.
const checkpointEvery = time.Second

// ErrClosed is returned for work given to a closed database.
var ErrClosed = errors.New("database is closed")

// LiteOptions tune a SQLite database. The zero value is right for data that was acknowledged.
type LiteOptions struct {
	// Normal asks for synchronous=NORMAL: commits survive kill -9 but the last ones may be lost with the power. For logs.
	Normal bool
	// Readers is the size of the reader pool; 0 means twice the processors, at least 4.
	Readers int
	Logger  *slog.Logger
}

// lite is the SQLite engine.
type lite struct {
	path    string
	logger  *slog.Logger
	readers *pool
	writers *sql.DB // one connection for the writer, one for the checkpointer
	writer  *writerConn

	queue    chan *writeRequest
	mu       sync.RWMutex // guards closed against sends on queue
	closed   bool
	writes   atomic.Int64
	stopped  chan struct{}
	finished sync.WaitGroup
}

type writeRequest struct {
	ctx      context.Context
	db       *DB
	fn       func(context.Context) error
	tx       *transaction
	err      error
	panicked any
	done     chan struct{}
}

// OpenSQLite opens or creates the file at path, readable by its owner only.
func OpenSQLite(ctx context.Context, path string, opts LiteOptions) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l := &lite{
		path: path, logger: opts.Logger,
		queue: make(chan *writeRequest, groupLimit), stopped: make(chan struct{}),
	}
	if l.logger == nil {
		l.logger = slog.Default()
	}
	if err := l.open(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), l.closeConnections())
	}
	l.finished.Add(2)
	go l.runWriter()
	go l.runCheckpoints()
	return &DB{lite: l, bus: newBus()}, nil
}

func (l *lite) open(ctx context.Context, opts LiteOptions) error {
	sync := "FULL"
	if opts.Normal {
		sync = "NORMAL"
	}
	var err error
	// 8 KB pages: measured best for rows of 1 to 5 KB. Automatic checkpoints are off: runCheckpoints does them without
	// making a commit wait; the 40,000-page limit is for a checkpointer that died.
	l.writers, err = sql.Open("sqlite", dsn(l.path, "busy_timeout(10000)", "page_size(8192)", "journal_mode(WAL)",
		"synchronous("+sync+")", "foreign_keys(1)", "wal_autocheckpoint(40000)", "cache_size(-16000)", "temp_store(MEMORY)"))
	if err != nil {
		return err
	}
	l.writers.SetMaxOpenConns(2)
	conn, err := l.writers.Conn(ctx)
	if err != nil {
		return err
	}
	l.writer = &writerConn{conn: conn, stmts: map[*Query]*sql.Stmt{}}
	if err := conn.PingContext(ctx); err != nil {
		return err
	}
	readers, err := sql.Open("sqlite", dsn(l.path, "busy_timeout(10000)", "query_only(1)", "cache_size(-8000)", "temp_store(MEMORY)"))
	if err != nil {
		return err
	}
	size := opts.Readers
	if size == 0 {
		size = max(4, 2*runtime.NumCPU())
	}
	readers.SetMaxOpenConns(size)
	readers.SetMaxIdleConns(size)
	l.readers = &pool{db: readers}
	return nil
}

// dsn keeps the order of the pragmas: busy_timeout must come before anything that may wait for a lock.
func dsn(path string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

func (l *lite) write(ctx context.Context, db *DB, fn func(context.Context) error) error {
	req := &writeRequest{ctx: ctx, db: db, fn: fn, done: make(chan struct{})}
	if err := l.submit(req); err != nil {
		return err
	}
	<-req.done
	if req.panicked != nil {
		panic(req.panicked)
	}
	return req.err
}

func (l *lite) submit(req *writeRequest) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- req:
		return nil
	case <-req.ctx.Done():
		return context.Cause(req.ctx)
	}
}

func (l *lite) runWriter() {
	defer l.finished.Done()
	for req := range l.queue {
		group := []*writeRequest{req}
		for more := true; more && len(group) < groupLimit; {
			select {
			case next, ok := <-l.queue:
				if more = ok; ok {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		l.commit(group)
	}
}

// commit runs the closures of a group in one transaction, each in a savepoint of its own so that a failing one takes nothing
// with it.
func (l *lite) commit(group []*writeRequest) {
	ctx := context.Background()
	err := l.writer.command(ctx, "BEGIN IMMEDIATE")
	for i := 0; err == nil && i < len(group); i++ {
		err = l.runClosure(ctx, group[i], len(group) > 1)
	}
	if err == nil {
		err = l.writer.command(ctx, "COMMIT")
	}
	if err != nil {
		// Nothing of the group is kept. The rollback itself fails when SQLite has already rolled back, as it does for a full disk.
		_ = l.writer.command(ctx, "ROLLBACK")
	}
	l.writes.Add(1)
	for _, req := range group {
		switch {
		case req.err != nil || req.panicked != nil:
		case err != nil:
			req.err = err
		default:
			for _, after := range req.tx.after {
				after()
			}
		}
		close(req.done)
	}
}

// runClosure returns an error only when the whole group is lost; what the closure itself returns goes to its caller.
func (l *lite) runClosure(ctx context.Context, req *writeRequest, shared bool) error {
	req.tx = &transaction{conn: l.writer}
	if req.err = context.Cause(req.ctx); req.err != nil {
		return nil //nolint:nilerr // the caller of this closure gets it; the others of the group go on
	}
	// A savepoint costs two statements; a closure that is alone in its group does not need one.
	if shared {
		if err := l.writer.command(ctx, "SAVEPOINT closure"); err != nil {
			return err
		}
	}
	start := time.Now()
	func() {
		defer func() { req.panicked = recover() }()
		// The statements must not see the caller's cancellation: interrupting one would roll back everybody's transaction.
		req.err = req.fn(context.WithValue(context.WithoutCancel(req.ctx), txKey{req.db}, req.tx))
	}()
	if took := time.Since(start); took > slowClosure {
		l.logger.WarnContext(req.ctx, "a write closure held the writer", "took", took, "file", filepath.Base(l.path))
	}
	failed := req.err != nil || req.panicked != nil
	if !shared {
		if failed {
			return l.writer.restart(ctx)
		}
		return nil
	}
	if failed {
		if err := l.writer.command(ctx, "ROLLBACK TO closure"); err != nil {
			return err
		}
	}
	return l.writer.command(ctx, "RELEASE closure")
}

func (l *lite) read(ctx context.Context, db *DB, fn func(context.Context) error) error {
	return l.readers.snapshot(ctx, func(tx *transaction) error {
		return fn(context.WithValue(ctx, txKey{db}, tx))
	})
}

func (l *lite) runCheckpoints() {
	defer l.finished.Done()
	ticker := time.NewTicker(checkpointEvery)
	defer ticker.Stop()
	ctx := context.Background() // a checkpoint under way is finished
	var seen int64
	for {
		select {
		case <-l.stopped:
			return
		case <-ticker.C:
		}
		if writes := l.writes.Load(); writes != seen {
			seen = writes
			if _, err := l.writers.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
				l.logger.WarnContext(ctx, "checkpoint", "file", filepath.Base(l.path), "err", err)
			}
		}
	}
}

func (l *lite) close() error {
	l.mu.Lock()
	already := l.closed
	if !already {
		l.closed = true
		close(l.queue)
		close(l.stopped)
	}
	l.mu.Unlock()
	l.finished.Wait()
	if already {
		return nil
	}
	return l.closeConnections()
}

func (l *lite) closeConnections() error {
	var all []error
	if l.readers != nil {
		all = append(all, l.readers.close())
	}
	if l.writer != nil {
		all = append(all, l.writer.close())
	}
	if l.writers != nil {
		all = append(all, l.writers.Close())
	}
	return errors.Join(all...)
}

// Backup writes a consistent copy of a SQLite database to path, which must not exist, while it is in use.
func (db *DB) Backup(ctx context.Context, path string) error {
	if db.lite == nil {
		return errors.New("backup: use pg_dump for a PostgreSQL database")
	}
	if _, err := db.lite.writers.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	return os.Chmod(path, 0o600)
}

// writerConn is the one connection that writes. Only the writer goroutine uses it, and the closures that it runs.
type writerConn struct {
	conn  *sql.Conn
	stmts map[*Query]*sql.Stmt
}

func (w *writerConn) command(ctx context.Context, text string) error {
	_, err := w.conn.ExecContext(ctx, text)
	return err
}

// restart drops what the transaction holds and opens a new one.
func (w *writerConn) restart(ctx context.Context) error {
	if err := w.command(ctx, "ROLLBACK"); err != nil {
		return err
	}
	return w.command(ctx, "BEGIN IMMEDIATE")
}

func (w *writerConn) prepared(ctx context.Context, q *Query) (*sql.Stmt, error) {
	if stmt, ok := w.stmts[q]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, q.lite)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", q.lite, err)
	}
	w.stmts[q] = stmt
	return stmt, nil
}

func (w *writerConn) exec(ctx context.Context, q *Query, args []any) (sql.Result, error) {
	stmt, err := w.prepared(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (w *writerConn) query(ctx context.Context, q *Query, args []any) (*sql.Rows, error) {
	stmt, err := w.prepared(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (w *writerConn) queryRow(ctx context.Context, q *Query, args []any) *sql.Row {
	stmt, err := w.prepared(ctx, q)
	if err != nil {
		return w.conn.QueryRowContext(ctx, q.lite, args...) // reports the same error from Scan
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (w *writerConn) close() error {
	var all []error
	for _, stmt := range w.stmts {
		all = append(all, stmt.Close())
	}
	return errors.Join(append(all, w.conn.Close())...)
}
