package logstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/store/migrations"
)

// Options of Open. Either Folder or Postgres is required.
type Options struct {
	// Folder is where the day files are; it is created.
	Folder string
	// Postgres is the database with the partitions; it stays open when the Store is closed.
	Postgres *engine.DB
	// Retention is how long operations are kept; whole days are dropped, so some are kept up to a day longer. 0 means 15 days.
	Retention time.Duration
	// MaxBytes is how much disk all days may take; the oldest are dropped first, today never. 0 means no limit.
	MaxBytes int64
	Now      func() time.Time
	Logger   *slog.Logger
}

const (
	defaultRetention = 15 * dayLength
	// closeLimit is how long Close tries to write what is queued.
	closeLimit = 10 * time.Second
)

// Store keeps operations and messages. It implements oplog.Writer and is safe for concurrent use.
type Store struct {
	opts  Options
	days  days
	codec codec
	texts statements

	queue queue
	known operations // what is known of operations that are being written
	bus   bus

	background context.CancelFunc
	finished   sync.WaitGroup
	once       sync.Once
}

func schema() engine.Migrations {
	files, err := fs.Sub(migrations.Logs, "logs")
	if err != nil { // only for a malformed name
		panic(err)
	}
	return engine.Migrations{Line: "logs", Files: files}
}

// Open opens the logs, brings their schema up to date and starts writing and tidying up in the background.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Retention == 0 {
		opts.Retention = defaultRetention
	}
	codec, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	s := &Store{opts: opts, codec: codec, queue: newQueue(), bus: newBus()}
	if opts.Postgres != nil {
		if err := schema().Migrate(ctx, opts.Postgres, opts.Now(), nil); err != nil {
			return nil, err
		}
		s.days = newPartitions(opts.Postgres)
	} else if s.days, err = newFiles(opts.Folder, opts.Now, opts.Logger); err != nil {
		return nil, err
	}
	if err := s.days.prepare(ctx, dayOf(opts.Now())); err != nil {
		return nil, errors.Join(err, s.days.close())
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.background = cancel
	s.finished.Go(func() { s.runWriter(background) })
	s.finished.Go(func() { s.runTidying(background) })
	if s.postgres() {
		s.finished.Go(func() { s.runPolling(background) })
	}
	return s, nil
}

func (s *Store) postgres() bool { return s.opts.Postgres != nil }

// Close writes what is queued and closes the files. Tails end. It may be called twice.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.queue.close()
		s.background()
		s.finished.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		err = s.Flush(ctx)
		s.reportLost(ctx)
		s.bus.close()
		err = errors.Join(err, s.days.close())
	})
	return err
}
