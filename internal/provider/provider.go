package provider

import (
	"encoding/json"
	"time"

	"github.com/patchbay-dev/patchbay/internal/provider/template"
)

// Provider is one entry of the catalog. The JSON names are the keys of its file; docs/providers.md says what each means.
// It is shared and must not be changed.
type Provider struct {
	// Name is the id of the provider: the file name without ".yaml".
	Name string `json:"-"`
	// Document is the entry as it stands in the catalog, with the keys of the aliased entry below its own. It has the types
	// of encoding/json and is what the API shows.
	Document map[string]any `json:"-"`

	Alias           string   `json:"alias"`
	DisplayName     string   `json:"display_name"`
	Categories      []string `json:"categories"`
	Docs            string   `json:"docs"`
	DocsConnect     string   `json:"docs_connect"`
	SetupGuideURL   string   `json:"setup_guide_url"`
	Sources         []Source `json:"sources"`
	Confidence      string   `json:"confidence"`
	DefaultScopes   []string `json:"default_scopes"`
	AvailableScopes []string `json:"available_scopes"`

	AuthMode     AuthMode `json:"auth_mode"`
	AuthType     string   `json:"auth_type"`
	Installation string   `json:"installation"`

	// Authorization request.
	AuthorizationURL                 *template.Template `json:"authorization_url"`
	AuthorizationParams              template.Tree      `json:"authorization_params"`
	AuthorizationURLReplacements     map[string]string  `json:"authorization_url_replacements"`
	AuthorizationURLFragment         string             `json:"authorization_url_fragment"`
	AuthorizationURLSkipEmpty        bool               `json:"authorization_url_skip_empty"`
	AuthorizationURLSkipEncode       []string           `json:"authorization_url_skip_encode"`
	AuthorizationCodeParamInCallback string             `json:"authorization_code_param_in_callback"`
	AuthorizationCodeParamInWebhook  string             `json:"authorization_code_param_in_webhook"`
	DisablePKCE                      bool               `json:"disable_pkce"`
	ScopeSeparator                   string             `json:"scope_separator"` // " " when the file has none
	RedirectURIMetadata              []string           `json:"redirect_uri_metadata"`

	// OAuth 1 and MCP.
	RequestURL         string            `json:"request_url"`
	RequestParams      map[string]string `json:"request_params"`
	RequestHTTPMethod  string            `json:"request_http_method"`
	TokenHTTPMethod    string            `json:"token_http_method"`
	SignatureMethod    string            `json:"signature_method"`
	RegistrationURL    string            `json:"registration_url"`
	RegistrationParams map[string]any    `json:"registration_params"`
	ClientRegistration string            `json:"client_registration"`
	MCPServerURL       string            `json:"mcp_server_url"`

	// Token request and answer.
	TokenURLs                        PerMode            `json:"token_url"`
	TokenURLSkipEncode               []string           `json:"token_url_skip_encode"`
	TokenParams                      template.Tree      `json:"token_params"`
	TokenHeaders                     template.Tree      `json:"token_headers"`
	TokenRequestMethod               string             `json:"token_request_method"`
	TokenRequestAuthMethod           string             `json:"token_request_auth_method"`
	AuthorizationMethod              string             `json:"authorization_method"`
	BodyFormat                       string             `json:"body_format"`
	RequireClientCertificate         bool               `json:"require_client_certificate"`
	RefreshURL                       *template.Template `json:"refresh_url"`
	RefreshParams                    template.Tree      `json:"refresh_params"`
	RefreshTokenParams               template.Tree      `json:"refresh_token_params"`
	RefreshTokenHeaders              template.Tree      `json:"refresh_token_headers"`
	TokenResponse                    TokenResponse      `json:"token_response"`
	TokenResponseHeaders             []string           `json:"token_response_headers"`
	TokenResponseMetadata            []string           `json:"token_response_metadata"`
	WebhookResponseMetadata          []string           `json:"webhook_response_metadata"`
	AlternateAccessTokenResponsePath string             `json:"alternate_access_token_response_path"`
	TokenExpiresInMS                 *int64             `json:"token_expires_in_ms"`
	ExpiresInUnit                    string             `json:"expires_in_unit"`
	// TokenExpirationBufferSeconds is 0 when the file has none; use TokenExpirationBuffer.
	TokenExpirationBufferSeconds int `json:"token_expiration_buffer"`

	// Signed tokens and several steps.
	Token           *TokenTemplate `json:"token"`
	Signature       *SignatureRule `json:"signature"`
	Assertion       *Assertion     `json:"assertion"`
	AssertionOption Fields         `json:"assertion_option"`
	AdditionalSteps []Step         `json:"additional_steps"`

	// What people are asked for.
	ConnectionConfig  Fields `json:"connection_config"`
	Credentials       Fields `json:"credentials"`
	IntegrationConfig Fields `json:"integration_config"`

	Proxy          Proxy      `json:"proxy"`
	PostConnection []FollowUp `json:"post_connection"`

	// Webhooks from the provider.
	WebhookRoutingScript      string   `json:"webhook_routing_script"`
	WebhookUserDefinedSecret  bool     `json:"webhook_user_defined_secret"`
	WebhookAllowedQueryParams []string `json:"webhook_allowed_query_params"`
}

