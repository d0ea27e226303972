package vault_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

func TestMasterKeyOfTheOperatorIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v, other := w.node(t), w.node(t)
	c := w.column.Context("1")
	sealed := seal(t, v, "x", c)
	digest := v.Hash("p", []byte("x"))
	old, next := w.master, vault.GenerateMasterKey()

	for what, key := range map[string]secret.Text{"none": {}, "a bad one": secret.New("short"), "the same": old} {
		if err := v.ChangeMasterKey(t.Context(), key); err == nil {
			t.Errorf("changed to %s", what)
		}
	}
	if err := v.ChangeMasterKey(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, _, err := vault.Open(t.Context(), w.options()); err == nil {
		t.Error("the old key still opens")
	}
	w.master = next
	started := w.node(t)
	if got, err := started.Open(sealed, c); err != nil || string(got) != "x" || string(started.Hash("p", []byte("x"))) != string(digest) {
		t.Errorf("after the change: %q, %v", got, err)
	}

	// A process that was started with the old key goes on, and does not bring the old key back.
	w.advance(lease)
	if _, err := other.Open(seal(t, other, "x", c), c); err != nil {
		t.Errorf("the process with the old key: %v", err)
	}
	var wrong *vault.MasterKeyError
	if _, err := other.Rotate(t.Context()); !errors.As(err, &wrong) {
		t.Errorf("rotation by the process with the old key: %v", err)
	}
	if err := other.ChangeMasterKey(t.Context(), vault.GenerateMasterKey()); !errors.As(err, &wrong) {
		t.Errorf("change by the process with the old key: %v", err)
	}
	w.node(t)
	if _, err := v.Rotate(t.Context()); err != nil {
		t.Errorf("rotation by the process that changed the key: %v", err)
	}
	if got, err := started.Open(seal(t, v, "y", c), c); err != nil || string(got) != "y" {
		t.Errorf("after a rotation: %q, %v", got, err)
	}
}

func TestMasterKeyInTheFileIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld()
	opts := w.options()
	opts.MasterKey, opts.KeyFile = secret.Text{}, filepath.Join(t.TempDir(), "encryption.key")
	v, _, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, "x", w.column.Context("1"))
	old := read(t, opts.KeyFile)
	status, err := v.Status(t.Context())
	if err != nil || status.MasterKeySource != vault.FromFile {
		t.Fatal(status, err)
	}
	running, _, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.ChangeMasterKey(t.Context(), secret.Text{}); err != nil {
		t.Fatal(err)
	}
	if read(t, opts.KeyFile) == old {
		t.Error("the file has the old key")
	}
	if kept := read(t, opts.KeyFile+"."+status.MasterKeyID); kept != old {
		t.Error("the old key was not kept for old backups")
	}
	// A process that shares the file finds the new key there.
	if _, err := running.Rotate(t.Context()); err != nil {
		t.Errorf("rotation by a process that was started before the change: %v", err)
	}
	if _, err := v.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := running.Open(seal(t, v, "y", w.column.Context("1")), w.column.Context("1")); err != nil || string(got) != "y" {
		t.Errorf("%q, %v", got, err)
	}
	v, notice, err := vault.Open(t.Context(), opts)
	if err != nil || notice.String() != "" {
		t.Fatalf("%v, notice %q", err, notice)
	}
	if got, err := v.Open(sealed, w.column.Context("1")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestInterruptedChangeOfTheKeyFileIsFinished: the process dies after the new key was written, and again after the database
// has it but before the file was replaced.
func TestInterruptedChangeOfTheKeyFileIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld()
	opts := w.options()
	opts.MasterKey, opts.KeyFile = secret.Text{}, filepath.Join(t.TempDir(), "encryption.key")
	v, _, err := vault.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, "x", w.column.Context("1"))
	reopen := func() {
		t.Helper()
		if v, _, err = vault.Open(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Open(sealed, w.column.Context("1")); err != nil || string(got) != "x" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	old := read(t, opts.KeyFile)

	w.store.WriteErr = errors.New("down")
	if err := v.ChangeMasterKey(t.Context(), secret.Text{}); !errors.Is(err, w.store.WriteErr) {
		t.Fatal(err)
	}
	w.store.WriteErr = nil
	next := read(t, opts.KeyFile+".next")
	reopen()
	if read(t, opts.KeyFile) != old || read(t, opts.KeyFile+".next") != next {
		t.Fatal("a key that the database does not have was installed or deleted")
	}
	if err := v.ChangeMasterKey(t.Context(), vault.GenerateMasterKey()); err == nil || !strings.Contains(err.Error(), ".next") {
		t.Errorf("another key than the one that was left: %v", err)
	}
	if err := v.ChangeMasterKey(t.Context(), secret.Text{}); err != nil {
		t.Fatal(err)
	}
	if read(t, opts.KeyFile) != next {
		t.Error("the key that was left was not used")
	}

	// The same moment again, from the other side: the database has the key of .next, the file has the old one.
	if err := os.Rename(opts.KeyFile, opts.KeyFile+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(opts.KeyFile, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	reopen()
	if read(t, opts.KeyFile) != next {
		t.Error("the new key was not installed")
	}
	if _, err := os.Stat(opts.KeyFile + ".next"); err == nil {
		t.Error("the new key is still beside the file")
	}
}

func TestChangeOfTheMasterKeyCanBeCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.node(t)
	w.store.Err = context.Canceled
	if err := v.ChangeMasterKey(t.Context(), vault.GenerateMasterKey()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w.store.Err = nil
	w.node(t) // the old key still opens
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
