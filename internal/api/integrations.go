package api

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/input"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/integration"
	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Integrations are the rules of integrations.
type Integrations interface {
	Get(ctx context.Context, environmentID int64, key string) (*integration.Integration, error)
	List(ctx context.Context, environmentID int64) ([]*integration.Integration, error)
	Create(ctx context.Context, i integration.Integration) (*integration.Integration, error)
	Update(ctx context.Context, environmentID int64, key string, change func(*integration.Integration) error) (*integration.Integration, error)
	Delete(ctx context.Context, environmentID int64, key string) error
}

func (s *Server) integrationRoutes() {
	const base = "environment:integrations:"
	s.json(http.MethodGet, "/integrations", access{base + "list", base + "list_credentials"}, s.listIntegrations)
	s.json(http.MethodPost, "/integrations", access{base + "create"}, s.createIntegration)
	s.json(http.MethodPost, "/integrations/quickstart", access{base + "create"}, s.quickstartIntegration)
	s.json(http.MethodGet, "/integrations/:uniqueKey", access{base + "read", base + "read_credentials"}, s.getIntegration)
	s.json(http.MethodPatch, "/integrations/:uniqueKey", access{base + "update"}, s.updateIntegration)
	s.json(http.MethodDelete, "/integrations/:uniqueKey", access{base + "delete"}, s.deleteIntegration)
}

func (s *Server) viewIntegration(i *integration.Integration) integration.View {
	return integration.ViewOf(i, s.providerOf(i), s.opts.PublicURL)
}

// providerOf is the integration's provider, nil if it has left the catalog.
func (s *Server) providerOf(i *integration.Integration) *provider.Provider {
	p, _ := s.opts.Catalog.Get(i.Provider)
	return p
}

func (s *Server) logo(provider string) string {
	return integration.LogoURL(s.opts.PublicURL, provider)
}

func (s *Server) listIntegrations(w http.ResponseWriter, r *request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	all, err := s.opts.Integrations.List(r.Context(), r.env())
	if err != nil {
		return err
	}
	views := make([]integration.View, len(all))
	for n, i := range all {
		views[n] = s.viewIntegration(i)
	}
	return writeData(w, views)
}

func (s *Server) getIntegration(w http.ResponseWriter, r *request) error {
	q := input.Query(r.query())
	include := q.Strings("include", input.Text{Pattern: regexp.MustCompile(`^(webhook|credentials)$`)}, 0)
	if err := q.Strict().Err("invalid_query_params"); err != nil {
		return err
	}
	i, err := s.integrationParam(r)
	if err != nil {
		return err
	}
	v := s.viewIntegration(i)
	for _, part := range include {
		switch {
		case part == "webhook":
			address := integration.WebhookURL(i, s.providerOf(i), s.opts.PublicURL, r.principal.Environment.UUID)
			v.WebhookURL = &address
		case r.principal.Allows("environment:integrations:read_credentials"):
			if v.Credentials, err = integration.CredentialsView(i, s.providerOf(i)); err != nil {
				return err
			}
		}
	}
	return writeData(w, v)
}

// integrationParam finds the integration named in the path.
func (s *Server) integrationParam(r *request) (*integration.Integration, error) {
	p := input.Params(r.params)
	key := p.String("uniqueKey", input.IntegrationKey)
	if err := p.Err("invalid_uri_params"); err != nil {
		return nil, err
	}
	return s.opts.Integrations.Get(r.Context(), r.env(), key)
}

// integrationInput is the body of a create or an update.
type integrationInput struct {
	provider, key, displayName string
	forwardWebhooks            *bool
	credentials                *credentialsInput
	config, custom             map[string]string
}

// credentialsInput is a developer app. has tells which members were sent.
type credentialsInput struct {
	mode provider.AuthMode
	integration.Secrets
	has map[string]bool
}

var (
	scopesPattern = regexp.MustCompile(`^([0-9a-zA-Z:/_.*-]+(,[0-9a-zA-Z:/_.*-]+)*)?$`)
	pemPattern    = regexp.MustCompile(`^-----BEGIN RSA PRIVATE KEY-----[\s\S]+-----END RSA PRIVATE KEY-----$`)
)

func readIntegration(body []byte, creating bool) (integrationInput, error) {
	b := input.Body(body)
	var in integrationInput
	if creating {
		in.provider = b.String("provider", input.Name)
		in.key = b.String("unique_key", input.IntegrationKey)
	} else {
		in.key = b.String("unique_key", input.Optional(input.IntegrationKey))
	}
	in.displayName = b.String("display_name", input.Text{Min: 1, Max: 255})
	if b.Has("forward_webhooks") {
		forward := b.Bool("forward_webhooks", true)
		in.forwardWebhooks = &forward
	}
	in.config = b.StringMap("integration_config", input.Text{Max: 8192})
	in.custom = b.StringMap("custom", input.Text{})
	if c := b.Object("credentials", false); c != nil {
		in.credentials = readCredentials(c)
	}
	return in, b.Strict().Err("invalid_body")
}

func readCredentials(c *input.Reader) *credentialsInput {
	mode := c.String("type", input.Text{})
	in := &credentialsInput{mode: provider.AuthMode(mode), has: map[string]bool{}}
	for _, name := range c.Names() {
		in.has[name] = true
	}
	clientID, anyText := input.Text{Required: true, Min: 1, Max: 255}, input.Text{Required: true, Min: 1}
	app := func() {
		in.AppID = c.String("app_id", clientID)
		in.AppLink = c.String("app_link", anyText)
		in.PrivateKey = secret.New(c.String("private_key", input.Text{Required: true, Pattern: pemPattern}))
	}
	client := func() {
		in.ClientID = c.String("client_id", clientID)
		in.ClientSecret = secret.New(c.String("client_secret", anyText))
	}
	switch in.mode {
	case provider.OAuth1, provider.OAuth2, provider.TBA:
		client()
		in.Scopes = c.String("scopes", input.Text{Pattern: scopesPattern})
		in.WebhookSecret = secret.New(c.String("webhook_secret", input.Text{Max: 255}))
	case provider.App:
		app()
	case provider.Custom:
		client()
		app()
	default:
		c.Issue("invalid_union", "invalid credentials object", "type")
		return in
	}
	c.Strict()
	return in
}

