package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Office is what commands need that work on the database beside a running server: no port, no lock, no background parts.
type Office struct {
	Store   *store.Store
	Vault   *vault.Vault
	Tenants *tenant.Service
	// MasterKeyFile is where the master key lives, empty when the operator gives it by a variable.
	MasterKeyFile string

	door    *egress.Door
	account tenant.Account
}

// OpenOffice opens the database that the configuration names. It must have been created by a server before.
func OpenOffice(ctx context.Context, opts Options) (*Office, error) {
	if opts.Config.DatabaseURL.IsEmpty() {
		if _, err := os.Stat(filepath.Join(opts.Config.DataDir, "core.db")); err != nil {
			return nil, fmt.Errorf("there is no database in %s: start the server once, or name its folder with --data: %w", opts.Config.DataDir, err)
		}
	}
	p := &parts{}
	o := &Office{}
	err := func() error {
		if _, err := p.openStore(ctx, opts); err != nil {
			return err
		}
		o.Store, o.Vault = p.store, p.vault
		door, err := openDoor(opts.Config, opts)
		if err != nil {
			return err
		}
		p.door, o.door = door, door
		if o.account, err = p.buildTenants(ctx, opts); err != nil {
			return err
		}
		o.Tenants = p.tenants
		return nil
	}()
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	if opts.Config.EncryptionKey.IsEmpty() {
		o.MasterKeyFile = keyFile(opts.Config.DataDir)
	}
	return o, nil
}

func keyFile(dataDir string) string { return filepath.Join(dataDir, "encryption.key") }

// Environment finds an environment by name.
func (o *Office) Environment(ctx context.Context, name string) (tenant.Environment, error) {
	e, err := o.Tenants.EnvironmentByName(ctx, o.account.ID, name)
	if errors.Is(err, tenant.ErrEnvironmentNotFound) {
		return e, fmt.Errorf("there is no environment %q", name)
	}
	return e, err
}

// ChangeMasterKey seals the keysets with another master key, and stores it in the key file where there is one.
func (o *Office) ChangeMasterKey(ctx context.Context, next secret.Text) error {
	return o.Vault.ChangeMasterKey(ctx, next)
}

// Close closes the database.
func (o *Office) Close() error {
	o.door.Close()
	return o.Store.Close()
}
