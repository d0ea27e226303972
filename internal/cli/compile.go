package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/function/compile"
	"github.com/patchbay-dev/patchbay/internal/runner"
)

const compileLong = "A project is a folder with an index.ts that imports its functions, one line each:\n\n" +
	"  import './github/syncs/issues.js';\n\n" +
	"where a function is <integration>/syncs/<name>.ts, <integration>/actions/<name>.ts or <integration>/on-events/<name>.ts. Neither\n" +
	"Node.js nor npm is needed. Types are not checked: an editor or `npx tsc --noEmit` does that (see `patchbay init`)."

func newCompileCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compile [DIR]",
		Short: "Check a project of functions",
		Long:  "Compiles every function of the project, reads its definition, and reports everything that is wrong.\n\n" + compileLong,
		Example: "  patchbay compile\n" +
			"  patchbay compile ./integrations --json",
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := compileProject(cmd.Context(), projectFolder(args), cmd.ErrOrStderr())
			return showCompiled(cmd.OutOrStdout(), cmd.ErrOrStderr(), all, err, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// upTo is cobra.MaximumNArgs as a wrong use of the command.
func upTo(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MaximumNArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func projectFolder(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

// compileProject compiles the project in a folder, in runner processes of its own. What is wrong with it is compile.Problems.
func compileProject(ctx context.Context, folder string, progress io.Writer) (all []function.Compiled, err error) {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, usageError{fmt.Errorf("%s is not a folder", folder)}
	}
	project := os.DirFS(folder)
	if _, _, err := compile.Entries(project); err != nil { // before a process is started
		return nil, notAProject(folder, err)
	}
	pool := runner.NewPool(runner.Options{Workers: 1, Warm: 1, Logger: slog.New(slog.DiscardHandler)})
	defer func() { err = errors.Join(err, pool.Stop(context.WithoutCancel(ctx))) }()
	if err := pool.Start(ctx); err != nil {
		return nil, fmt.Errorf("start a runner: %w", err)
	}
	slow := newSlowProgress(progress)
	return compile.Project(ctx, project, compile.Options{Inspector: pool, Progress: func(entry compile.Entry, number, of int) {
		slow.say(fmt.Sprintf("compiling %s (%d of %d)", entry.File, number, of))
	}})
}

func notAProject(folder string, err error) error {
	var not *compile.NotAProjectError
	if !errors.As(err, &not) {
		return err
	}
	not.Folder = folder
	if absolute, err := filepath.Abs(folder); err == nil {
		not.Folder = absolute
	}
	return fmt.Errorf("%w\n`patchbay init %s` makes a new project there", not, folder)
}

// slowProgress tells what is being done when it takes longer than a second, and then once a second.
type slowProgress struct {
	out  io.Writer
	next time.Time
}

func newSlowProgress(out io.Writer) *slowProgress {
	return &slowProgress{out, time.Now().Add(time.Second)}
}

func (p *slowProgress) say(text string) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(time.Second)
		_, _ = fmt.Fprintln(p.out, text)
	}
}

// compiledRow is a compiled function as --json prints it.
type compiledRow struct {
	Type        function.Type `json:"type"`
	Integration string        `json:"integration"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"`
	Models      []string      `json:"models,omitempty"`
	Frequency   string        `json:"frequency,omitempty"`
	Event       string        `json:"event,omitempty"`
	Bytes       int           `json:"bytes"` // of the bundle
}

func showCompiled(out, progress io.Writer, all []function.Compiled, failure error, asJSON bool) error {
	var problems compile.Problems
	if failure != nil && !errors.As(failure, &problems) {
		return failure
	}
	rows := make([]compiledRow, len(all))
	for i, c := range all {
		rows[i] = compiledRow{c.Type, c.Integration, c.Name, c.Description, c.Models, c.Frequency, c.Event, len(c.JS)}
	}
	switch {
	case asJSON:
		answer := map[string]any{"functions": rows, "problems": append(compile.Problems{}, problems...)}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return err
		}
	case problems != nil:
	default:
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range rows {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", row.Type, row.Integration, row.Name, row.Frequency+row.Event)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if problems != nil {
		printProblems(progress, problems)
		return exitError(1)
	}
	return nil
}

// printProblems shows what is wrong with a project, one problem a line.
func printProblems(out io.Writer, problems compile.Problems) {
	_, _ = fmt.Fprintln(out, problems)
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	_, _ = fmt.Fprintf(out, "%d %s\n", len(problems), noun)
}