// Source says where the facts of an entry come from and under which licence ("facts" for a vendor's documentation).
type Source struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Licence string `json:"licence"`
}

// PerMode is a URL template, or one for each of several auth modes.
type PerMode struct {
	only   *template.Template
	byMode map[AuthMode]*template.Template
}

// UnmarshalJSON reads a string or an object whose keys are auth modes.
func (p *PerMode) UnmarshalJSON(data []byte) error {
	*p = PerMode{}
	if data[0] == '{' {
		return json.Unmarshal(data, &p.byMode)
	}
	return json.Unmarshal(data, &p.only)
}

// For returns the template for a mode, or nil.
func (p PerMode) For(mode AuthMode) *template.Template {
	if t, ok := p.byMode[mode]; ok {
		return t
	}
	return p.only
}

// TokenURL is the token endpoint for the provider's own mode; nil if it has none.
func (p *Provider) TokenURL() *template.Template { return p.TokenURLs.For(p.AuthMode) }

// DefaultTokenExpirationBuffer is how long before its expiry a token is refreshed. It must exceed the longest call that
// starts with a token; 15 minutes is the wire contract's value and survives a clock that is a few minutes off.
const DefaultTokenExpirationBuffer = 15 * time.Minute

// TokenExpirationBuffer is how long before its expiry a token of this provider is refreshed.
func (p *Provider) TokenExpirationBuffer() time.Duration {
	if p.TokenExpirationBufferSeconds == 0 {
		return DefaultTokenExpirationBuffer
	}
	return time.Duration(p.TokenExpirationBufferSeconds) * time.Second
}

// TokenResponse tells where a two-step answer keeps its values. Paths are dotted and may hold list indexes.
type TokenResponse struct {
	// Token is empty when the whole answer is the token.
	Token        string `json:"token"`
	RefreshToken string `json:"refresh_token"`
	Expiration   string `json:"token_expiration"`
	// ExpirationStrategy is "expireAt" (default) or "expireIn".
	ExpirationStrategy string `json:"token_expiration_strategy"`
}

// TokenTemplate describes a JWT that is signed locally. Its texts are read in the Flat dialect.
type TokenTemplate struct {
	SigningKey  *template.Template `json:"signing_key"`
	Header      template.Tree      `json:"header"`
	Payload     template.Tree      `json:"payload"`
	ExpiresInMS int64              `json:"expires_in_ms"`
}

// SignatureRule says how a local token is signed.
type SignatureRule struct {
	// Protocol is RSA, HMAC, EC or WSSE.
	Protocol string `json:"protocol"`
	// HMACSecretEncoding is "hex" (default) or "utf8".
	HMACSecretEncoding string `json:"hmac_secret_encoding"`
}

// Assertion describes a signed statement that a two-step token request carries.
type Assertion struct {
	// Type is "jwt" or "saml".
	Type   string             `json:"type"`
	Key    *template.Template `json:"key"`
	Header template.Tree      `json:"header"`
	// Payload holds claims for jwt, and issuer, audience, recipient, subject and attributes for saml.
	Payload template.Tree `json:"payload"`
	// LifetimeSeconds is 0 for the default: 3600 for jwt, 300 for saml.
	LifetimeSeconds int `json:"lifetime"`
}

// Step is one further call of a two-step authorisation. "${stepN.path}" in it reads the Nth answer.
type Step struct {
	URL        *template.Template `json:"token_url"`
	Method     string             `json:"token_request_method"`
	Params     template.Tree      `json:"token_params"`
	Headers    template.Tree      `json:"token_headers"`
	BodyFormat string             `json:"body_format"`
}

// FollowUp is a request that is sent with the new credentials as soon as a connection exists. Its JSON answer fills fields
// of connection_config that nobody typed, such as the id of the tenant. Its texts are read in the Wrapper dialect.
type FollowUp struct {
	Method string             `json:"method"` // GET when the file has none
	URL    *template.Template `json:"url"`
	// Headers are sent beside the mode's own authorization header and win over it. They may name accessToken.
	Headers Placements `json:"headers"`
	// Body is sent as JSON.
	Body template.Tree `json:"body"`
	// Save maps a connection_config key to the dotted path of a text or a number in the answer ("0.id"). A missing path saves
	// nothing.
	Save map[string]string `json:"save"`
}
