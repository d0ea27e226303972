package app

import (
	"context"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// sandboxWebhook is how long a receiver of the sandbox's webhooks may take.
const sandboxWebhook = 10 * time.Second

func (p *parts) environment(ctx context.Context, name string) (tenant.Environment, error) {
	e, err := p.tenants.EnvironmentByName(ctx, p.account.ID, name)
	if err != nil {
		return e, fmt.Errorf("environment %s: %w", name, err)
	}
	return e, nil
}

// EnvironmentFacts are what somebody needs to use an environment.
type EnvironmentFacts struct {
	Name       string
	UUID       string
	SecretKey  secret.Text
	SigningKey secret.Text
}

// Environments tells how to use each environment. A key that was revoked and not replaced is empty.
func (a *App) Environments(ctx context.Context) ([]EnvironmentFacts, error) {
	all, err := a.tenants.Environments(ctx, a.account.ID)
	if err != nil {
		return nil, err
	}
	facts := make([]EnvironmentFacts, len(all))
	for i, e := range all {
		facts[i] = EnvironmentFacts{Name: e.Name, UUID: e.UUID}
		keys, err := a.tenants.Keys(ctx, e.Owner())
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			if _, facts[i].SecretKey, err = a.tenants.RevealKey(ctx, e.Owner(), tenant.KeyRef{ID: keys[0].ID}); err != nil {
				return nil, err
			}
		}
		settings, err := a.tenants.Settings(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		facts[i].SigningKey = settings.SigningKey
	}
	return facts, nil
}

// SandboxURL is where the built-in third party is, empty without the demo.
func (a *App) SandboxURL() string {
	if a.demo == nil {
		return ""
	}
	return a.demo.url
}

// setWebhookURL points the environment dev at a receiver, as Options.WebhookURL says.
func (p *parts) setWebhookURL(ctx context.Context, url string) error {
	e, err := p.environment(ctx, DemoEnvironment)
	if err != nil {
		return err
	}
	return p.tenants.UpdateSettings(ctx, e, tenant.SettingsUpdate{PrimaryURL: &url})
}
