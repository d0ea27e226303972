package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/patchbay-dev/patchbay/internal/sandbox/crm"
	"github.com/patchbay-dev/patchbay/internal/sandbox/grant"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// snapshotFormat grows when an older snapshot would be misread.
const snapshotFormat = 1

// snapshot is the file at Options.SnapshotPath. It holds what differs from the seed, so it is as large as the changes.
type snapshot struct {
	Format   int           `json:"format"`
	Seed     uint64        `json:"seed"`
	Contacts crm.Saved     `json:"contacts"`
	Grants   *grant.Ledger `json:"grants"`
	Webhooks []savedHook   `json:"webhooks"`
	Hooks    uint64        `json:"hooks"`
	Events   uint64        `json:"events"`
}

type savedHook struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// save returns when version, or a later one, is on disk. Callers who wait for each other share one write.
func (s *Server) save(version uint64) error {
	if s.path == "" {
		return nil
	}
	s.saveMu.Lock()
	defer s.saveMu.Unlock()
	if s.saved >= version {
		return nil
	}
	s.mu.RLock()
	current := s.version
	body, err := s.encodeState()
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	if err := replaceFile(s.path, body); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	s.saved = current
	return nil
}

// encodeState runs under s.mu.
func (s *Server) encodeState() ([]byte, error) {
	snap := snapshot{
		Format: snapshotFormat, Seed: s.seed, Contacts: s.contacts.Saved(), Grants: s.grants, Hooks: s.hooks.hooks, Events: s.hooks.events,
	}
	for _, h := range s.hooks.list {
		snap.Webhooks = append(snap.Webhooks, savedHook{ID: h.id, URL: h.url, Secret: h.secret.Reveal()})
	}
	body, err := json.Marshal(snap)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return append(body, '\n'), nil
}

// replaceFile writes body beside path, syncs it and renames it over path, so that a crash leaves the old file or the new
// one. The name of the temporary file is fixed: what a crash left is overwritten by the next write.
func replaceFile(path string, body []byte) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // has no directory sync
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// load brings back the snapshot. No file is a first start.
func (s *Server) load() error {
	if s.path == "" {
		return nil
	}
	body, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		// Better now than at the first change.
		if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
			return fmt.Errorf("sandbox: folder of the snapshot: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("sandbox: read snapshot: %w", err)
	}
	snap := snapshot{Grants: s.grants}
	if err := json.Unmarshal(body, &snap); err != nil {
		return fmt.Errorf("sandbox: snapshot %s is damaged: %w", s.path, err)
	}
	if snap.Format != snapshotFormat {
		return fmt.Errorf("sandbox: snapshot %s has format %d, want %d; remove it to start afresh", s.path, snap.Format, snapshotFormat)
	}
	if snap.Seed != s.seed {
		return fmt.Errorf("sandbox: snapshot %s was made with seed %d, not %d; use that seed or remove the file", s.path, snap.Seed, s.seed)
	}
	if err := s.contacts.Restore(snap.Contacts); err != nil {
		return fmt.Errorf("sandbox: snapshot %s: %w", s.path, err)
	}
	s.hooks.hooks, s.hooks.events = snap.Hooks, snap.Events
	for _, h := range snap.Webhooks {
		s.hooks.list = append(s.hooks.list, newHook(h.ID, h.URL, secret.New(h.Secret)))
	}
	return nil
}
