package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
	"github.com/patchbay-dev/patchbay/internal/tenant"
	"github.com/patchbay-dev/patchbay/internal/vault"
)

func newKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Manage API keys and the encryption keys",
		Long: "Works on the database directly, with the same --data, --database-url and encryption key as the server. The server may be\n" +
			"running: what changes here is seen there within seconds.",
		Example: "  patchbay key list --env prod\n" +
			"  patchbay key show --env dev\n" +
			"  patchbay key create --env prod --name billing --scope environment:proxy --scope environment:records:read\n" +
			"  patchbay key rotate",
	}
	cmd.AddCommand(newKeyListCommand(), newKeyShowCommand(), newKeyCreateCommand(), newKeyRevokeCommand(), newKeyRotateCommand(), newKeyStatusCommand())
	return cmd
}

// onDatabase makes a command that opens the database and the vault but serves nothing.
func onDatabase(cmd *cobra.Command, run func(ctx context.Context, out io.Writer, office *app.Office) error) *cobra.Command {
	cfg := databaseFlags(cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := loadConfig(cmd, cfg); err != nil {
			return err
		}
		office, err := app.OpenOffice(cmd.Context(), app.Options{Config: cfg, Logger: newLogger(cfg), Version: Version()})
		if err != nil {
			return err
		}
		return errors.Join(run(cmd.Context(), cmd.OutOrStdout(), office), office.Close())
	}
	return cmd
}

// databaseFlags registers all settings on a command and hides those that only a server needs.
func databaseFlags(cmd *cobra.Command) *config.Config {
	cfg := config.Register(cmd.Flags())
	for _, serving := range []string{
		"host", "port", "public-url", "role", "egress", "egress-allow", "providers", "log-retention", "workers", "function-memory",
		"shutdown-grace", "node",
	} {
		if err := cmd.Flags().MarkHidden(serving); err != nil {
			panic(err) // a flag that config.Register does not know
		}
	}
	configFlag(cmd)
	return cfg
}

// keyTarget are the flags that name an environment.
func keyTarget(cmd *cobra.Command) (environment *string) {
	return cmd.Flags().StringP("env", "e", "dev", "environment")
}

type keyRow struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	Secret     string     `json:"secret,omitempty"`
}

func rowOfKey(k tenant.Key) keyRow {
	row := keyRow{ID: k.UUID, Name: k.DisplayName, Scopes: k.Scopes, CreatedAt: k.CreatedAt}
	if !k.LastUsedAt.IsZero() {
		row.LastUsedAt = &k.LastUsedAt
	}
	return row
}

func newKeyListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the API keys of an environment", Example: "  patchbay key list --env prod --json"}
	environment := keyTarget(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		keys, err := o.Tenants.Keys(ctx, e.Owner())
		if err != nil {
			return err
		}
		rows := make([]keyRow, len(keys))
		for i, k := range keys {
			rows[i] = rowOfKey(k)
		}
		if *asJSON {
			return json.NewEncoder(out).Encode(rows)
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "ID\tNAME\tSCOPES\tLAST USED")
		for _, row := range rows {
			used := "never"
			if row.LastUsedAt != nil {
				used = row.LastUsedAt.Format(time.DateTime)
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", row.ID, row.Name, scopesText(row.Scopes), used)
		}
		return table.Flush()
	})
}

func scopesText(scopes []string) string {
	if len(scopes) > 2 {
		return fmt.Sprintf("%s, %s and %d more", scopes[0], scopes[1], len(scopes)-2)
	}
	text, _ := json.Marshal(scopes)
	return string(text)
}

func newKeyShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print the secret of an API key",
		Long:    "Prints the secret of the first key of the environment, or of the one named with --id.",
		Example: "  export PATCHBAY_SECRET_KEY=$(patchbay key show --env dev)",
	}
	environment := keyTarget(cmd)
	id := cmd.Flags().String("id", "", "id of the key (see `patchbay key list`)")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		ref := tenant.KeyRef{UUID: *id}
		if *id == "" {
			keys, err := o.Tenants.Keys(ctx, e.Owner())
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				return fmt.Errorf("the environment %s has no key: make one with `patchbay key create --env %s`", *environment, *environment)
			}
			ref.UUID = keys[0].UUID
		}
		_, secret, err := o.Tenants.RevealKey(ctx, e.Owner(), ref)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, secret.Reveal())
		return err
	})
}

func newKeyCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key and print its secret",
		Example: "  patchbay key create --env prod --name billing --scope environment:proxy",
	}
	environment := keyTarget(cmd)
	name := cmd.Flags().StringP("name", "n", "", "what the key is called (required)")
	scopes := cmd.Flags().StringArray("scope", nil, "what the key may do; may be repeated (default: everything in the environment)")
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		key, secret, err := o.Tenants.CreateKey(ctx, e.Owner(), tenant.NewKey{DisplayName: *name, Scopes: *scopes})
		if err != nil {
			return err
		}
		if *asJSON {
			row := rowOfKey(key)
			row.Secret = secret.Reveal()
			return json.NewEncoder(out).Encode(row)
		}
		_, err = fmt.Fprintln(out, secret.Reveal())
		return err
	})
}

func newKeyRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke", Short: "Delete an API key", Example: "  patchbay key revoke --env prod --id 0b6f…"}
	environment := keyTarget(cmd)
	id := cmd.Flags().String("id", "", "id of the key (required; see `patchbay key list`)")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		e, err := o.Environment(ctx, *environment)
		if err != nil {
			return err
		}
		if err := o.Tenants.RevokeKey(ctx, e.Owner(), tenant.KeyRef{UUID: *id}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "revoked %s\n", *id)
		return err
	})
}

func newKeyRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Rotate the key that encrypts stored credentials",
		Long: "Makes a new data key, waits until every running process knows it, and seals everything stored again with it. The server\n" +
			"keeps running. Killed half-way it goes on where it was when it is started again. With --master the master key itself is\n" +
			"replaced instead: where it lives in the data folder a new one is generated there.",
		Example: "  patchbay key rotate\n  patchbay key rotate --master",
	}
	master := cmd.Flags().Bool("master", false, "replace the master key instead of the data key")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		if *master {
			return rotateMaster(ctx, out, o)
		}
		_, _ = fmt.Fprintln(out, "publishing a new key and waiting for every process to learn it …")
		id, err := o.Vault.Rotate(ctx)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "sealing with key %d; re-sealing what is stored …\n", id)
		last := ""
		report, err := o.Vault.Rewrap(ctx, func(p vault.Progress) {
			if p.Column != last || p.Scanned%1000 == 0 {
				last = p.Column
				_, _ = fmt.Fprintf(out, "  %s: %d read, %d re-sealed\n", p.Column, p.Scanned, p.Resealed)
			}
		})
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "done: %d values re-sealed\n", report.Resealed)
		if report.UnreadableCount > 0 {
			return fmt.Errorf("%d values do not open and keep the old key alive, the first: %v", report.UnreadableCount, report.Unreadable)
		}
		if !report.RetireAt.IsZero() {
			_, _ = fmt.Fprintf(out, "the old key is removed by a running server after %s\n", report.RetireAt.UTC().Format(time.DateTime+" UTC"))
		}
		return nil
	})
}

func rotateMaster(ctx context.Context, out io.Writer, o *app.Office) error {
	next := vault.GenerateMasterKey()
	if err := o.ChangeMasterKey(ctx, next); err != nil {
		return err
	}
	if o.MasterKeyFile == "" {
		_, err := fmt.Fprintf(out, "the new master key is\n  %s\nStart every process with it as %s.\n", next.Reveal(), vault.MasterKeyVariable)
		return err
	}
	_, err := fmt.Fprintf(out, "the new master key is in %s: keep a copy away from the database backups\n", filepath.Clean(o.MasterKeyFile))
	return err
}

func newKeyStatusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show which encryption keys are in use", Example: "  patchbay key status --json"}
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	return onDatabase(cmd, func(ctx context.Context, out io.Writer, o *app.Office) error {
		status, err := o.Vault.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(out).Encode(map[string]any{
				"master_key": status.MasterKeyID, "master_key_source": status.MasterKeySource,
				"primary_key": status.PrimaryKeyID, "staged_key": status.StagedKeyID, "old_keys": status.OldKeyIDs,
			})
		}
		_, err = fmt.Fprintf(out, "master key   %s (%s)\nprimary key  %d\nstaged key   %d\nold keys     %v\n",
			status.MasterKeyID, status.MasterKeySource, status.PrimaryKeyID, status.StagedKeyID, status.OldKeyIDs)
		return err
	})
}
