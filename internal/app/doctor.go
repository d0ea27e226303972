package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Verdict is how a check went.
type Verdict string

// The verdicts. A warning is something to know, not something to mend.
const (
	Good    Verdict = "ok"
	Warning Verdict = "warn"
	Wrong   Verdict = "WRONG"
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Diagnose checks what a process with this configuration would need. It changes nothing; a database that does not exist yet is
// not created.
func Diagnose(ctx context.Context, opts Options) []Finding {
	return []Finding{
		checkFolder(opts), checkPort(ctx, opts), checkDatabase(ctx, opts), checkPolicy(opts), checkProviders(opts), checkRunner(ctx, opts),
	}
}

func finding(check string, err error, good string) Finding {
	if err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	return Finding{check, Good, good}
}

func checkFolder(opts Options) Finding {
	const check = "data folder"
	dir := opts.Config.DataDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Finding{check, Warning, dir + " does not exist yet: the server creates it"}
	case err != nil:
		return Finding{check, Wrong, err.Error()}
	case !info.IsDir():
		return Finding{check, Wrong, dir + " is not a folder"}
	case info.Mode().Perm()&0o077 != 0:
		return Finding{check, Warning, fmt.Sprintf("others can look into %s (mode %o): chmod 700 it", dir, info.Mode().Perm())}
	}
	probe, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return Finding{check, Wrong, "can't write: " + err.Error()}
	}
	return finding(check, errors.Join(probe.Close(), os.Remove(probe.Name())), dir+" is writable")
}

func checkPort(ctx context.Context, opts Options) Finding {
	address := net.JoinHostPort(opts.Config.Host, strconv.Itoa(opts.Config.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return Finding{"port", Warning, fmt.Sprintf("%s is taken, which is right if the server is running: %v", address, err)}
	}
	return finding("port", listener.Close(), address+" is free")
}

func checkDatabase(ctx context.Context, opts Options) (f Finding) {
	const check = "database"
	if opts.Config.DatabaseURL.IsEmpty() {
		if _, err := os.Stat(filepath.Join(opts.Config.DataDir, "core.db")); err != nil {
			return Finding{check, Warning, "there is no SQLite database yet: the server creates it"}
		}
	}
	s, err := store.Connect(ctx, store.Options{DataDir: opts.Config.DataDir, PostgresURL: opts.Config.DatabaseURL.Reveal(), Logger: opts.Logger})
	if err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	defer func() {
		if err := s.Close(); err != nil && f.Verdict == Good {
			f = Finding{check, Wrong, err.Error()}
		}
	}()
	lines, err := s.Status(ctx)
	if err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	pending := 0
	for _, line := range lines {
		pending += len(line.Pending)
	}
	if pending > 0 {
		return Finding{check, Warning, fmt.Sprintf("%d migrations are pending: the server applies them when it starts", pending)}
	}
	_, notice, err := vault.Open(ctx, vault.Options{
		MasterKey: opts.Config.EncryptionKey, KeyFile: keyFile(opts.Config.DataDir), Store: s.Vault(), Sealed: s.Sealed(), Logger: opts.Logger,
	})
	if err == nil && notice.Exposed != "" {
		return Finding{check, Warning, notice.String()}
	}
	return finding(check, err, "the schema is up to date and the encryption key fits")
}

func checkPolicy(opts Options) Finding {
	door, err := openDoor(opts.Config, opts)
	if err == nil {
		door.Close()
	}
	return finding("egress policy", err, "understood")
}

func checkProviders(opts Options) Finding {
	const check = "providers"
	folder := opts.Config.ProvidersDir
	if folder == "" {
		folder = filepath.Join(opts.Config.DataDir, "providers")
	}
	embedded, err := provider.Embedded()
	if err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	own, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(own) == 0 {
		return finding(check, err, fmt.Sprintf("%d, none of your own", len(embedded.List())))
	}
	live, err := provider.NewLive(context.Background(), provider.LiveOptions{OverlayDir: folder, Rescan: -1})
	if err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	if problems := live.Problems(); len(problems) > 0 {
		return Finding{check, Wrong, problems.Error()}
	}
	return Finding{check, Good, fmt.Sprintf("%d, with %d files of your own", len(live.List()), len(own))}
}

func checkRunner(ctx context.Context, opts Options) Finding {
	const check = "functions"
	pool := runner.NewPool(runner.Options{Workers: 1, Logger: opts.Logger})
	if err := pool.Start(ctx); err != nil {
		return Finding{check, Wrong, "the runner process does not start: " + err.Error()}
	}
	isolation := pool.Isolation()
	if err := pool.Stop(ctx); err != nil {
		return Finding{check, Wrong, err.Error()}
	}
	if !isolation.Full() {
		return Finding{check, Warning, "functions run, but this host can't confine them fully: " + strings.Join(isolation.Problems, "; ")}
	}
	return Finding{check, Good, "runners start, without network and files"}
}
