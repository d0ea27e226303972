package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/patchbay-dev/patchbay/internal/api"
	"github.com/patchbay-dev/patchbay/internal/checkpoint"
	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/oplog"
	"github.com/patchbay-dev/patchbay/internal/outbound"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/proxy"
	"github.com/patchbay-dev/patchbay/internal/queue"
	"github.com/patchbay-dev/patchbay/internal/record"
	"github.com/patchbay-dev/patchbay/internal/refresh"
	"github.com/patchbay-dev/patchbay/internal/run"
	"github.com/patchbay-dev/patchbay/internal/runner"
	"github.com/patchbay-dev/patchbay/internal/store"
	"github.com/patchbay-dev/patchbay/internal/store/logstore"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// parts are the domains, wired.
type parts struct {
	store        *store.Store
	logs         *logstore.Store
	vault        *vault.Vault
	door         *egress.Door
	catalog      *provider.Live
	tenants      *tenant.Service
	queue        *queue.Client
	workers      *queue.Workers
	log          *oplog.Log
	integrations *integration.Service
	connections  *connection.Service
	refresh      *refresh.Coordinator
	proxy        *proxy.Service
	checkpoints  *checkpoint.Service
	records      *record.Service
	outbound     *outbound.Service
	functions    *function.Service
	instances    *run.Instances
	runner       *runner.Pool
	runs         *run.Service
	api          *api.Server
	account      tenant.Account
	draining     chan struct{} // closed when the process is about to stop
}

// build opens and wires the parts, each with what it needs of those before it; services are added in the order in which they
// start.
func (p *parts) build(ctx context.Context, opts Options, services *lifecycle.Group) (vault.Notice, error) {
	cfg := opts.Config
	notice, err := p.openStore(ctx, opts)
	if err != nil {
		return notice, err
	}
	if p.logs, err = p.store.OpenLogs(ctx, logstore.Options{Retention: cfg.Retention}); err != nil {
		return notice, err
	}
	p.log = oplog.New(oplog.Options{Writer: p.logs, Logger: opts.Logger})
	if p.door, err = openDoor(cfg, opts); err != nil {
		return notice, err
	}
	if p.catalog, err = openCatalog(ctx, cfg, opts.Logger); err != nil {
		return notice, err
	}
	if p.account, err = p.buildTenants(ctx, opts); err != nil {
		return notice, err
	}
	if opts.WebhookURL != "" {
		if err := p.setWebhookURL(ctx, opts.WebhookURL); err != nil {
			return notice, fmt.Errorf("webhook-url: %w", err)
		}
	}
	if err := p.buildQueue(opts); err != nil {
		return notice, err
	}
	p.buildConnections(opts)
	if err := p.buildFunctions(opts); err != nil {
		return notice, err
	}
	p.api = api.New(api.Options{
		PublicURL: cfg.PublicURL, Logger: opts.Logger, Tenants: p.tenants, Catalog: p.catalog, Integrations: p.integrations, Connections: p.connections,
		Functions: p.functions, Fresh: p.refresh, URLs: p.door, Proxy: p.proxy, Operations: p.log, Logs: p.logs, Records: p.records,
		Syncs: p.runs, Actions: p.runs, Draining: p.draining, Ready: func(context.Context) error { return services.Health() },
	})
	services.Add(p.vault, p.tenants, p.catalog, p.refresh, lifecycle.NewLoop("touch", opts.Logger, p.touch), pool{p.runner}, p.runs, p.queue)
	if cfg.Role != config.API {
		services.Add(lifecycle.NewLoop("retention", opts.Logger, p.retain(cfg.Retention)))
	}
	return notice, nil
}

// buildQueue makes the queue. A process that is only an API inserts jobs and runs none.
func (p *parts) buildQueue(opts Options) error {
	p.workers = queue.NewWorkers()
	queues := map[string]int{
		outbound.Queue: 64, run.SyncQueue: run.SyncWorkers, run.ActionQueue: run.ActionWorkers, run.PurgeQueue: run.PurgeWorkers,
	}
	if opts.Config.Role == config.API {
		queues = nil
	}
	var err error
	p.queue, err = queue.New(queue.Config{
		Store: p.store.Queue(), Workers: p.workers, Queues: queues,
		Alone: !p.store.Postgres(), SoftStop: opts.Config.ShutdownGrace / 2, Logger: opts.Logger,
	})
	return err
}

