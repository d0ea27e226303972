package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/lifecycle"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

// Options of New. Config is required.
type Options struct {
	Config *config.Config
	Logger *slog.Logger
	// Version is told to third parties in the User-Agent.
	Version string
	// Demo adds the built-in third party with an integration, a connection and functions.
	Demo bool
	// WebhookURL is set as the webhook URL of the environment dev, and may be on this machine.
	WebhookURL string
}

// App is one process.
type App struct {
	*parts

	config *config.Config
	logger *slog.Logger

	lock     *flock.Flock
	listener net.Listener
	server   *http.Server
	services *lifecycle.Group
	demo     *demo
	// Notice is what the operator should be told about the encryption key; the zero value is nothing.
	Notice vault.Notice
}

// ErrInUse is returned when another process has the data folder open.
var ErrInUse = errors.New("the data folder is in use by another Patchbay process")

// New opens everything. What it opened is closed again by Stop, also when Start was never called.
func New(ctx context.Context, opts Options) (*App, error) {
	a := &App{config: opts.Config, logger: opts.Logger, parts: &parts{draining: make(chan struct{})}}
	if err := a.open(ctx, opts); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	return a, nil
}

func (a *App) open(ctx context.Context, opts Options) error {
	if err := os.MkdirAll(a.config.DataDir, 0o700); err != nil {
		return fmt.Errorf("create the data folder: %w", err)
	}
	a.lock = flock.New(filepath.Join(a.config.DataDir, "patchbay.lock"))
	locked, err := a.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if !locked {
		return fmt.Errorf("%w: %s", ErrInUse, a.config.DataDir)
	}
	// The port is taken first, so that the public URL is known to everything that is built.
	if a.listener, err = listen(ctx, net.JoinHostPort(a.config.Host, strconv.Itoa(a.config.Port))); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if a.config.PublicURL == "" {
		a.config.PublicURL = "http://localhost:" + strconv.Itoa(a.listener.Addr().(*net.TCPAddr).Port)
	}
	if opts.Demo {
		if a.demo, err = openDemo(ctx, a.config, a.logger); err != nil {
			return err
		}
	}
	a.services = lifecycle.NewGroup("patchbay", a.logger)
	a.Notice, err = a.build(ctx, opts, a.services)
	return err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", address)
}

// URL is where clients reach the process.
func (a *App) URL() string { return a.config.PublicURL }

// Time-outs of the HTTP server. There is none for writing: proxied downloads may take as long as they take.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Start brings the process up and returns. Serving failures after that end up in Failed.
func (a *App) Start(ctx context.Context) error {
	if a.demo != nil {
		if err := a.demo.start(ctx, a.parts); err != nil {
			return err
		}
	}
	if err := a.services.Start(ctx); err != nil {
		return err
	}
	if a.demo != nil {
		if err := a.demo.deploy(ctx, a.parts); err != nil {
			return err
		}
	}
	a.server = &http.Server{
		Handler: a.handler(a.config.Role), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
	a.server.RegisterOnShutdown(func() { close(a.draining) })
	go func() { // ends when Stop shuts the server down
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.ErrorContext(ctx, "serve", "err", err)
		}
	}()
	a.logger.LogAttrs(ctx, slog.LevelInfo, "ready", append([]slog.Attr{slog.String("url", a.URL())}, a.config.Summary()...)...)
	return nil
}

// Stop takes the process down, waiting for running requests and jobs until ctx ends. It may be called twice.
func (a *App) Stop(ctx context.Context) error {
	var all []error
	switch {
	case a.server != nil:
		all = append(all, a.server.Shutdown(ctx))
	case a.listener != nil:
		all = append(all, a.listener.Close())
	}
	if a.services != nil {
		all = append(all, a.services.Stop(ctx))
	}
	if a.demo != nil {
		all = append(all, a.demo.close(ctx))
	}
	all = append(all, a.close())
	if a.lock != nil {
		all = append(all, a.lock.Unlock())
	}
	a.server, a.listener, a.services, a.demo, a.lock = nil, nil, nil, nil, nil
	return errors.Join(all...)
}
