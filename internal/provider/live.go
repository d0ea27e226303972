package provider

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/providers"
)

// LiveOptions say where a Live catalog comes from. The zero value is the embedded catalog alone.
type LiveOptions struct {
	// Base is the catalog underneath; nil is the embedded one.
	Base fs.FS
	// OverlayDir holds the operator's own *.yaml; "" is none. It must exist.
	OverlayDir string
	// Debounce is how long to wait after the first change, so that several files written together are read once. Too short
	// reports files that are half written; too long only delays. 0 is 200 ms.
	Debounce time.Duration
	// Rescan is how often the directory is read even without a notice of change, because network and container mounts give
	// none, and neither does a symbolic link to the directory that is switched. 0 is 30 s, -1 is never.
	Rescan time.Duration
	// Watch reports changes in a directory; nil uses the operating system's notices.
	Watch func(dir string) (Changes, error)
	// OnReload is called with each new catalog, OnProblems with what keeps a changed overlay from being used. Both are called
	// one at a time, from NewLive, from the running service, or from the caller of Reload, and must not call back into the
	// Live except for Get, List and Catalog. Nil is allowed.
	OnReload   func(ctx context.Context, c *Catalog)
	OnProblems func(ctx context.Context, p Problems)
}

// Changes tells that something in a directory changed.
type Changes interface {
	// C delivers a value after a change; several changes may be one value. It is closed after Close.
	C() <-chan struct{}
	Close() error
}

// Live is a catalog that follows the operator's files. Get is an atomic read of a snapshot; nothing is parsed for it.
//
// A reload is all or nothing: with a fault in any overlay file the last good catalog stays, and Problems tells what is
// wrong until a later reload succeeds. When the overlay is broken from the start, the last good catalog is the base alone.
//
// It is a lifecycle.Service named "provider catalog": Start follows the overlay until Stop. Without Start, or without an
// overlay, only Reload changes the snapshot.
type Live struct {
	*lifecycle.Loop
	opts    LiveOptions
	catalog atomic.Pointer[Catalog]

	mu       sync.Mutex // guards what follows, and keeps reloads apart
	problems Problems
	seen     [sha256.Size]byte // fingerprint of the overlay at the last attempt
}

// NewLive loads the catalog once. It fails if the base is broken or OverlayDir can't be read; a broken overlay is reported
// through OnProblems and Problems instead, so that a typing error does not keep the server from starting.
func NewLive(ctx context.Context, opts LiveOptions) (*Live, error) {
	if opts.Base == nil {
		opts.Base = providers.Files
	}
	if opts.Debounce == 0 {
		opts.Debounce = 200 * time.Millisecond
	}
	if opts.Rescan == 0 {
		opts.Rescan = 30 * time.Second
	}
	if opts.Watch == nil {
		opts.Watch = watchDir
	}
	base, err := Load(opts.Base)
	if err != nil {
		return nil, fmt.Errorf("load the provider catalog: %w", err)
	}
	l := &Live{opts: opts}
	l.Loop = lifecycle.NewLoop("provider catalog", nil, l.follow)
	l.catalog.Store(base)
	if opts.OverlayDir == "" {
		return l, nil
	}
	if _, err := os.ReadDir(opts.OverlayDir); err != nil {
		return nil, fmt.Errorf("read the provider directory: %w", err)
	}
	// The error is kept in Problems and was handed to OnProblems.
	_ = l.Reload(ctx)
	return l, nil
}

// Get finds a provider by its id in the current snapshot.
func (l *Live) Get(name string) (*Provider, bool) { return l.Catalog().Get(name) }

// List returns the providers of the current snapshot, sorted by id.
func (l *Live) List() []*Provider { return l.Catalog().List() }

// Catalog returns the current snapshot. Use one snapshot for decisions that belong together.
func (l *Live) Catalog() *Catalog { return l.catalog.Load() }

// Problems returns what is wrong with the overlay as it is on disk; nil when it is in use.
func (l *Live) Problems() Problems {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problems
}

// Reload reads the overlay now. The error is Problems; the last good catalog stays in that case.
func (l *Live) Reload(ctx context.Context) error {
	if l.opts.OverlayDir == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reload(ctx)
}

// reload needs mu.
func (l *Live) reload(ctx context.Context) error {
	overlay := os.DirFS(l.opts.OverlayDir)
	l.seen = fingerprint(overlay)
	catalog, problems := load([]layer{{files: l.opts.Base}, {dir: l.opts.OverlayDir, files: overlay}})
	l.problems = problems
	if len(problems) > 0 {
		if l.opts.OnProblems != nil {
			l.opts.OnProblems(ctx, problems)
		}
		return problems
	}
	l.catalog.Store(catalog)
	if l.opts.OnReload != nil {
		l.opts.OnReload(ctx, catalog)
	}
	return nil
}

// reloadIfChanged does nothing while the files hold what was read last, good or bad.
func (l *Live) reloadIfChanged(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fingerprint(os.DirFS(l.opts.OverlayDir)) != l.seen {
		// The error is kept in Problems and was handed to OnProblems.
		_ = l.reload(ctx)
	}
}

// follow is the loop of the service. Where the system can't watch the directory, the regular rescan notices changes.
func (l *Live) follow(ctx context.Context) error {
	if l.opts.OverlayDir == "" {
		return nil
	}
	var notices <-chan struct{}
	changes, err := l.opts.Watch(l.opts.OverlayDir)
	if err != nil {
		slog.WarnContext(ctx, "provider directory can't be watched, it is only read regularly", "every", l.opts.Rescan, "err", err)
	} else {
		notices = changes.C()
		defer func() {
			if err := changes.Close(); err != nil {
				slog.WarnContext(ctx, "stop watching the provider directory", "err", err)
			}
		}()
	}
	var rescan <-chan time.Time
	if l.opts.Rescan > 0 {
		ticker := time.NewTicker(l.opts.Rescan)
		defer ticker.Stop()
		rescan = ticker.C
	}
	// What changed between NewLive and the watch being set up.
	l.reloadIfChanged(ctx)
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-notices:
			if !open {
				notices = nil
			} else if due == nil {
				due = time.After(l.opts.Debounce)
			}
		case <-due:
			due = nil
			l.reloadIfChanged(ctx)
		case <-rescan:
			l.reloadIfChanged(ctx)
		}
	}
}

// fingerprint covers the names and contents of the catalog files. What can't be read counts by its error, so that it is
// read again when the error goes away.
func fingerprint(files fs.FS) [sha256.Size]byte {
	h := sha256.New()
	listing, err := fs.ReadDir(files, ".")
	if err != nil {
		fmt.Fprintln(h, err)
	}
	for _, item := range listing {
		if !isCatalogFile(item) {
			continue
		}
		data, err := layer{files: files}.readFile(item.Name())
		fmt.Fprintln(h, item.Name(), len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
