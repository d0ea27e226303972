package proxyrequest

import (
	"errors"
	"net/http"
	"time"

	"github.com/patchbay-dev/patchbay/internal/provider"
	"github.com/patchbay-dev/patchbay/internal/provider/template"
	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Connection is what templates can read of a connection and its integration. The maps have the value types of
// template.Scope.
type Connection struct {
	// Mode is the type of the stored credentials, which for CUSTOM and INSTALL_PLUGIN differs from the provider's mode.
	Mode        provider.AuthMode
	Credentials map[string]any

	Config   map[string]any // connection_config
	Metadata map[string]any
	Tags     map[string]string

	ID, ProviderConfigKey, EnvironmentID string

	// IntegrationConfig, ClientID and ClientSecret belong to the integration, or to the connection's own override.
	IntegrationConfig map[string]string
	ClientID          string
	ClientSecret      secret.Text
}

// Request is everything one outgoing request is built from. Proxy, Connection and Method are required.
type Request struct {
	Proxy      *provider.Proxy
	Connection *Connection
	Method     string

	// Path is the caller's path with its query, as received: "/v1/items?x=1".
	Path string
	// BaseURL is the caller's base-url-override; "" uses the catalog's.
	BaseURL string
	// Header holds the headers the caller wants forwarded.
	Header http.Header

	// CatalogBase, CatalogPath and CatalogHeaders are texts of the catalog in the place of the caller's: the call of a
	// verification or a follow-up. They may read credentials. Nil uses the caller's.
	CatalogBase    *template.Template
	CatalogPath    *template.Template
	CatalogHeaders provider.Placements

	// Authorization is the header of modes that sign the request (OAUTH1, TBA); "" is none. Other modes ignore it.
	Authorization string

	// Body is needed only when Proxy.ReadsBody. ContentType is the type it is sent with.
	Body        []byte
	ContentType string

	// Now and Random are frozen for the request: ${now} and ${random}, the latter a UUID v4.
	Now    time.Time
	Random string
}

// ErrNoBaseURL means that neither the catalog nor the caller says where the API lives.
var ErrNoBaseURL = errors.New("no base URL")

// Missing is a text that was left out, or sent with its placeholder, because a name had no value.
type Missing struct {
	// Place is the catalog key: "proxy.headers.x-tenant".
	Place string
	Names []string
}

// scope sees what the places of the wire contract have in common: connectionConfig, integrationConfig and, with the
// credentials layer, credentials.* and the fields by bare name.
func (r *Request) scope(extra map[string]any, credentials bool) *template.Scope {
	names := map[string]any{"connectionConfig": r.Connection.Config, "integrationConfig": r.Connection.IntegrationConfig}
	s := &template.Scope{Layers: make([]map[string]any, 0, 3), Now: r.Now, Random: r.Random}
	if extra != nil {
		s.Layers = append(s.Layers, extra)
	}
	s.Layers = append(s.Layers, names)
	if credentials {
		names["credentials"] = r.Connection.Credentials
		s.Layers = append(s.Layers, r.Connection.Credentials)
	}
	return s
}

// accessToken is what ${accessToken} means: the token of the mode, empty for APP, absent for modes without one.
func (c *Connection) accessToken() (any, bool) {
	switch c.Mode {
	case provider.OAuth2, provider.MCPOAuth2, provider.MCPOAuth2Generic:
		v, ok := c.Credentials["access_token"]
		return v, ok
	case provider.App:
		return "", true
	default:
		v, ok := c.Credentials["token"]
		return v, ok
	}
}

// field is a credential as text; "" when it is absent or no text.
func (c *Connection) field(name string) string {
	switch v := c.Credentials[name].(type) {
	case string:
		return v
	case secret.Text:
		return v.Reveal()
	default:
		return ""
	}
}

// BodyFields fills in the catalog's proxy.body: fields to merge into an object or form body. Nil when there is none.
func (r *Request) BodyFields() (map[string]any, []Missing) {
	fields, missing := r.Fill("proxy.body", r.Proxy.Body)
	object, _ := fields.(map[string]any)
	return object, missing
}

// Fill fills in any tree of the catalog the way proxy.body is: fields whose placeholder has no value, and what becomes
// empty because of them, are left out. place names the tree in Missing.
func (r *Request) Fill(place string, tree template.Tree) (any, []Missing) {
	if tree.IsZero() {
		return nil, nil
	}
	fields, left := tree.EvalPruned(template.Wrapper, r.scope(nil, true))
	var missing []Missing
	for _, m := range left {
		missing = append(missing, Missing{Place: place + "." + m.Path, Names: m.Names})
	}
	return fields, missing
}
