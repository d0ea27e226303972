package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/patchbay-dev/patchbay/internal/connection"
	"github.com/patchbay-dev/patchbay/internal/store/engine"
)

// Connections implements connection.Store.
type Connections struct{ db *engine.DB }

// Connections gives the SQL of connections.
func (s *Store) Connections() Connections { return Connections{s.core} }

const (
	connectionColumns = `c.id, c.uuid, c.environment_id, c.integration_id, i.key, i.provider, c.connection_id, c.version, c.expires_at,
		c.metadata, c.tags, c.end_user, c.webhook_url_override, c.active_errors,
		c.refresh_failures, c.refresh_failed_at, c.needs_reconnect, c.refresh_code, c.refresh_message,
		c.created_at, c.updated_at, c.last_fetched_at`
	connectionFrom = ` FROM connections c JOIN integrations i ON i.id = c.integration_id `
	oneConnection  = `SELECT ` + connectionColumns + `, c.credentials, c.config` + connectionFrom + `WHERE c.environment_id = $1 AND c.id = $2`
	// manyConnections is how many a list without a limit gives at the most.
	manyConnections = 10_000
)

var (
	insertConnection = engine.SQL(`INSERT INTO connections (uuid, environment_id, integration_id, connection_id,
			auth_mode, credentials, config, version, expires_at,
			metadata, tags, end_user, end_user_id, organization_id, search, webhook_url_override,
			created_at, updated_at, last_fetched_at,
			active_errors, refresh_owner, refresh_until, refresh_failures, refresh_failed_at, needs_reconnect, refresh_code, refresh_message)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
			'[]', '', 0, 0, 0, FALSE, '', '')
		RETURNING id`)
	getConnection = engine.SQL(`SELECT ` + connectionColumns + `, c.credentials, c.config` + connectionFrom +
		`WHERE c.environment_id = $1 AND c.integration_id = $2 AND c.connection_id = $3`)
	getConnectionByID = engine.SQL(oneConnection)
	lockConnection    = engine.SQLPair(oneConnection, oneConnection+` FOR UPDATE OF c`)
	listConnections   = engine.SQL(`SELECT ` + connectionColumns + connectionFrom + `WHERE c.environment_id = $1
			AND ($2 = '' OR c.connection_id = $2)
			AND ($3 = '' OR c.search LIKE $3 ESCAPE '\')
			AND ($4 = '' OR c.end_user_id = $4)
			AND ($5 = '' OR c.organization_id = $5)
			AND ($6 = 0 OR i.key {in $7})
			AND ($8 = 0 OR $8 = (SELECT COUNT(*) FROM connection_tags t WHERE t.connection_id = c.id AND t.key || '=' || t.value {in $9}))
		ORDER BY c.created_at DESC, c.id DESC LIMIT $10 OFFSET $11`)
	replaceConnection = engine.SQL(`UPDATE connections
		SET auth_mode = $2, credentials = $3, config = $4, version = version + 1, expires_at = $5, metadata = $6, tags = $7,
			end_user = $8, end_user_id = $9, organization_id = $10, search = $11, webhook_url_override = $12, updated_at = $13, last_fetched_at = $14,
			active_errors = '[]', refresh_owner = '', refresh_until = 0, refresh_failures = 0, refresh_failed_at = 0, needs_reconnect = FALSE,
			refresh_code = '', refresh_message = ''
		WHERE environment_id = $15 AND id = $1 RETURNING version`)
	patchConnection = engine.SQL(`UPDATE connections SET metadata = $2, tags = $3, end_user = $4, end_user_id = $5, organization_id = $6, search = $7,
		webhook_url_override = $8, updated_at = $9 WHERE id = $1 AND environment_id = $10`)
	setConnectionErrors  = engine.SQL(`UPDATE connections SET active_errors = $3, updated_at = $4 WHERE environment_id = $1 AND id = $2`)
	deleteConnection     = engine.SQL(`DELETE FROM connections WHERE environment_id = $1 AND id = $2`)
	touchConnection      = engine.SQL(`UPDATE connections SET last_fetched_at = $2 WHERE id = $1 AND last_fetched_at < $2`)
	clearConnectionTags  = engine.SQL(`DELETE FROM connection_tags WHERE connection_id = $1`)
	insertConnectionTags = engine.SQL(`INSERT INTO connection_tags (connection_id, key, value) VALUES ($1, $2, $3)`)
)

