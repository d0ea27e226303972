// Package connection holds connections: one end user's stored credential for one integration, with the configuration,
// metadata and tags that belong to it.
//
// Credentials and connection_config are sealed at rest, each bound to its row. Every change of the credentials raises
// Version, and a change made on the strength of an older version is refused; that is what lets refreshes, reconnects and
// several nodes race without losing a grant. What must be true together with a change (webhooks to the app, syncs) is written
// by Hooks in the same transaction.
package connection

import (
	"encoding/json"
	"time"
)

// Connection is one connection with its credentials open.
type Connection struct {
	ID            int64
	UUID          string
	EnvironmentID int64
	IntegrationID int64
	// IntegrationKey and Provider are the integration's, for callers that need no more of it.
	IntegrationKey string
	Provider       string
	// ConnectionID is the public id, unique in its integration.
	ConnectionID string
	Credentials  Credentials
	// Version counts the changes of the credentials, from 1.
	Version int64
	// Config is the connection_config object, never nil.
	Config json.RawMessage
	// Metadata is the app's own object; nil when it was never set.
	Metadata           json.RawMessage
	Tags               map[string]string
	EndUser            *EndUser
	WebhookURLOverride string
	Errors             []ActiveError
	Refresh            RefreshState
	CreatedAt          time.Time
	UpdatedAt          time.Time
	LastFetchedAt      time.Time
}

// ActiveError is a problem that has not gone away: an auth or sync failure and the log operation that tells about it.
type ActiveError struct {
	Type  string `json:"type"`
	LogID string `json:"log_id"`
	// Source tells errors of one type apart, such as the name of a sync. It is not shown to clients.
	Source string `json:"source,omitempty"`
}

// The types of active errors.
const (
	AuthError = "auth"
	SyncError = "sync"
)

// RefreshState is what is known about refreshing the credentials; package refresh moves it.
type RefreshState struct {
	// Failures counts failures since the last success; LastFailure is when the latest was.
	Failures    int
	LastFailure time.Time
	// NeedsReconnect means that the provider refused for good: only a reconnect helps.
	NeedsReconnect bool
	// Code and Message describe the latest failure in words that are safe to show.
	Code    string
	Message string
}

// EndUser is the app's user a connection belongs to.
type EndUser struct {
	ID           string            `json:"id"`
	DisplayName  *string           `json:"display_name"`
	Email        *string           `json:"email"`
	Tags         map[string]string `json:"tags"`
	Organization *Organization     `json:"organization"`
}

// Organization is the end user's organization.
type Organization struct {
	ID          string  `json:"id"`
	DisplayName *string `json:"display_name"`
}

// Stored is a connection as it lies in the database, credentials and configuration sealed.
type Stored struct {
	Connection

	SealedCredentials []byte
	SealedConfig      []byte
	// ExpiresAt is when the credentials expire; zero when they don't, or when nothing could renew them.
	ExpiresAt time.Time
}

// Filter narrows a list. Empty fields don't; all others must match.
type Filter struct {
	ConnectionID   string
	Search         string // in connection id, end user's name and e-mail, without regard to case
	EndUserID      string
	OrganizationID string
	Integrations   []string
	Tags           map[string]string
	Limit          int
	Offset         int
}
