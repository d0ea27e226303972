package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
)

func newServeCommand() *cobra.Command {
	var cfg *config.Config
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Runs the whole platform in this process: the API, the workers and the scheduler, on SQLite in the data folder, or on PostgreSQL\n" +
			"with --database-url. Every flag can also be given as an environment variable (--public-url is PATCHBAY_PUBLIC_URL) or in a\n" +
			"file (--config). SIGTERM stops it gracefully.",
		Example: "  patchbay serve --data /var/lib/patchbay --public-url https://integrations.example.com\n" +
			"  PATCHBAY_DATABASE_URL=postgres://… patchbay serve --role worker",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := loadConfig(cmd, cfg); err != nil {
				return err
			}
			a, err := app.New(cmd.Context(), app.Options{Config: cfg, Logger: newLogger(cfg), Version: Version()})
			if err != nil {
				return err
			}
			printNotice(a)
			return runUntilDone(cmd.Context(), a, cfg)
		},
	}
	cfg = config.Register(cmd.Flags())
	configFlag(cmd)
	return cmd
}

// configFlag adds --config to a command whose other flags config.Register made.
func configFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "configuration file (YAML, one line per flag)")
}

func loadConfig(cmd *cobra.Command, cfg *config.Config) error {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv(config.EnvPrefix + "CONFIG")
	}
	if err := cfg.Load(cmd.Flags(), os.Environ(), path); err != nil {
		return usageError{err}
	}
	// Children and messages need the same folder whatever the working directory becomes.
	cfg.DataDir, err = filepath.Abs(cfg.DataDir)
	return err
}

func newLogger(cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

func printNotice(a *app.App) {
	if text := a.Notice.String(); text != "" {
		fmt.Fprintf(os.Stderr, "\n%s\n\n", text)
	}
}

// runUntilDone starts the process, waits for the signal to stop, and gives running work its grace.
func runUntilDone(ctx context.Context, a *app.App, cfg *config.Config) error {
	if err := a.Start(ctx); err != nil {
		_ = a.Stop(context.WithoutCancel(ctx)) // the first error is the one to show
		return err
	}
	<-ctx.Done()
	return stopApp(ctx, a, cfg)
}

func stopApp(ctx context.Context, a *app.App, cfg *config.Config) error {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownGrace)
	defer cancel()
	return a.Stop(grace)
}
