package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/patchbay-dev/patchbay/internal/api"
	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// parts are the domains, wired.
type parts struct {
	store        *store.Store
	vault        *vault.Vault
	door         *egress.Door
	catalog      *provider.Live
	tenants      *tenant.Service
	integrations *integration.Service
	connections  *connection.Service
	api          *api.Server
}

// build opens and wires the parts; services are added in the order in which they start.
func (p *parts) build(ctx context.Context, opts Options, services *lifecycle.Group) (vault.Notice, error) {
	cfg := opts.Config
	notice, err := p.openStore(ctx, opts)
	if err != nil {
		return notice, err
	}
	if p.door, err = openDoor(cfg, opts); err != nil {
		return notice, err
	}
	if p.catalog, err = openCatalog(ctx, cfg, opts.Logger); err != nil {
		return notice, err
	}
	if _, err := p.buildTenants(ctx, opts); err != nil {
		return notice, err
	}
	p.connections = connection.New(connection.Options{Store: p.store.Connections(), Tx: p.store, Vault: p.vault})
	p.integrations = integration.New(integration.Options{
		Store: p.store.Integrations(), Tx: p.store, Hints: p.store, Vault: p.vault, Catalog: p.catalog,
		Deleting: []integration.Deleting{p.connections.DeleteAll},
	})
	p.api = api.New(api.Options{
		PublicURL: cfg.PublicURL, Logger: opts.Logger, Tenants: p.tenants, Catalog: p.catalog, Integrations: p.integrations, Connections: p.connections,
		URLs: p.door, Ready: func(context.Context) error { return services.Health() },
	})
	services.Add(p.vault, p.tenants)
	return notice, nil
}

// openStore opens the database and the vault that seals what is in it.
func (p *parts) openStore(ctx context.Context, opts Options) (vault.Notice, error) {
	cfg := opts.Config
	var err error
	if p.store, err = store.Open(ctx, store.Options{DataDir: cfg.DataDir, PostgresURL: cfg.DatabaseURL.Reveal(), Logger: opts.Logger}); err != nil {
		return vault.Notice{}, err
	}
	var notice vault.Notice
	p.vault, notice, err = vault.Open(ctx, vault.Options{
		MasterKey: cfg.EncryptionKey, KeyFile: keyFile(cfg.DataDir), Store: p.store.Vault(), Sealed: p.store.Sealed(), Logger: opts.Logger,
	})
	return notice, err
}

func (p *parts) buildTenants(ctx context.Context, opts Options) (tenant.Account, error) {
	variables := map[string]string{}
	for environment, key := range opts.Config.EnvironmentKeys {
		variables[config.EnvPrefix+"SECRET_KEY_"+environment] = key.Reveal()
	}
	var err error
	p.tenants, err = tenant.New(tenant.Options{
		Store: p.store.Tenants(), Vault: p.vault, URLs: p.door, AllowHTTP: opts.Config.InsecureHTTP, Variables: variables, Logger: opts.Logger,
	})
	if err != nil {
		return tenant.Account{}, err
	}
	account, err := p.tenants.Bootstrap(ctx)
	if err != nil {
		return account, fmt.Errorf("create the first environments: %w", err)
	}
	return account, nil
}

func openDoor(cfg *config.Config, opts Options) (*egress.Door, error) {
	var policy egress.Policy
	if cfg.Egress != "" {
		var err error
		if policy, err = egress.ParsePolicy(cfg.Egress); err != nil {
			return nil, fmt.Errorf("egress policy: %w", err)
		}
	}
	for _, text := range cfg.EgressAllow {
		entry, err := egress.ParseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("egress-allow: %w", err)
		}
		policy.Allow = append(policy.Allow, entry)
	}
	return egress.New(egress.Options{Policy: policy, UserAgent: "Patchbay/" + opts.Version}), nil
}

// openCatalog lays the operator's folder over the embedded catalog. The default folder is made, so that a file put there later
// is seen.
func openCatalog(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*provider.Live, error) {
	folder := cfg.ProvidersDir
	if folder == "" {
		folder = filepath.Join(cfg.DataDir, "providers")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("create the providers folder: %w", err)
		}
	}
	live, err := provider.NewLive(ctx, provider.LiveOptions{
		OverlayDir: folder,
		OnReload: func(ctx context.Context, c *provider.Catalog) {
			logger.InfoContext(ctx, "catalog loaded", "providers", len(c.List()))
		},
		OnProblems: func(ctx context.Context, problems provider.Problems) {
			logger.ErrorContext(ctx, "the provider files have faults, the last good catalog stays in use", "folder", folder, "err", problems)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load the catalog: %w", err)
	}
	return live, nil
}

// handler is everything that the port serves.
func (p *parts) handler() http.Handler { return p.api }

func (p *parts) close() error {
	var all []error
	if p.integrations != nil {
		p.integrations.Close()
	}
	if p.door != nil {
		p.door.Close()
	}
	if p.store != nil {
		all = append(all, p.store.Close())
	}
	return errors.Join(all...)
}
