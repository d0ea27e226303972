// Package oauth asks OAuth 2 token endpoints for tokens (RFC 6749): the refresh-token grant and the client-credentials grant,
// with the deviations that the provider catalog describes: where the client's credentials go, the encoding of the body, extra
// fields, and where an answer keeps its token and its expiry.
//
// It is protocol only: it stores nothing, retries nothing and knows no connection. A request is sent once, takes 20 s at the
// most, and a redirect is a refusal, because a redirected request would hand a refresh token to somebody else. What an endpoint
// answers becomes a [Token], a [Refused] or an [UnreachableError]; the texts in the latter two are safe to show.
//
// What breaks it: sending the same refresh token twice at a time. Whoever calls Refresh must make sure that nobody else does.
package oauth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

const (
	// Timeout bounds one request, the reading of the answer included. Token endpoints that need longer are down.
	Timeout = 20 * time.Second
	// MaxAnswer is how many bytes of an answer are read. Tokens with embedded claims reach some tens of KB.
	MaxAnswer = 1 << 20
)

// Doer sends a request.
type Doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// PoolDoer is a Doer with connections of its own.
type PoolDoer interface {
	Doer
	CloseIdleConnections()
}

// Options of New. HTTP is required.
type Options struct {
	// HTTP must go through egress and not follow redirects: a client of an egress.Door without FollowRedirects.
	HTTP Doer
	// WithCertificate makes a client, under the same conditions, that shows a certificate, for providers that demand one; nil
	// refuses those providers. Its unused connections are closed after the request.
	WithCertificate func(certificate tls.Certificate) PoolDoer
	Now             func() time.Time // nil: time.Now
}

// Client asks token endpoints. It is safe for concurrent use.
type Client struct{ opts Options }

// New makes a Client.
func New(opts Options) *Client {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Client{opts}
}

// Party is who asks whom: a client that is registered with a provider, and the values that the provider's templates see.
type Party struct {
	Provider     *provider.Provider
	Mode         provider.AuthMode
	ClientID     string
	ClientSecret secret.Text // may be empty for a public client
	// Config is the connection_config.
	Config            map[string]any
	IntegrationConfig map[string]string
	// Credentials are the connection's credential fields.
	Credentials map[string]any
}

// Token is what an endpoint hands out. It prints as [redacted].
type Token struct {
	Access secret.Text
	// Refresh is empty when the answer has none.
	Refresh secret.Text
	// ExpiresAt is zero when the answer does not tell.
	ExpiresAt time.Time
	// Raw is the answer, a JSON object. For the refresh grant it has expires_at as an ISO date when the expiry is known.
	Raw json.RawMessage
}

// String keeps a token out of messages.
func (t Token) String() string { return secret.Redacted }

// GoString is for %#v.
func (t Token) GoString() string { return secret.Redacted }

// LogValue is for slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// Refresh spends a refresh token. The fields of refresh_params, or else of token_params, are sent along; grant_type is always
// refresh_token, whatever they say. Errors are *Refused, *UnreachableError, *template.UnresolvedError or a faulty URL.
func (c *Client) Refresh(ctx context.Context, p Party, refreshToken secret.Text) (Token, error) {
	u, err := p.Provider.ExpandRefreshURL(p.Mode, p.urlValues())
	if err != nil {
		return Token{}, err
	}
	var body fields
	body.set("grant_type", "refresh_token")
	extra, err := p.refreshParams()
	if err != nil {
		return Token{}, err
	}
	body.setAll(extra, "grant_type", "refresh_token")
	body.set("refresh_token", refreshToken.Reveal())
	header := http.Header{}
	switch {
	case p.Provider.AuthorizationMethod == "header":
		header.Set("Authorization", basicEscaped(p.ClientID, p.ClientSecret))
	case p.Provider.TokenRequestAuthMethod == "basic":
		header.Set("Authorization", basic(p.ClientID, p.ClientSecret))
		fallthrough // the wire contract has the client in both places
	default:
		body.setIfAbsent("client_id", p.ClientID)
		if !p.ClientSecret.IsEmpty() {
			body.setIfAbsent("client_secret", p.ClientSecret.Reveal())
		}
	}
	format := p.Provider.BodyFormat
	if format != formatJSON {
		format = formatForm
	}
	found, err := c.ask(ctx, c.opts.HTTP, call{url: u, header: header, body: body, format: format, secrets: p.secrets(refreshToken)})
	if err != nil {
		return Token{}, err
	}
	return found.token(p.Provider.AlternateAccessTokenResponsePath, c.opts.Now())
}

// refreshParams are the extra fields of a refresh. token_params stand in for missing refresh_params; those of them that
// need values which existed only during the authorization are left out.
func (p Party) refreshParams() (map[string]any, error) {
	if p.Provider.RefreshParams.IsZero() {
		extra, _ := p.Provider.TokenParams.EvalPruned(template.Object, p.scope())
		return object(extra), nil
	}
	return p.params("refresh_params", p.Provider.RefreshParams)
}