// buildConnections makes what has to do with credentials: integrations, connections, refresh, the proxy, webhooks to the app.
func (p *parts) buildConnections(opts Options) {
	p.outbound = outbound.New(outbound.Options{
		Store: p.store.Outbound(), Settings: p.tenants, Jobs: p.queue, Log: p.log, Version: opts.Version, Logger: opts.Logger,
		Client: p.door.Client(egress.ClientOptions{Timeout: outbound.Timeout}),
	})
	p.outbound.Register(p.workers)
	instances := run.NewInstances(run.InstancesOptions{Store: p.store.Runs(), Queue: p.queue, Functions: p.store.Functions()})
	p.connections = connection.New(connection.Options{
		Store: p.store.Connections(), Tx: p.store, Vault: p.vault, Hooks: []connection.Hooks{instances, p.outbound},
	})
	deleteFunctions := func(ctx context.Context, i integration.Integration) error { return p.functions.DeleteAll(ctx, i) }
	p.integrations = integration.New(integration.Options{
		Store: p.store.Integrations(), Tx: p.store, Hints: p.store, Vault: p.vault, Catalog: p.catalog,
		Deleting: []integration.Deleting{p.connections.DeleteAll, deleteFunctions},
	})
	p.functions = function.New(function.Options{Store: p.store.Functions(), Integrations: p.integrations, Hooks: []function.Hooks{instances}})
	tokens := oauth.New(oauth.Options{HTTP: p.door.Client(egress.ClientOptions{Timeout: oauth.Timeout, MaxResponseBytes: 1 << 20})})
	p.refresh = refresh.New(refresh.Options{
		Store: p.store.Refreshes(), Tx: p.store, Connections: p.connections, Integrations: p.integrations, Catalog: p.catalog, Log: p.log,
		Renewers: map[provider.AuthMode]refresh.Renewer{
			provider.OAuth2: refresh.RefreshGrant{Client: tokens}, provider.MCPOAuth2: refresh.RefreshGrant{Client: tokens},
			provider.OAuth2CC: refresh.ClientGrant{Client: tokens},
		},
		Observer: p.outbound, Logger: opts.Logger,
	})
	p.proxy = proxy.New(proxy.Options{
		Integrations: p.integrations, Connections: p.connections, Catalog: p.catalog, Fresh: p.refresh, Operations: p.log, Door: p.door,
	})
	p.instances = instances
}

// fetchLimit bounds an answer to a request that a function makes without credentials.
const fetchLimit = 64 << 20

// buildFunctions makes what has to do with running functions.
func (p *parts) buildFunctions(opts Options) error {
	p.checkpoints = checkpoint.New(checkpoint.Options{Store: p.store.Checkpoints()})
	var err error
	if p.records, err = record.New(record.Options{Store: p.store.Records(), Vault: p.vault, Checkpoints: p.checkpoints}); err != nil {
		return err
	}
	memory := runner.Limits{Memory: int64(opts.Config.RunnerMemory) << 20}
	limits := map[runner.Kind]runner.Limits{}
	for _, kind := range []runner.Kind{runner.KindSync, runner.KindAction, runner.KindWebhook, runner.KindOnEvent} {
		limits[kind] = memory
	}
	p.runner = runner.NewPool(runner.Options{Limits: limits, Logger: opts.Logger})
	p.runs = run.New(run.Options{
		Instances: p.instances, Tenants: p.tenants, Integrations: p.integrations, Connections: p.connections,
		Functions: p.functions, Catalog: p.catalog, Fresh: p.refresh, Proxy: p.proxy, Records: p.records, Checkpoints: p.checkpoints,
		Runner: p.runner, Webhooks: p.outbound, Vault: p.vault, Log: p.log,
		Fetch:     p.door.Client(egress.ClientOptions{Timeout: time.Minute, MaxResponseBytes: fetchLimit}),
		PublicURL: opts.Config.PublicURL, Logger: opts.Logger,
	})
	p.runs.Register(p.workers)
	return nil
}

// touch writes which connections are in use, until the process stops.
func (p *parts) touch(ctx context.Context) error {
	p.connections.RunTouches(ctx)
	return nil
}

// pool is the runner as a lifecycle.Service.
type pool struct{ *runner.Pool }

// Name implements lifecycle.Service.
func (pool) Name() string { return "runner" }

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
	allow := cfg.EgressAllow
	if opts.WebhookURL != "" {
		u, err := url.Parse(opts.WebhookURL)
		if err != nil {
			return nil, fmt.Errorf("webhook-url: %w", err)
		}
		allow = append(allow, u.Host)
	}
	for _, text := range allow {
		entry, err := egress.ParseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("egress-allow: %w", err)
		}
		policy.Allow = append(policy.Allow, entry)
	}
	return egress.New(egress.Options{
		Policy: policy, UserAgent: "Patchbay/" + opts.Version,
		ResponseHeaderTimeout: -1, // the proxy has a limit of its own, the other clients have one in all
	}), nil
}

// openCatalog lays the operator's folder over the embedded catalog. The default folder is made, so that a file put there later
// is seen.
func openCatalog(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*provider.Live, error) {
	folder := cfg.ProvidersDir
	if folder == "" {
		folder = filepath.Join(cfg.DataDir, "providers")
		if err := os.MkdirAll(folder, 0o750); err != nil {
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

// handler is what the port serves: the API, or on a worker no more than its health.
func (p *parts) handler(role config.Role) http.Handler {
	if role != config.Worker {
		return p.api
	}
	mux := http.NewServeMux()
	mux.Handle("GET /health", p.api)
	mux.Handle("GET /ready", p.api)
	return mux
}

func (p *parts) close() error {
	var all []error
	if p.integrations != nil {
		p.integrations.Close()
	}
	if p.functions != nil {
		p.functions.Close()
	}
	if p.logs != nil {
		all = append(all, p.logs.Close())
	}
	if p.door != nil {
		p.door.Close()
	}
	if p.store != nil {
		all = append(all, p.store.Close())
	}
	return errors.Join(all...)
}