func refuse(format string, args ...any) error {
	return errs.Newf(http.StatusBadRequest, "invalid_body", format, args...)
}

func (s *Server) createIntegration(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	in, err := readIntegration(body, true)
	if err != nil {
		return err
	}
	p, ok := s.opts.Catalog.Get(in.provider)
	if !ok {
		return errs.Invalid("invalid_body", errs.Issue{Code: "invalid_string", Message: "Invalid provider", Path: []string{"provider"}})
	}
	if in.credentials == nil && needsApp(p.AuthMode) {
		return refuse("Credentials are required for the auth mode %s", p.AuthMode)
	}
	i := integration.Integration{EnvironmentID: r.env(), Key: in.key, Provider: in.provider, ForwardWebhooks: true}
	if err := apply(&i, p, in); err != nil {
		return err
	}
	created, err := s.opts.Integrations.Create(r.Context(), i)
	if errs.Code(err) == errs.Code(integration.ErrKeyTaken) {
		taken := errs.Issue{Code: "invalid_string", Message: "Unique key already exists", Path: []string{"uniqueKey"}}
		return errs.Invalid("invalid_body", taken).Because(err)
	}
	if err != nil {
		return err
	}
	return writeData(w, s.viewIntegration(created))
}

// quickstartIntegration is for developer apps that the server's operator shares with everybody. A self-hosted server has none, so
// it checks the request and says what to do instead.
func (s *Server) quickstartIntegration(_ http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	b := input.Body(body)
	name := b.String("provider", input.Name)
	b.String("unique_key", input.IntegrationKey)
	b.String("display_name", input.Text{Min: 1, Max: 255})
	b.Bool("forward_webhooks", true)
	if err := b.Strict().Err("invalid_body"); err != nil {
		return err
	}
	if _, ok := s.opts.Catalog.Get(name); !ok {
		return errs.Invalid("invalid_body", errs.Issue{Code: "invalid_string", Message: "Invalid provider", Path: []string{"provider"}})
	}
	return refuse("There is no shared developer app for %s: create the integration with the credentials of your own", name)
}

func needsApp(mode provider.AuthMode) bool {
	return mode == provider.OAuth1 || mode == provider.OAuth2 || mode == provider.App || mode == provider.Custom
}

func (s *Server) updateIntegration(w http.ResponseWriter, r *request) error {
	body, err := s.onlyBody(r)
	if err != nil {
		return err
	}
	in, err := readIntegration(body, false)
	if err != nil {
		return err
	}
	i, err := s.integrationParam(r)
	if err != nil {
		return err
	}
	p, ok := s.opts.Catalog.Get(i.Provider)
	if !ok {
		return refuse("The provider %s is no longer in the catalog", i.Provider)
	}
	updated, err := s.opts.Integrations.Update(r.Context(), r.env(), i.Key, func(i *integration.Integration) error {
		if in.key != "" {
			i.Key = in.key
		}
		return apply(i, p, in)
	})
	if err != nil {
		return err
	}
	return writeData(w, s.viewIntegration(updated))
}

// apply lays the input over an integration, refusing what does not fit its provider.
func apply(i *integration.Integration, p *provider.Provider, in integrationInput) error {
	if in.displayName != "" {
		i.DisplayName = in.displayName
	}
	if in.forwardWebhooks != nil {
		i.ForwardWebhooks = *in.forwardWebhooks
	}
	if c := in.credentials; c != nil {
		if c.mode != p.AuthMode {
			return refuse("The credentials are of the type %s, the provider %s takes %s", c.mode, i.Provider, p.AuthMode)
		}
		webhookSecret, scopes := i.Secrets.WebhookSecret, i.Secrets.Scopes
		config, custom := i.Secrets.Config, i.Secrets.Custom
		i.Secrets = c.Secrets
		i.Secrets.Config, i.Secrets.Custom = config, custom
		if !c.has["webhook_secret"] {
			i.Secrets.WebhookSecret = webhookSecret
		}
		if !c.has["scopes"] {
			i.Secrets.Scopes = scopes
		}
	}
	if len(in.config) > 0 {
		merged, err := p.CheckIntegrationConfig(i.Secrets.Config, in.config)
		if err != nil {
			return refuse("%s", err.Error())
		}
		i.Secrets.Config = merged
	}
	if len(in.custom) > 0 {
		if len(p.IntegrationConfig) > 0 {
			return refuse("The provider %s takes integration_config, not custom values", i.Provider)
		}
		merged := maps.Clone(i.Secrets.Custom)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, in.custom)
		i.Secrets.Custom = merged
	}
	if i.Secrets.Scopes == "" && len(p.DefaultScopes) > 0 && in.credentials != nil && i.ID == 0 {
		i.Secrets.Scopes = strings.Join(p.DefaultScopes, ",")
	}
	return nil
}

func (s *Server) deleteIntegration(w http.ResponseWriter, r *request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	i, err := s.integrationParam(r)
	if err != nil {
		return err
	}
	if err := s.opts.Integrations.Delete(r.Context(), r.env(), i.Key); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, success)
}
