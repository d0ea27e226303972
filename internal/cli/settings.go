package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

func newSettingsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Show and change the settings of an environment",
		Long: "Works on the database directly, with the same --data, --database-url and encryption key as the server, " +
			"which sees the change within seconds.",
		Example: "  patchbay settings show --env prod\n" +
			"  patchbay settings set --env prod --primary-url https://app.example.com/webhooks --on-sync-completion-always=false\n" +
			"  patchbay settings rotate-signing-key --env prod",
	}
	cmd.AddCommand(newSettingsShowCommand(), newSettingsSetCommand(), newRotateSigningKeyCommand())
	return cmd
}

// settingsView is what show prints.
type settingsView struct {
	Environment     string   `json:"environment"`
	UUID            string   `json:"uuid"`
	PrimaryURL      string   `json:"primary_url"`
	SecondaryURL    string   `json:"secondary_url"`
	SigningKey      string   `json:"webhook_signing_key"`
	OnAuthCreation  bool     `json:"on_auth_creation"`
	OnRefreshError  bool     `json:"on_auth_refresh_error"`
	OnSyncAlways    bool     `json:"on_sync_completion_always"`
	OnSyncError     bool     `json:"on_sync_error"`
	OnAsyncAction   bool     `json:"on_async_action_completion"`
	ForwardWebhooks bool     `json:"forward_webhooks"`
	Variables       []string `json:"variables"`
}

func newSettingsShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Print the settings", Example: "  patchbay settings show --env dev --json"}
	environment := keyTarget(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		view, err := viewSettings(ctx, o, e)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(out)
		if !*asJSON {
			encoder.SetIndent("", "  ")
		}
		encoder.SetEscapeHTML(false)
		return encoder.Encode(view)
	})
}

func viewSettings(ctx context.Context, o *app.Office, e tenant.Environment) (settingsView, error) {
	s, err := o.Tenants.Settings(ctx, e.ID)
	if err != nil {
		return settingsView{}, err
	}
	variables, err := o.Tenants.Variables(ctx, e)
	if err != nil {
		return settingsView{}, err
	}
	n := s.Notifications
	view := settingsView{
		e.Name, e.UUID, s.PrimaryURL, s.SecondaryURL, s.SigningKey.Reveal(),
		n.OnAuthCreation, n.OnAuthRefreshError, n.OnSyncCompletionAlways, n.OnSyncError, n.OnAsyncActionCompletion, n.ForwardWebhooks, []string{},
	}
	for _, v := range variables {
		view.Variables = append(view.Variables, v.Name)
	}
	return view, nil
}

func newSettingsSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set", Short: "Change settings; what is not named stays",
		Example: "  patchbay settings set --env dev --primary-url http://localhost:4000/webhooks\n" +
			"  patchbay settings set --env dev --variable API_BASE=https://x --variable NANGO_LOGGER_LEVEL=debug",
	}
	environment := keyTarget(cmd)
	flags := cmd.Flags()
	primary := flags.String("primary-url", "", "first URL for webhooks to the app; empty for none")
	secondary := flags.String("secondary-url", "", "second URL for webhooks to the app; empty for none")
	switches := map[string]*bool{}
	for name, usage := range map[string]string{
		"on-auth-creation": "send webhooks for new connections", "on-auth-refresh-error": "send webhooks for credentials that fail",
		"on-sync-completion-always": "send webhooks also for sync runs that changed nothing", "on-sync-error": "send webhooks for failed sync runs",
		"on-async-action-completion": "send webhooks for finished asynchronous actions", "forward-webhooks": "forward the webhooks of third parties",
	} {
		switches[name] = flags.Bool(name, true, usage)
	}
	variables := flags.StringToString("variable", nil, "variable that functions can read, NAME=value; may be repeated and replaces all")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		var u tenant.SettingsUpdate
		if flags.Changed("primary-url") {
			u.PrimaryURL = primary
		}
		if flags.Changed("secondary-url") {
			u.SecondaryURL = secondary
		}
		for name, target := range map[string]**bool{
			"on-auth-creation": &u.OnAuthCreation, "on-auth-refresh-error": &u.OnAuthRefreshError, "on-sync-completion-always": &u.OnSyncCompletionAlways,
			"on-sync-error": &u.OnSyncError, "on-async-action-completion": &u.OnAsyncActionCompletion, "forward-webhooks": &u.ForwardWebhooks,
		} {
			if flags.Changed(name) {
				*target = switches[name]
			}
		}
		if err := o.Tenants.UpdateSettings(ctx, e, u); err != nil {
			return err
		}
		if flags.Changed("variable") {
			if err := o.Tenants.SetVariables(ctx, e, sortedVariables(*variables)); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(out, "saved the settings of %s\n", e.Name)
		return err
	})
}

func newRotateSigningKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-signing-key", Short: "Make a new key for signing webhooks, and print it",
		Example: "  patchbay settings rotate-signing-key --env prod",
	}
	environment := keyTarget(cmd)
	overlap := cmd.Flags().Duration("overlap", tenant.DefaultSigningKeyOverlap, "how long the old key is still known; 0 ends it at once")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		key, err := o.Tenants.RotateSigningKey(ctx, e, max(*overlap, time.Duration(0)))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, key.Reveal())
		return err
	})
}

func sortedVariables(values map[string]string) []tenant.Variable {
	all := make([]tenant.Variable, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, tenant.Variable{Name: name, Value: secret.New(values[name])})
	}
	return all
}
