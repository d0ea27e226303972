// Package integration holds integrations: a provider of the catalog configured in one environment, with the developer app's
// credentials.
//
// The key an integration is known by to clients (unique_key, provider config key) is unique in its environment. Client
// secrets, integration configuration and custom values are sealed at rest as one value bound to the row. Reads are cached
// per process; a change empties the cache of every node, and the cache forgets by itself after cacheLife.
package integration

import (
	"encoding/json"
	"time"

	"github.com/patchbay-dev/patchbay/internal/secret"
)

// Integration is one configured provider. Treat it as immutable: it is shared by all readers.
type Integration struct {
	ID            int64
	UUID          string
	EnvironmentID int64
	// Key is the public id, matching [a-zA-Z0-9~:.@ _-]+, at most 255 characters.
	Key      string
	Provider string
	// DisplayName is empty when the provider's own name is to be shown.
	DisplayName     string
	ForwardWebhooks bool
	Secrets         Secrets
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// Secrets is what is sealed: the developer app's credentials and the operator's settings for it. Which fields count depends on
// the provider's auth mode.
type Secrets struct {
	ClientID      string
	ClientSecret  secret.Text
	Scopes        string // comma-separated
	WebhookSecret secret.Text
	AppID         string
	AppLink       string
	PrivateKey    secret.Text // PEM
	// Config holds values for the provider's integration_config fields, Custom free values for the others.
	Config map[string]string
	Custom map[string]string
}

// IsZero reports whether nothing is set.
func (s Secrets) IsZero() bool { return string(s.encode()) == string(Secrets{}.encode()) }

// sealedSecrets is the JSON inside the sealed value. Names are short because they never leave it.
type sealedSecrets struct {
	ClientID      string            `json:"client_id,omitempty"`
	ClientSecret  string            `json:"client_secret,omitempty"`
	Scopes        string            `json:"scopes,omitempty"`
	WebhookSecret string            `json:"webhook_secret,omitempty"`
	AppID         string            `json:"app_id,omitempty"`
	AppLink       string            `json:"app_link,omitempty"`
	PrivateKey    string            `json:"private_key,omitempty"`
	Config        map[string]string `json:"config,omitempty"`
	Custom        map[string]string `json:"custom,omitempty"`
}

func (s Secrets) encode() []byte {
	data, err := json.Marshal(sealedSecrets{
		s.ClientID, s.ClientSecret.Reveal(), s.Scopes, s.WebhookSecret.Reveal(), s.AppID, s.AppLink, s.PrivateKey.Reveal(), s.Config, s.Custom,
	})
	if err != nil { // strings and maps of strings always marshal
		panic(err)
	}
	return data
}

func decodeSecrets(data []byte) (Secrets, error) {
	var s sealedSecrets
	if err := json.Unmarshal(data, &s); err != nil {
		return Secrets{}, err
	}
	return Secrets{
		s.ClientID, secret.New(s.ClientSecret), s.Scopes, secret.New(s.WebhookSecret), s.AppID, s.AppLink, secret.New(s.PrivateKey), s.Config, s.Custom,
	}, nil
}

// Stored is an integration as it lies in the database, its secrets sealed.
type Stored struct {
	Integration

	Sealed []byte
}