// Insert implements connection.Store.
func (s Connections) Insert(ctx context.Context, c connection.Stored) (int64, error) {
	var id int64
	err := s.db.Write(ctx, func(ctx context.Context) error {
		d := describe(c.Connection)
		err := s.db.QueryRow(ctx, insertConnection, c.UUID, c.EnvironmentID, c.IntegrationID, c.ConnectionID,
			string(c.Credentials.Mode()), c.SealedCredentials, c.SealedConfig, c.Version, engine.Micros(c.ExpiresAt),
			d.metadata, d.tags, d.endUser, d.endUserID, d.organizationID, d.search, c.WebhookURLOverride,
			engine.Micros(c.CreatedAt), engine.Micros(c.UpdatedAt), engine.Micros(c.LastFetchedAt)).Scan(&id)
		if engine.IsUnique(err) {
			return connection.ErrDuplicate
		}
		if err != nil {
			return fmt.Errorf("insert connection: %w", err)
		}
		return s.setTags(ctx, id, c.Tags)
	})
	return id, err
}

// Get implements connection.Store.
func (s Connections) Get(ctx context.Context, environmentID, integrationID int64, connectionID string) (connection.Stored, error) {
	return foundConnection(scanFullConnection(s.db.QueryRow(ctx, getConnection, environmentID, integrationID, connectionID)))
}

// GetByID implements connection.Store.
func (s Connections) GetByID(ctx context.Context, environmentID, id int64) (connection.Stored, error) {
	return foundConnection(scanFullConnection(s.db.QueryRow(ctx, getConnectionByID, environmentID, id)))
}

// Lock implements connection.Store. SQLite has one writer, which needs no lock.
func (s Connections) Lock(ctx context.Context, environmentID, id int64) (connection.Stored, error) {
	return foundConnection(scanFullConnection(s.db.QueryRow(ctx, lockConnection, environmentID, id)))
}

func foundConnection(c connection.Stored, err error) (connection.Stored, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return c, connection.ErrNotFound
	}
	if err != nil {
		return c, fmt.Errorf("get connection: %w", err)
	}
	return c, nil
}

// List implements connection.Store.
func (s Connections) List(ctx context.Context, environmentID int64, f connection.Filter) ([]connection.Stored, error) {
	search := ""
	if f.Search != "" {
		search = "%" + likeLiteral(strings.ToLower(f.Search)) + "%"
	}
	tags := make(engine.List[string], 0, len(f.Tags))
	for key, value := range f.Tags {
		tags = append(tags, key+"="+value)
	}
	if f.Limit == 0 {
		f.Limit = manyConnections
	}
	return engine.Collect(scanConnection)(s.db.Query(ctx, listConnections, environmentID, f.ConnectionID, search, f.EndUserID, f.OrganizationID,
		len(f.Integrations), engine.List[string](f.Integrations), len(tags), tags, f.Limit, f.Offset))
}

// Replace implements connection.Store.
func (s Connections) Replace(ctx context.Context, c connection.Stored) (int64, error) {
	var version int64
	err := s.db.Write(ctx, func(ctx context.Context) error {
		d := describe(c.Connection)
		err := s.db.QueryRow(ctx, replaceConnection, c.ID,
			string(c.Credentials.Mode()), c.SealedCredentials, c.SealedConfig, engine.Micros(c.ExpiresAt),
			d.metadata, d.tags, d.endUser, d.endUserID, d.organizationID, d.search, c.WebhookURLOverride,
			engine.Micros(c.UpdatedAt), engine.Micros(c.LastFetchedAt), c.EnvironmentID).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			return connection.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("replace connection: %w", err)
		}
		return s.setTags(ctx, c.ID, c.Tags)
	})
	return version, err
}

// Patch implements connection.Store.
func (s Connections) Patch(ctx context.Context, c connection.Stored) error {
	return s.db.Write(ctx, func(ctx context.Context) error {
		d := describe(c.Connection)
		_, err := s.db.Exec(ctx, patchConnection, c.ID, d.metadata, d.tags, d.endUser, d.endUserID, d.organizationID, d.search,
			c.WebhookURLOverride, engine.Micros(c.UpdatedAt), c.EnvironmentID)
		if err != nil {
			return fmt.Errorf("patch connection: %w", err)
		}
		return s.setTags(ctx, c.ID, c.Tags)
	})
}

