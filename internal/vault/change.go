package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// ChangeMasterKey seals the keysets with another master key; no value is touched. next has the form of Options.MasterKey.
// Where the key lives in Options.KeyFile the file is replaced, and an empty next means a generated key; a crash in between is
// repaired by the next Open; processes that share the file find the new key by themselves. Where the operator supplies the
// key, every process has to be started with the new one: those that run go on with the keys they have until a rotation.
func (v *Vault) ChangeMasterKey(ctx context.Context, next secret.Text) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	if err := v.changeMaster(ctx, next); err != nil {
		return fmt.Errorf("change the master key: %w", err)
	}
	return nil
}

func (v *Vault) changeMaster(ctx context.Context, next secret.Text) error {
	r, err := v.look(ctx)
	if err != nil {
		return err
	}
	current, err := v.masterOf(r.stored)
	if err != nil {
		return err
	}
	if current.source == FromFile {
		if next, err = prepareKeyFile(v.opts.KeyFile, next); err != nil {
			return err
		}
	}
	if next.IsEmpty() {
		return errors.New("no new key was given")
	}
	m, err := parseMaster(next, "the new master key", current.source)
	if err != nil {
		return err
	}
	if m.id == current.id {
		return errors.New("the new key is the one in use")
	}
	if err := v.resealKeysets(ctx, current, m); err != nil {
		return err
	}
	v.master.Store(&m)
	if current.source == FromFile {
		return installKeyFile(v.opts.KeyFile, m.id)
	}
	return nil
}

func (v *Vault) resealKeysets(ctx context.Context, current, m master) error {
	stored, err := v.opts.Store.Keysets(ctx)
	if err != nil {
		return err
	}
	resealed := make([]StoredKeyset, len(stored))
	for i, was := range stored {
		var handle *keyset.Handle
		if handle, err = was.open(current); err != nil {
			return err
		}
		if resealed[i], err = was.seal(m, handle); err != nil {
			return err
		}
		resealed[i].UpdatedAt = v.opts.Now()
	}
	return v.opts.Store.Write(ctx, func(ctx context.Context) error {
		for i, was := range stored {
			swapped, err := v.opts.Store.SwapKeyset(ctx, was, resealed[i])
			if err != nil {
				return err
			}
			if !swapped {
				return errBusy
			}
		}
		return v.opts.Store.Notify(ctx, topic, "")
	})
}

// nextKeyFile holds the new key while the master key is being changed. It is never deleted, only renamed once the database is
// known to need it, so that no interleaving of processes and crashes loses a key.
func nextKeyFile(path string) string { return path + ".next" }

// prepareKeyFile makes sure that the new key is on disk before anything is sealed with it, and returns it. What an earlier
// attempt left is used.
func prepareKeyFile(path string, next secret.Text) (secret.Text, error) {
	given := !next.IsEmpty()
	if !given {
		next = GenerateMasterKey()
	}
	wanted, err := parseMaster(next, "the new master key", FromFile)
	if err != nil {
		return secret.Text{}, err
	}
	if err := writeKeyFile(nextKeyFile(path), next); !errors.Is(err, fs.ErrExist) {
		return next, err
	}
	text, err := os.ReadFile(nextKeyFile(path))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the new key: %w", err)
	}
	left, err := parseMaster(secret.New(string(text)), nextKeyFile(path), FromFile)
	if err == nil && given && left.id != wanted.id {
		err = fmt.Errorf("an earlier change left another key in %s: finish that one by giving no key", nextKeyFile(path))
	}
	return secret.New(string(text)), err
}

// installKeyFile puts the new key in the place of the old one if it is the key of that id, and keeps the old one beside it for
// backups of before. It does nothing when there is no new key, or the database does not need it.
func installKeyFile(path, id string) error {
	next, _, err := readKeyFile(nextKeyFile(path))
	if errors.Is(err, errNoKeyFile) || err == nil && next.id != id {
		return nil
	}
	if err != nil {
		return err
	}
	if old, _, err := readKeyFile(path); err == nil {
		if err := os.Link(path, path+"."+old.id); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keep the old key file: %w", err)
		}
	}
	if err := os.Rename(nextKeyFile(path), path); err != nil && !errors.Is(err, fs.ErrNotExist) { // gone: another process did it
		return fmt.Errorf("replace the key file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// masterOf gives the master key that sealed k: the one in use, or the one that another process has put into the file since.
func (v *Vault) masterOf(k StoredKeyset) (master, error) {
	m := *v.master.Load()
	if m.id == k.MasterKeyID {
		return m, nil
	}
	if m.source == FromFile {
		if err := installKeyFile(v.opts.KeyFile, k.MasterKeyID); err != nil {
			return m, err
		}
		if next, _, err := readKeyFile(v.opts.KeyFile); err == nil && next.id == k.MasterKeyID {
			v.master.Store(&next)
			return next, nil
		}
	}
	return m, &MasterKeyError{Keyset: k.Name, Stored: k.MasterKeyID, Given: m.id}
}

// Status is what an operator may know of the keys; nothing in it is secret.
type Status struct {
	MasterKeyID     string
	MasterKeySource Source
	// PrimaryKeyID seals, StagedKeyID will (0: none), and OldKeyIDs only open.
	PrimaryKeyID uint32
	StagedKeyID  uint32
	OldKeyIDs    []uint32
}

// Status reads the state of the keys from the database.
func (v *Vault) Status(ctx context.Context) (Status, error) {
	r, err := v.look(ctx)
	if err != nil {
		return Status{}, err
	}
	return Status{
		MasterKeyID: r.stored.MasterKeyID, MasterKeySource: v.master.Load().source,
		PrimaryKeyID: r.primary, StagedKeyID: r.stored.StagedKeyID, OldKeyIDs: r.old,
	}, nil
}
