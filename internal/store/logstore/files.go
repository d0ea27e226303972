package logstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

const (
	filePrefix, fileSuffix = "logs-", ".db"
	// fileIdle is how long a file stays open after its last use.
	fileIdle = time.Minute
	// fileReaders bounds the reading connections of a file; fifteen files may be open at once.
	fileReaders = 2
)

// files keeps each day in a SQLite file logs-YYYYMMDD.db, opened when it is used.
type files struct {
	folder string
	now    func() time.Time
	logger *slog.Logger

	mu    sync.Mutex
	idle  *sync.Cond // a file's users went down to 0
	open  map[day]*file
	ended bool
}

type file struct {
	db    *engine.DB
	users int
	used  time.Time
	going bool // about to be dropped: no new users
}

func newFiles(folder string, now func() time.Time, logger *slog.Logger) (*files, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the logs: %w", err)
	}
	f := &files{folder: folder, now: now, logger: logger, open: map[day]*file{}}
	f.idle = sync.NewCond(&f.mu)
	return f, nil
}

func (f *files) path(d day) string { return filepath.Join(f.folder, filePrefix+d.String()+fileSuffix) }

func (f *files) list(context.Context) ([]day, error) {
	entries, err := os.ReadDir(f.folder)
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	var all []day
	for _, entry := range entries {
		name, ours := strings.CutPrefix(entry.Name(), filePrefix)
		name, whole := strings.CutSuffix(name, fileSuffix)
		if d, ok := parseDay(name); ok && ours && whole {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (f *files) write(ctx context.Context, d day, fn func(context.Context, *engine.DB) error) error {
	one, err := f.acquire(ctx, d, true)
	if err != nil {
		return err
	}
	defer f.release(one)
	return one.db.Write(ctx, func(ctx context.Context) error { return fn(ctx, one.db) })
}

func (f *files) read(ctx context.Context, d day, fn func(context.Context, *engine.DB) error) error {
	one, err := f.acquire(ctx, d, false)
	if err != nil {
		return err
	}
	defer f.release(one)
	return fn(ctx, one.db)
}

func (f *files) prepare(ctx context.Context, d day) error {
	one, err := f.acquire(ctx, d, true)
	if err != nil {
		return err
	}
	f.release(one)
	return nil
}

func (f *files) acquire(ctx context.Context, d day, create bool) (*file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, engine.ErrClosed
	}
	one := f.open[d]
	if one != nil && one.going {
		return nil, errNoDay
	}
	if one == nil {
		if !create {
			if _, err := os.Stat(f.path(d)); errors.Is(err, fs.ErrNotExist) {
				return nil, errNoDay
			}
		}
		db, err := f.openFile(ctx, d)
		if err != nil {
			return nil, err
		}
		one = &file{db: db}
		f.open[d] = one
	}
	one.users++
	return one, nil
}

func (f *files) openFile(ctx context.Context, d day) (*engine.DB, error) {
	// What is opened outlives the request that needed it first.
	ctx = context.WithoutCancel(ctx)
	db, err := engine.OpenSQLite(ctx, f.path(d), engine.LiteOptions{Normal: true, Readers: fileReaders, Logger: f.logger})
	if err != nil {
		return nil, err
	}
	if err := schema().Migrate(ctx, db, f.now(), nil); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (f *files) release(one *file) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.users--
	one.used = f.now()
	if one.users == 0 {
		f.idle.Broadcast()
	}
}

func (f *files) drop(ctx context.Context, d day) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.open[d]; one != nil {
		if one.going {
			return nil
		}
		one.going = true
		for one.users > 0 {
			f.idle.Wait()
		}
		delete(f.open, d)
		if err := one.db.Close(); err != nil {
			f.logger.WarnContext(ctx, "close a file of the logs", "day", d, "err", err)
		}
	}
	var all []error
	for _, name := range f.names(d) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// names is the day's file last, so that a crash between them leaves a day that is listed and dropped again.
func (f *files) names(d day) []string {
	return []string{f.path(d) + "-wal", f.path(d) + "-shm", f.path(d)}
}

func (f *files) size(_ context.Context, d day) (int64, error) {
	var total int64
	for _, name := range f.names(d) {
		info, err := os.Stat(name)
		if err == nil {
			total += info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	return total, nil
}

func (f *files) rest(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []error
	for d, one := range f.open {
		if one.users == 0 && !one.going && now.Sub(one.used) >= fileIdle && d < dayOf(now) {
			delete(f.open, d)
			all = append(all, one.db.Close())
		}
	}
	return errors.Join(all...)
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	var all []error
	for d, one := range f.open {
		for one.users > 0 {
			f.idle.Wait()
		}
		delete(f.open, d)
		all = append(all, one.db.Close())
	}
	return errors.Join(all...)
}