// ClientCredentials is what a client-credentials request may carry beside the client.
type ClientCredentials struct {
	Scopes []string
	// Override replaces fields of the same names.
	Override map[string]any
	// PrivateKey is a JSON Web Key with which private_key_jwt signs, or the PEM key of Certificate.
	PrivateKey secret.Text
	// Certificate is PEM, for providers that demand a client certificate.
	Certificate secret.Text
}

// defaultLifetime of client-credentials tokens whose answer does not tell: most live an hour.
const defaultLifetime = 55 * time.Minute

// ClientCredentials asks for a token in the client's own name. grant_type is sent when token_params has it. Errors are as for
// Refresh; a key or certificate that can't be read is a *KeyError.
func (c *Client) ClientCredentials(ctx context.Context, p Party, cc ClientCredentials) (Token, error) {
	u, err := p.Provider.ExpandTokenURL(p.Mode, p.urlValues())
	if err != nil {
		return Token{}, err
	}
	var body fields
	header := http.Header{}
	switch p.Provider.TokenRequestAuthMethod {
	case "basic":
		header.Set("Authorization", basic(p.ClientID, p.ClientSecret))
	case "custom":
		body.set("username", p.ClientID)
		body.set("password", p.ClientSecret.Reveal())
	case "private_key_jwt":
		assertion, err := signAssertion(cc.PrivateKey, p.ClientID, u.String(), c.opts.Now(), uuid.NewString())
		if err != nil {
			return Token{}, err
		}
		body.set("client_id", p.ClientID)
		body.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		body.set("client_assertion", assertion)
	default:
		body.set("client_id", p.ClientID)
		body.set("client_secret", p.ClientSecret.Reveal())
	}
	extra, err := p.params("token_params", p.Provider.TokenParams)
	if err != nil {
		return Token{}, err
	}
	body.setAll(extra)
	if scope := joinScopes(cc.Scopes, p.Provider.ScopeSeparator); scope != "" {
		body.set("scope", scope)
	}
	body.setAll(cc.Override)
	client := c.opts.HTTP
	if p.Provider.RequireClientCertificate {
		certified, err := c.certified(cc)
		if err != nil {
			return Token{}, err
		}
		defer certified.CloseIdleConnections()
		client = certified
	}
	format := p.Provider.BodyFormat
	if format == "" {
		format = formatForm
	}
	found, err := c.ask(ctx, client, call{url: u, header: header, body: body, format: format, secrets: p.secrets(cc.PrivateKey)})
	if err != nil {
		return Token{}, err
	}
	unit := time.Second
	if p.Provider.ExpiresInUnit == "milliseconds" {
		unit = time.Millisecond
	}
	return found.clientToken(unit, c.opts.Now())
}

func (p Party) urlValues() template.URLValues {
	return template.URLValues{ConnectionConfig: p.Config, Credentials: p.Credentials, IntegrationConfig: p.IntegrationConfig}
}

func (p Party) scope() *template.Scope {
	integration := make(map[string]any, len(p.IntegrationConfig))
	for name, value := range p.IntegrationConfig {
		integration[name] = value
	}
	return &template.Scope{
		Layers: []map[string]any{p.Config, {"integrationConfig": integration}},
		Strip:  []string{"connectionConfig."},
	}
}

// params fills in a tree of extra fields, every one of which must have its values.
func (p Party) params(place string, tree template.Tree) (map[string]any, error) {
	if tree.IsZero() {
		return nil, nil
	}
	values, missing := tree.Eval(template.Object, p.scope())
	if len(missing) > 0 {
		return nil, &template.UnresolvedError{Name: missing[0].Names[0], Place: place + "." + missing[0].Path}
	}
	return object(values), nil
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// secrets are what must not be in a message although an endpoint may echo it.
func (p Party) secrets(more ...secret.Text) []secret.Text { return append(more, p.ClientSecret) }

// call is one request to a token endpoint.
type call struct {
	url     urlText
	header  http.Header
	body    fields
	format  string
	secrets []secret.Text
}

type urlText interface{ String() string }

// ask sends a call and reads the answer of an endpoint that agreed.
func (c *Client) ask(ctx context.Context, client Doer, req call) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	r, err := req.build(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("build the token request: %w", err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil && len(data) > MaxAnswer {
		err = errTooLarge
	}
	if err != nil {
		return answer{}, unreachable(err)
	}
	found := parseAnswer(resp, data)
	if refused := found.refusal(req.secrets); refused != nil {
		return answer{}, refused
	}
	return found, nil
}

var errTooLarge = errors.New("the answer is larger than 1 MB")
