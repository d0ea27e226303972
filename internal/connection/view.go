package connection

import (
	"encoding/json"
	"time"
)

// Row is a connection as lists show it: no credentials.
type Row struct {
	ID                int64             `json:"id"`
	ConnectionID      string            `json:"connection_id"`
	ProviderConfigKey string            `json:"provider_config_key"`
	Provider          string            `json:"provider"`
	Errors            []ErrorView       `json:"errors"`
	EndUser           *EndUser          `json:"end_user"`
	Tags              map[string]string `json:"tags"`
	Metadata          json.RawMessage   `json:"metadata"`
}

// ErrorView is an active error as clients see it.
type ErrorView struct {
	Type  string `json:"type"`
	LogID string `json:"log_id"`
}

// View is a connection as clients and functions get it, with its credentials: it must not be logged.
type View struct {
	Row

	ConnectionConfig   json.RawMessage `json:"connection_config"`
	WebhookURLOverride *string         `json:"webhook_url_override"`
	CreatedAt          string          `json:"created_at"`
	UpdatedAt          string          `json:"updated_at"`
	LastFetchedAt      *string         `json:"last_fetched_at"`
	Credentials        json.RawMessage `json:"credentials"`
}

// RowOf makes the row of a connection.
func RowOf(c *Connection) Row {
	row := Row{
		ID: c.ID, ConnectionID: c.ConnectionID, ProviderConfigKey: c.IntegrationKey, Provider: c.Provider, EndUser: c.EndUser, Tags: c.Tags,
		Metadata: c.Metadata, Errors: []ErrorView{},
	}
	for _, e := range c.Errors {
		row.Errors = append(row.Errors, ErrorView{e.Type, e.LogID})
	}
	if row.Tags == nil {
		row.Tags = map[string]string{}
	}
	if row.Metadata == nil {
		row.Metadata = json.RawMessage("null")
	}
	return row
}

// ViewOf makes the view of a connection. format writes times, which the wire contract has in several forms.
func ViewOf(c *Connection, format func(time.Time) string) View {
	v := View{
		Row: RowOf(c), ConnectionConfig: c.Config, CreatedAt: format(c.CreatedAt), UpdatedAt: format(c.UpdatedAt), Credentials: c.Credentials.JSON(),
	}
	if c.WebhookURLOverride != "" {
		v.WebhookURLOverride = &c.WebhookURLOverride
	}
	if !c.LastFetchedAt.IsZero() {
		at := format(c.LastFetchedAt)
		v.LastFetchedAt = &at
	}
	return v
}

// WithoutRefreshToken withholds what only those get who ask for it.
func (v View) WithoutRefreshToken(c *Connection) View {
	v.Credentials = c.Credentials.Without(IsRefreshToken).JSON()
	v.ConnectionConfig = Strip(c.Config, IsRefreshToken)
	return v
}

// WithoutCredentials withholds all credentials.
func (v View) WithoutCredentials(c *Connection) View {
	v.Credentials = json.RawMessage("{}")
	v.ConnectionConfig = Strip(c.Config, IsRefreshToken)
	return v
}
