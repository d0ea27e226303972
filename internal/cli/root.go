// Package cli is the command line: one file per command, each a constructor of a cobra command.
//
// A command parses its flags, calls one package, and prints. Data goes to standard output (as JSON with --json), progress and
// errors to standard error. Exit status 0 is success, 1 an error, 2 a wrong use of the command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/errs"
)

// exitError is returned by a command that has said itself what went wrong; it is the exit status.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a wrong use of a command: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Main runs the command line and returns the exit status.
func Main(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if status := exitError(0); errors.As(err, &status) {
		return int(status)
	}
	printError(os.Stderr, err)
	if usage := (usageError{}); errors.As(err, &usage) {
		return 2
	}
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "patchbay",
		Short: "A self-hosted integration platform in one binary",
		Long: "Patchbay connects your customers' accounts at third-party APIs, keeps their credentials fresh, proxies requests, runs your\n" +
			"integration functions, caches synced records, and sends signed webhooks to your app.",
		Example: "  patchbay dev                    # everything on this machine, with demo data\n" +
			"  patchbay serve --data /var/lib/patchbay --public-url https://integrations.example.com\n" +
			"  patchbay deploy ./integrations --env prod",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee `%s --help`", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newDevCommand(),
		newServeCommand(),
		newDeployCommand(),
		newCompileCommand(),
		newInitCommand(),
		newLogsCommand(),
		newKeyCommand(),
		newSettingsCommand(),
		newMigrateCommand(),
		newDoctorCommand(),
		newVersionCommand(),
		newRunnerCommand(),
	)
	return root
}

// printError says what went wrong and, for findings of a validation, each of them.
func printError(w io.Writer, err error) {
	var known *errs.Error
	switch {
	case errors.As(err, &known) && known.Message != "":
		_, _ = fmt.Fprintf(w, "patchbay: %s (%s)\n", known.Message, known.Code)
	case known != nil && len(known.Issues) > 0:
		_, _ = fmt.Fprintf(w, "patchbay: %s\n", known.Code)
		for _, issue := range known.Issues {
			_, _ = fmt.Fprintf(w, "  %s: %s\n", strings.Join(issue.Path, "."), issue.Message)
		}
	default:
		_, _ = fmt.Fprintf(w, "patchbay: %v\n", err)
	}
}
