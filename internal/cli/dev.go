package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/patchbay-dev/patchbay/internal/app"
	"github.com/patchbay-dev/patchbay/internal/config"
)

func newDevCommand() *cobra.Command {
	var cfg *config.Config
	var asJSON, noDemo bool
	var webhookURL string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, with demo data",
		Long: "Runs the server with a built-in third party, Acme CRM, to try things on: the integration acme-crm, the connection demo-user, the\n" +
			"sync contacts and the action create-contact are there from the start, in the environment dev. Data stays in the data folder.",
		Example: "  patchbay dev\n" +
			"  patchbay dev --webhook-url http://localhost:4000/webhooks\n" +
			"  patchbay dev --json --data /tmp/try --port 0 --no-demo",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("log-level") {
				cfg.LogLevel = slog.LevelWarn // the terminal is for what dev prints
			}
			if err := loadConfig(cmd, cfg); err != nil {
				return err
			}
			a, err := app.New(cmd.Context(), app.Options{Config: cfg, Logger: newLogger(cfg), Version: Version(), Demo: !noDemo, WebhookURL: webhookURL})
			if err != nil {
				return err
			}
			if err := startDev(cmd.Context(), a, cmd.OutOrStdout(), asJSON, noDemo); err != nil {
				return errors.Join(err, stopApp(cmd.Context(), a, cfg))
			}
			<-cmd.Context().Done()
			return stopApp(cmd.Context(), a, cfg)
		},
	}
	cfg = config.Register(cmd.Flags())
	configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON when everything is ready, for scripts")
	cmd.Flags().BoolVar(&noDemo, "no-demo", false, "leave the built-in third party and the demo out")
	cmd.Flags().StringVar(&webhookURL, "webhook-url", "", "send the environment dev's webhooks here; may be on this machine")
	return cmd
}

// devFacts is the line that --json prints.
type devFacts struct {
	URL          string           `json:"url"`
	Environments []devEnvironment `json:"environments"`
	Sandbox      *devSandbox      `json:"sandbox,omitempty"`
}

type devEnvironment struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	SecretKey  string `json:"secret_key"`
	SigningKey string `json:"webhook_signing_key"`
}

type devSandbox struct {
	URL         string `json:"url"`
	Integration string `json:"integration"`
	Connection  string `json:"connection"`
	Sync        string `json:"sync"`
	Action      string `json:"action"`
}

func startDev(ctx context.Context, a *app.App, out io.Writer, asJSON, noDemo bool) error {
	if err := a.Start(ctx); err != nil {
		return err
	}
	environments, err := a.Environments(ctx)
	if err != nil {
		return err
	}
	facts := devFacts{URL: a.URL()}
	for _, e := range environments {
		facts.Environments = append(facts.Environments, devEnvironment{e.Name, e.UUID, e.SecretKey.Reveal(), e.SigningKey.Reveal()})
	}
	if !noDemo {
		facts.Sandbox = &devSandbox{a.SandboxURL(), app.DemoIntegration, app.DemoConnection, app.DemoSync, app.DemoAction}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(facts)
	}
	printNotice(a)
	_, err = io.WriteString(out, welcome(facts))
	return err
}

func welcome(f devFacts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Patchbay is ready at %s\n\n", f.URL)
	dev := f.Environments[0]
	for _, e := range f.Environments {
		fmt.Fprintf(&b, "  %-5s secret key   %s\n        signing key  %s\n", e.Name, e.SecretKey, e.SigningKey)
		if e.Name == app.DemoEnvironment {
			dev = e
		}
	}
	if f.Sandbox == nil {
		b.WriteString("\nCtrl-C stops it.\n")
		return b.String()
	}
	fmt.Fprintf(&b, "\n  Acme CRM, a third party to try things on, is at %s\n", f.Sandbox.URL)
	b.WriteString("  integration acme-crm, connection demo-user, sync contacts, action create-contact\n\nTry next, in another terminal:\n\n")
	auth := " -H 'Authorization: Bearer " + dev.SecretKey + "'"
	both := " -H 'Provider-Config-Key: acme-crm' -H 'Connection-Id: demo-user'"
	for _, line := range []string{
		"curl" + auth + both + " " + strconv.Quote(f.URL+"/records?model=Contact&limit=3"),
		"curl" + auth + both + ` -H 'Content-Type: application/json'` +
			` -d '{"action_name":"create-contact","input":{"firstName":"Ada","lastName":"Lovelace"}}' ` + f.URL + "/action/trigger",
		"bin/patchbay logs -f --url " + f.URL + " --key " + dev.SecretKey,
	} {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("\nCtrl-C stops it.\n")
	return b.String()
}
