package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
)

func newDoctorCommand() *cobra.Command {
	var cfg *config.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this machine and this configuration can run Patchbay",
		Long: "Checks the configuration, the data folder, the database and its schema, the encryption key, the provider files, and how well\n" +
			"function runners can be confined here. It changes nothing. Exit status 1 means that something is wrong.",
		Example: "  patchbay doctor --data /var/lib/patchbay\n  patchbay doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := loadConfig(cmd, cfg); err != nil {
				return err
			}
			findings := app.Diagnose(cmd.Context(), app.Options{Config: cfg, Logger: newLogger(cfg), Version: Version()})
			out := cmd.OutOrStdout()
			wrong := 0
			for _, f := range findings {
				if f.Verdict == app.Wrong {
					wrong++
				}
				if !asJSON {
					_, _ = fmt.Fprintf(out, "%-5s  %-14s %s\n", f.Verdict, f.Check, f.Text)
				}
			}
			if asJSON {
				if err := json.NewEncoder(out).Encode(findings); err != nil {
					return err
				}
			}
			if wrong > 0 {
				return fmt.Errorf("%d of %d checks found something wrong", wrong, len(findings))
			}
			return nil
		},
	}
	cfg = config.Register(cmd.Flags())
	configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
