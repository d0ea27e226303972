package integration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/provider"
)

// View is an integration as clients and functions get it.
type View struct {
	UniqueKey   string `json:"unique_key"`
	Provider    string `json:"provider"`
	DisplayName string `json:"display_name"`
	Logo        string `json:"logo"`
	// WebhookURL is left out unless asked for, and empty for a provider that sends no webhooks that are known.
	WebhookURL *string `json:"webhook_url,omitempty"`
	// Credentials is the developer app, left out unless asked for: a view that has it must not be logged.
	Credentials     json.RawMessage `json:"credentials,omitempty"`
	ForwardWebhooks bool            `json:"forward_webhooks"`
	CreatedAt       string          `json:"created_at"`
	UpdatedAt       string          `json:"updated_at"`
}

// timeFormat is ISO-8601 in UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// ViewOf makes the view of an integration. publicURL is where the server is reached, without a trailing slash; p may be nil, for
// a provider that has left the catalog.
func ViewOf(i *Integration, p *provider.Provider, publicURL string) View {
	v := View{
		UniqueKey: i.Key, Provider: i.Provider, DisplayName: i.DisplayName, Logo: LogoURL(publicURL, i.Provider),
		ForwardWebhooks: i.ForwardWebhooks, CreatedAt: i.CreatedAt.UTC().Format(timeFormat), UpdatedAt: i.UpdatedAt.UTC().Format(timeFormat),
	}
	if p != nil && v.DisplayName == "" {
		v.DisplayName = p.DisplayName
	}
	return v
}

// LogoURL is where a provider's logo is.
func LogoURL(publicURL, provider string) string {
	return publicURL + "/images/template-logos/" + url.PathEscape(provider) + ".svg"
}

// WebhookURL is where the provider sends its webhooks, empty when it sends none that are known.
func WebhookURL(i *Integration, p *provider.Provider, publicURL, environmentUUID string) string {
	if p == nil || p.WebhookRoutingScript == "" {
		return ""
	}
	return fmt.Sprintf("%s/webhook/%s/%s", strings.TrimSuffix(publicURL, "/"), environmentUUID, url.PathEscape(i.Key))
}

// CredentialsView is the developer app's credentials in the shape of the provider's mode; null for modes without any.
func CredentialsView(i *Integration, p *provider.Provider) (json.RawMessage, error) {
	if p == nil {
		return json.RawMessage("null"), nil
	}
	x := i.Secrets
	switch p.AuthMode {
	case provider.OAuth1, provider.OAuth2, provider.TBA:
		return json.Marshal(struct {
			Type          provider.AuthMode `json:"type"`
			ClientID      *string           `json:"client_id"`
			ClientSecret  *string           `json:"client_secret"`
			Scopes        *string           `json:"scopes"`
			WebhookSecret *string           `json:"webhook_secret"`
		}{p.AuthMode, orNull(x.ClientID), orNull(x.ClientSecret.Reveal()), orNull(x.Scopes), orNull(x.WebhookSecret.Reveal())})
	case provider.App:
		return json.Marshal(map[string]string{"type": string(p.AuthMode), "app_id": x.AppID, "private_key": x.PrivateKey.Reveal(), "app_link": x.AppLink})
	case provider.Custom:
		return json.Marshal(map[string]string{
			"type": string(p.AuthMode), "client_id": x.ClientID, "client_secret": x.ClientSecret.Reveal(), "app_id": x.AppID, "app_link": x.AppLink,
			"private_key": x.PrivateKey.Reveal(),
		})
	default:
		return json.RawMessage("null"), nil
	}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
