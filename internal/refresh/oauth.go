package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/oauth"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// OAuthClient asks token endpoints; *oauth.Client is one.
type OAuthClient interface {
	Refresh(ctx context.Context, p oauth.Party, refreshToken secret.Text) (oauth.Token, error)
	ClientCredentials(ctx context.Context, p oauth.Party, cc oauth.ClientCredentials) (oauth.Token, error)
}

// RefreshGrant renews OAUTH2 credentials, and others of their shape, with their refresh token.
type RefreshGrant struct{ Client OAuthClient }

// Renewable implements Renewer.
func (g RefreshGrant) Renewable(c *connection.Connection) bool {
	return c.Credentials.Text("refresh_token") != ""
}

// Renew implements Renewer. A refresh token that the answer does not replace stays.
func (g RefreshGrant) Renew(ctx context.Context, i *integration.Integration, p *provider.Provider, c *connection.Connection) (Renewal, error) {
	party, err := partyOf(i, p, c)
	if err != nil {
		return Renewal{}, err
	}
	own := overrideClient(&party)
	token, err := g.Client.Refresh(ctx, party, secret.New(c.Credentials.Text("refresh_token")))
	if err != nil {
		return Renewal{}, failureOf("refresh_token_external_error", err, own)
	}
	return renewed(p, c, token, map[string]any{
		"access_token": token.Access.Reveal(), "refresh_token": token.Refresh.Reveal(), "expires_at": token.ExpiresAt, "raw": token.Raw,
	})
}

// ClientGrant renews OAUTH2_CC credentials by asking for a token again.
type ClientGrant struct{ Client OAuthClient }

// Renewable implements Renewer.
func (g ClientGrant) Renewable(c *connection.Connection) bool {
	return c.Credentials.Text("client_id") != ""
}

// Renew implements Renewer.
func (g ClientGrant) Renew(ctx context.Context, i *integration.Integration, p *provider.Provider, c *connection.Connection) (Renewal, error) {
	party, err := partyOf(i, p, c)
	if err != nil {
		return Renewal{}, err
	}
	party.ClientID, party.ClientSecret = c.Credentials.Text("client_id"), secret.New(c.Credentials.Text("client_secret"))
	scopes, chosen := party.Config["oauth_scopes"].(string)
	if !chosen {
		scopes = i.Secrets.Scopes
	}
	override, _ := party.Config["authorization_params"].(map[string]any)
	token, err := g.Client.ClientCredentials(ctx, party, oauth.ClientCredentials{
		Scopes: splitScopes(scopes), Override: override,
		PrivateKey: secret.New(c.Credentials.Text("client_private_key")), Certificate: secret.New(c.Credentials.Text("client_certificate")),
	})
	if err != nil {
		return Renewal{}, failureOf("client_credentials_fetch_error", err, true)
	}
	return renewed(p, c, token, map[string]any{"token": token.Access.Reveal(), "expires_at": token.ExpiresAt, "raw": token.Raw})
}

func renewed(p *provider.Provider, c *connection.Connection, token oauth.Token, fields map[string]any) (Renewal, error) {
	// An answer without expiry means that the old expiry no longer counts.
	next, err := c.Credentials.Without(func(name string) bool { return name == "expires_at" }).With(fields)
	if err != nil {
		return Renewal{}, err
	}
	return Renewal{Credentials: next, Config: token.Metadata(p.TokenResponseMetadata)}, nil
}

// partyOf is the integration's client, and what the provider's templates see.
func partyOf(i *integration.Integration, p *provider.Provider, c *connection.Connection) (oauth.Party, error) {
	party := oauth.Party{
		Provider: p, Mode: c.Credentials.Mode(), ClientID: i.Secrets.ClientID, ClientSecret: i.Secrets.ClientSecret,
		IntegrationConfig: i.Secrets.Config, Credentials: c.Credentials.Values(),
	}
	if err := json.Unmarshal(c.Config, &party.Config); err != nil {
		return party, fmt.Errorf("read connection_config: %w", err)
	}
	return party, nil
}

// overrideClient takes the connection's own client, when it has both halves of one.
func overrideClient(party *oauth.Party) bool {
	override, _ := party.Credentials["config_override"].(map[string]any)
	id, _ := override["client_id"].(string)
	clientSecret, _ := override["client_secret"].(string)
	if id == "" || clientSecret == "" {
		return false
	}
	party.ClientID, party.ClientSecret = id, secret.New(clientSecret)
	return true
}

func splitScopes(list string) []string {
	var scopes []string
	for scope := range strings.SplitSeq(list, ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// failureOf judges an error of a token request. A refused client kills a connection only if the client is the connection's
// own: when it is the integration's, the connection works again as soon as that is put right.
func failureOf(code string, err error, ownClient bool) error {
	var refused *oauth.Refused
	var unreachable *oauth.UnreachableError
	var unresolved *template.UnresolvedError
	var key *oauth.KeyError
	f := &RenewalError{Code: code}
	switch {
	case errors.As(err, &refused) && refused.Client && !ownClient:
		f.Message = "The provider refused the client of the integration; check its client id and secret: " + refused.Error()
	case errors.As(err, &refused):
		f.Message = "The provider gave no new token: " + refused.Error()
		f.Dead = refused.Permanent
	case errors.As(err, &unreachable):
		f.Message = "The provider gave no new token: " + unreachable.Error()
	case errors.As(err, &unresolved):
		f.Message = "The token request could not be made: " + unresolved.Error()
	case errors.As(err, &key):
		f.Message = "The token request could not be made: " + key.Error()
	default:
		return err
	}
	return f.Because(err)
}
