package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/api/deployment"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
	"github.com/patchbay-dev/patchbay/internal/function/compile"
)

// deployOptions are the flags of the command.
type deployOptions struct {
	server            serverFlags
	integration       string
	sync, action      string
	version           string
	dryRun, yes, json bool
	allowDestructive  bool
}

func newDeployCommand() *cobra.Command {
	o := &deployOptions{}
	cmd := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Deploy a project of functions",
		Long: "Compiles the project, shows what would change, and makes the environment have it: functions that are in the project\n" +
			"are created or updated, and those that an earlier deployment brought and this one lacks are deleted, with the records\n" +
			"of deleted syncs. Only that is asked about; without a terminal it needs --yes --allow-destructive. Integrations have\n" +
			"to be there before.\n\n" + compileLong,
		Example: "  patchbay deploy --env dev\n" +
			"  patchbay deploy ./integrations --env prod --url https://integrations.example.com --dry-run\n" +
			"  patchbay deploy --integration github --sync issues\n" +
			"  patchbay deploy --env prod --yes --allow-destructive      # in CI",
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, projectFolder(args))
		},
	}
	flags := cmd.Flags()
	o.server.register(flags)
	flags.StringVarP(&o.integration, "integration", "i", "", "only the functions of this integration")
	flags.StringVarP(&o.sync, "sync", "s", "", "only this sync; nothing is deleted")
	flags.StringVarP(&o.action, "action", "a", "", "only this action; nothing is deleted")
	flags.StringVarP(&o.version, "version", "v", "", "the version of all functions (default: their own, or counted up when they change)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only show what would change")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&o.allowDestructive, "allow-destructive", false, "with --yes: also when data of connections is deleted")
	flags.BoolVar(&o.json, "json", false, "print as JSON")
	cmd.MarkFlagsMutuallyExclusive("sync", "action")
	return cmd
}

func (o *deployOptions) run(cmd *cobra.Command, folder string) error {
	ctx, out, progress := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	client, err := o.server.client(os.Getenv)
	if err != nil {
		return err
	}
	all, err := compileProject(ctx, folder, progress)
	if problems, ok := errors.AsType[compile.Problems](err); ok {
		printProblems(progress, problems)
		return exitError(1)
	}
	if err != nil {
		return err
	}
	body, err := o.body(all)
	if err != nil {
		return err
	}
	plan, err := confirmation(ctx, client, body)
	if err != nil {
		return explain(err)
	}
	if !o.json {
		printPlan(out, plan)
	}
	if len(plan.MissingIntegrations) > 0 {
		return fmt.Errorf("the environment has no integration %s: create it first, its id is the name of the folder",
			strings.Join(plan.MissingIntegrations, ", "))
	}
	if o.dryRun {
		return o.result(out, plan, nil)
	}
	if plan.Destructive {
		if err := o.confirm(cmd.InOrStdin(), progress); err != nil {
			return err
		}
	}
	body.Reconcile, body.NangoYAML, body.Source = true, new(string), function.FromRepo
	var deployed []deployment.Deployed
	if err := client.call(ctx, serverRequest{Method: http.MethodPost, Path: "/sync/deploy", Body: body}, &deployed); err != nil {
		return explain(err)
	}
	return o.result(out, plan, deployed)
}

func (o *deployOptions) result(out io.Writer, plan *deployment.Plan, deployed []deployment.Deployed) error {
	if o.json {
		return json.NewEncoder(out).Encode(struct {
			Plan     *deployment.Plan      `json:"plan"`
			Deployed []deployment.Deployed `json:"deployed"`
		}{plan, append([]deployment.Deployed{}, deployed...)})
	}
	if o.dryRun {
		_, err := fmt.Fprintln(out, "nothing was deployed")
		return err
	}
	_, err := fmt.Fprintf(out, "deployed %d functions\n", len(deployed))
	return err
}

// confirm asks whether data may be deleted.
func (o *deployOptions) confirm(in io.Reader, progress io.Writer) error {
	if o.yes && o.allowDestructive {
		return nil
	}
	if o.yes || !isTerminal(in) {
		return errors.New("this deletes data of connections: run it in a terminal to confirm that, or with --yes --allow-destructive")
	}
	_, _ = fmt.Fprint(progress, "This deletes data of connections. Type yes to go on: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was deployed")
	}
	return nil
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nothing, err := os.Stat(os.DevNull) // a device too
	return err != nil || !os.SameFile(info, nothing)
}

// explain adds to a refusal what to do about it.
func explain(err error) error {
	var refusal *errs.Error
	if !errors.As(err, &refusal) {
		return err
	}
	hint := map[string]string{
		"forbidden":            "the key needs the scope environment:deploy: `patchbay key create --scope environment:deploy` makes one",
		"unknown_user_account": "`patchbay key show --env <environment>` prints a key of the environment",
		"body_too_large":       "deploy one integration at a time with --integration",
	}[refusal.Code]
	if hint == "" {
		return err
	}
	explained := *refusal
	explained.Message = strings.TrimSuffix(refusal.Message, ".") + ": " + hint
	return &explained
}