// SetErrors implements connection.Store.
func (s Connections) SetErrors(ctx context.Context, environmentID, id int64, active []connection.ActiveError, now time.Time) error {
	_, err := s.db.Exec(ctx, setConnectionErrors, environmentID, id, jsonText(orNone(active)), engine.Micros(now))
	return err
}

// Delete implements connection.Store.
func (s Connections) Delete(ctx context.Context, environmentID, id int64) (bool, error) {
	n, err := s.db.Exec(ctx, deleteConnection, environmentID, id)
	return n > 0, err
}

// Touch implements connection.Store.
func (s Connections) Touch(ctx context.Context, fetched map[int64]time.Time) error {
	return s.db.Write(ctx, func(ctx context.Context) error {
		for id, at := range fetched {
			if _, err := s.db.Exec(ctx, touchConnection, id, engine.Micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s Connections) setTags(ctx context.Context, id int64, tags map[string]string) error {
	if _, err := s.db.Exec(ctx, clearConnectionTags, id); err != nil {
		return fmt.Errorf("clear tags: %w", err)
	}
	for key, value := range tags {
		if _, err := s.db.Exec(ctx, insertConnectionTags, id, key, value); err != nil {
			return fmt.Errorf("insert tag: %w", err)
		}
	}
	return nil
}

// description is what of a connection is stored as text, and what the list filters by.
type description struct {
	metadata, endUser                       sql.NullString
	tags, endUserID, organizationID, search string
}

func describe(c connection.Connection) description {
	d := description{tags: "{}", metadata: sql.NullString{String: string(c.Metadata), Valid: len(c.Metadata) > 0}}
	if len(c.Tags) > 0 {
		d.tags = jsonText(c.Tags)
	}
	search := []string{c.ConnectionID}
	if u := c.EndUser; u != nil {
		d.endUser = sql.NullString{String: jsonText(u), Valid: true}
		d.endUserID = u.ID
		if u.Organization != nil {
			d.organizationID = u.Organization.ID
		}
		for _, part := range []*string{u.DisplayName, u.Email} {
			if part != nil {
				search = append(search, *part)
			}
		}
	} else {
		d.endUserID, d.organizationID = c.Tags["end_user_id"], c.Tags["organization_id"]
		search = append(search, c.Tags["end_user_display_name"], c.Tags["end_user_email"])
	}
	d.search = strings.ToLower(strings.Join(search, "\n"))
	return d
}

func scanConnection(row engine.Scanner) (connection.Stored, error) { return scanConnectionWith(row) }

func scanFullConnection(row engine.Scanner) (connection.Stored, error) {
	var credentials, config []byte
	c, err := scanConnectionWith(row, &credentials, &config)
	c.SealedCredentials, c.SealedConfig = credentials, config
	return c, err
}

func scanConnectionWith(row engine.Scanner, more ...any) (connection.Stored, error) {
	var c connection.Stored
	var expires, failedAt, created, updated, fetched int64
	var metadata, endUser sql.NullString
	var tags, active string
	columns := []any{
		&c.ID, &c.UUID, &c.EnvironmentID, &c.IntegrationID, &c.IntegrationKey, &c.Provider, &c.ConnectionID, &c.Version, &expires,
		&metadata, &tags, &endUser, &c.WebhookURLOverride, &active,
		&c.Refresh.Failures, &failedAt, &c.Refresh.NeedsReconnect, &c.Refresh.Code, &c.Refresh.Message,
		&created, &updated, &fetched,
	}
	err := row.Scan(append(columns, more...)...)
	if err != nil {
		return c, err
	}
	c.ExpiresAt, c.Refresh.LastFailure = engine.Time(expires), engine.Time(failedAt)
	c.CreatedAt, c.UpdatedAt, c.LastFetchedAt = engine.Time(created), engine.Time(updated), engine.Time(fetched)
	if metadata.Valid {
		c.Metadata = json.RawMessage(metadata.String)
	}
	var errs [3]error
	if tags != "{}" {
		errs[0] = json.Unmarshal([]byte(tags), &c.Tags)
	}
	if endUser.Valid {
		errs[1] = json.Unmarshal([]byte(endUser.String), &c.EndUser)
	}
	if active != "[]" {
		errs[2] = json.Unmarshal([]byte(active), &c.Errors)
	}
	return c, errors.Join(errs[:]...)
}

// jsonText marshals what is known to marshal: strings, and maps, lists and structs of them.
func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// likeLiteral escapes what LIKE treats as a pattern; the statement says ESCAPE '\'.
func likeLiteral(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
