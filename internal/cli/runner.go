package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/runner"
)

// newRunnerCommand is what the server starts for itself: the process in which functions run.
func newRunnerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "runner",
		Short:  "Run functions for a server over standard input and output",
		Hidden: true, // nobody can speak its protocol by hand
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if code := runner.Main(cmd.Context(), os.Stdin, os.Stdout); code != 0 {
				return exitError(code)
			}
			return nil
		},
	}
}
