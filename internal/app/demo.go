package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	acmefunctions "github.com/patchbay-dev/patchbay/examples/acme-functions"
	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/egress"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/function/compile"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/sandbox"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// The names of the demo, which scripts and the documentation rely on.
const (
	DemoEnvironment = "dev"
	DemoIntegration = "acme-crm"
	DemoConnection  = "demo-user"
	DemoSync        = "contacts"
	DemoAction      = "create-contact"
)

// demo is the built-in third party on a port of its own, and what makes it useful: an integration, a connection, functions.
type demo struct {
	dir      string
	url      string
	listener net.Listener
	sandbox  *sandbox.Server
	server   *http.Server
	logger   *slog.Logger
}

// openDemo takes a port of the loopback interface: the same one as last time, so that what is stored still points to it. The
// outbound policy then allows exactly this address.
func openDemo(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*demo, error) {
	d := &demo{dir: cfg.DataDir, logger: logger}
	portFile := filepath.Join(d.dir, "sandbox.address")
	address := "127.0.0.1:0"
	if last, err := os.ReadFile(portFile); err == nil {
		address = strings.TrimSpace(string(last))
	}
	var err error
	if d.listener, err = listen(ctx, address); err != nil {
		if d.listener, err = listen(ctx, "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen for the sandbox: %w", err)
		}
	}
	address = d.listener.Addr().String()
	if err := os.WriteFile(portFile, []byte(address+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("remember the sandbox's port: %w", err), d.listener.Close())
	}
	cfg.EgressAllow = append(cfg.EgressAllow, address)
	d.url = "http://" + address
	return d, nil
}

// start serves the third party and stores the integration and the connection, if they are not there. It runs before any job
// does.
func (d *demo) start(ctx context.Context, p *parts) error {
	var err error
	d.sandbox, err = sandbox.New(sandbox.Options{
		SnapshotPath: filepath.Join(d.dir, "sandbox.json"), Control: true, Logger: d.logger,
		Client: p.door.Client(egress.ClientOptions{Timeout: sandboxWebhook}),
	})
	if err != nil {
		return fmt.Errorf("open the sandbox: %w", err)
	}
	if err := d.sandbox.Start(ctx); err != nil {
		return fmt.Errorf("start the sandbox: %w", err)
	}
	d.server = &http.Server{Handler: d.sandbox, ReadHeaderTimeout: readHeaderTimeout, ErrorLog: slog.NewLogLogger(d.logger.Handler(), slog.LevelWarn)}
	go func() { // ends when close shuts the server down
		if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			d.logger.ErrorContext(ctx, "serve the sandbox", "err", err)
		}
	}()
	e, err := p.environment(ctx, DemoEnvironment)
	if err != nil {
		return err
	}
	i, err := d.integration(ctx, p, e)
	if err != nil {
		return err
	}
	return d.connect(ctx, p, i)
}

func (d *demo) integration(ctx context.Context, p *parts, e tenant.Environment) (*integration.Integration, error) {
	i, err := p.integrations.Get(ctx, e.ID, DemoIntegration)
	if !errors.Is(err, integration.ErrNotFound) {
		return i, err
	}
	return p.integrations.Create(ctx, integration.Integration{
		EnvironmentID: e.ID, Key: DemoIntegration, Provider: DemoIntegration, DisplayName: "Acme CRM (sandbox)", ForwardWebhooks: true,
		Secrets: integration.Secrets{
			ClientID: sandbox.DefaultClientID, ClientSecret: secret.New(sandbox.DefaultClientSecret), Scopes: strings.Join(demoScopes(), ","),
		},
	})
}

func demoScopes() []string {
	return []string{"contacts.read", "contacts.write", "deals.read", "offline_access"}
}

// connect imports the connection, or imports it again when the third party has moved to another port.
func (d *demo) connect(ctx context.Context, p *parts, i *integration.Integration) error {
	there, err := p.connections.Get(ctx, i, DemoConnection)
	if err == nil {
		var at struct {
			BaseURL string `json:"baseUrl"`
		}
		if json.Unmarshal(there.Config, &at) == nil && at.BaseURL == d.url {
			return nil
		}
	} else if !errors.Is(err, connection.ErrNotFound) {
		return err
	}
	access, refreshToken, expires, err := d.sandbox.IssueToken(sandbox.DefaultClientID, demoScopes())
	if err != nil {
		return fmt.Errorf("tokens of the demo: %w", err)
	}
	credentials, err := connection.NewCredentials(provider.OAuth2, map[string]any{
		"access_token": access, "refresh_token": refreshToken, "expires_at": expires,
	})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]string{"baseUrl": d.url})
	if err != nil {
		return err
	}
	_, _, err = p.connections.Import(ctx, i, connection.Connection{
		ConnectionID: DemoConnection, Credentials: credentials, Config: config, Metadata: json.RawMessage(`{}`),
		Tags: map[string]string{"end_user_id": "demo", "end_user_email": "demo@example.com", "organization_id": "acme"},
	})
	return err
}

// deploy compiles the example project and deploys it; a project that has not changed changes nothing.
func (d *demo) deploy(ctx context.Context, p *parts) error {
	e, err := p.environment(ctx, DemoEnvironment)
	if err != nil {
		return err
	}
	functions, err := compile.Project(ctx, acmefunctions.Project, compile.Options{Inspector: p.runner})
	if err != nil {
		return fmt.Errorf("compile the demo: %w", err)
	}
	_, err = p.functions.Deploy(ctx, e, function.Deployment{
		Functions: functions, Mode: function.OneIntegration, SDKVersion: function.SDKVersion, OnEvents: true,
	})
	if err != nil {
		return fmt.Errorf("deploy the demo: %w", err)
	}
	return nil
}

func (d *demo) close(ctx context.Context) error {
	var all []error
	if d.server != nil {
		all = append(all, d.server.Shutdown(ctx))
	} else {
		all = append(all, d.listener.Close())
	}
	if d.sandbox != nil {
		all = append(all, d.sandbox.Close())
	}
	return errors.Join(all...)
}
