package provider

// AuthMode is how a provider is authorised. The values are those of the wire contract.
type AuthMode string

// The seventeen modes.
const (
	OAuth1           AuthMode = "OAUTH1"
	OAuth2           AuthMode = "OAUTH2"
	OAuth2CC         AuthMode = "OAUTH2_CC"
	Basic            AuthMode = "BASIC"
	APIKey           AuthMode = "API_KEY"
	JWT              AuthMode = "JWT"
	TwoStep          AuthMode = "TWO_STEP"
	App              AuthMode = "APP"
	Custom           AuthMode = "CUSTOM"
	TBA              AuthMode = "TBA"
	Signature        AuthMode = "SIGNATURE"
	Bill             AuthMode = "BILL"
	AWSSigV4         AuthMode = "AWS_SIGV4"
	MCPOAuth2        AuthMode = "MCP_OAUTH2"
	MCPOAuth2Generic AuthMode = "MCP_OAUTH2_GENERIC"
	InstallPlugin    AuthMode = "INSTALL_PLUGIN"
	None             AuthMode = "NONE"
)

// modeFacts is what the rules of the catalog need to know about a mode.
type modeFacts struct {
	// stored are the credential fields a connection of this mode keeps, and that templates may name.
	stored []string
	// asks is set for modes in which the end user types credentials, so that the key credentials means something.
	asks bool
	// needs are the catalog keys without which the mode can't work.
	needs []string
}

var (
	tokens = []string{"access_token", "refresh_token", "expires_at", "raw"}
	modes  = map[AuthMode]modeFacts{
		OAuth1: {
			stored: []string{"oauth_token", "oauth_token_secret", "raw"},
			needs:  []string{"request_url", "authorization_url", "token_url"},
		},
		OAuth2: {stored: tokens, needs: []string{"authorization_url", "token_url"}},
		OAuth2CC: {
			stored: []string{"token", "client_id", "client_secret", "client_certificate", "client_private_key", "expires_at", "raw"},
			asks:   true, needs: []string{"token_url"},
		},
		Basic:  {stored: []string{"username", "password"}, asks: true},
		APIKey: {stored: []string{"apiKey"}, asks: true},
		JWT:    {stored: []string{"token", "expires_at"}, asks: true, needs: []string{"token", "signature", "credentials"}},
		TwoStep: {
			stored: []string{"token", "refresh_token", "expires_at", "raw", "assertion", "_cookies"},
			asks:   true, needs: []string{"token_url", "credentials"},
		},
		App:       {stored: []string{"access_token", "expires_at", "raw", "jwtToken"}, needs: []string{"authorization_url", "token_url"}},
		Custom:    {stored: tokens, needs: []string{"authorization_url", "token_url"}},
		TBA:       {stored: []string{"token_id", "token_secret"}, asks: true},
		Signature: {stored: []string{"username", "password", "token", "expires_at"}, asks: true, needs: []string{"signature"}},
		Bill: {
			stored: []string{"username", "password", "organization_id", "dev_key", "session_id", "user_id", "expires_at", "raw"},
			asks:   true, needs: []string{"token_url"},
		},
		AWSSigV4: {
			stored: []string{
				"role_arn", "region", "service", "access_key_id", "secret_access_key", "session_token", "expires_at", "external_id", "raw",
			},
			asks: true, needs: []string{"credentials", "integration_config"},
		},
		MCPOAuth2:        {stored: tokens, needs: []string{"authorization_url", "token_url", "client_registration"}},
		MCPOAuth2Generic: {stored: tokens},
		InstallPlugin:    {stored: []string{"username", "password"}},
		None:             {},
	}
)

// Valid reports whether m is one of the seventeen modes.
func (m AuthMode) Valid() bool {
	_, ok := modes[m]
	return ok
}

// AsksForCredentials reports whether the end user types credentials, as opposed to being sent to the provider's own page
// or having nothing to give.
func (m AuthMode) AsksForCredentials() bool { return modes[m].asks }
