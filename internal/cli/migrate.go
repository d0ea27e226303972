package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
)

func newMigrateCommand() *cobra.Command {
	var cfg *config.Config
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: "The server does this by itself when it starts. As a command it is for deployments that migrate in a step of their own: several\n" +
			"nodes may run it at once. A SQLite file with data is copied beside itself first. A schema of a later release is refused.",
		Example: "  patchbay migrate --data /var/lib/patchbay\n  patchbay migrate --check --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := loadConfig(cmd, cfg); err != nil {
				return err
			}
			lines, err := app.Migrate(cmd.Context(), app.Options{Config: cfg, Logger: newLogger(cfg)}, check)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(lines)
			}
			pending := 0
			for _, line := range lines {
				pending += len(line.Pending)
				_, _ = fmt.Fprintf(out, "%-8s version %d of %d\n", line.Name, line.Applied, line.Known)
				for _, name := range line.Pending {
					_, _ = fmt.Fprintf(out, "         pending: %s\n", name)
				}
			}
			if check && pending > 0 {
				return fmt.Errorf("%d migrations are pending: run `patchbay migrate`", pending)
			}
			return nil
		},
	}
	cfg = databaseFlags(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "only tell what is pending; exit status 1 if anything is")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
