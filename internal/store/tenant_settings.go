package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-dev/patchbay/internal/store/engine"
	"github.com/patchbay-dev/patchbay/internal/tenant"
)

// existing is the part of a statement on settings that checks the account.
const existing = `environment_id = $1
	AND EXISTS (SELECT 1 FROM environments e WHERE e.id = $1 AND e.account_id = $2 AND e.deleted_at = 0)`

var (
	insertSettings = engine.SQL(`INSERT INTO environment_settings (environment_id, environment_uuid, primary_url, secondary_url,
			on_auth_creation, on_auth_refresh_error, on_sync_completion_always, on_sync_error, on_async_action_completion, forward_webhooks,
			callback_url, otlp_endpoint, retention_days, signing_key_version, previous_until, updated_at, signing_key)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16)`)
	getSettings = engine.SQL(`SELECT s.primary_url, s.secondary_url,
			s.on_auth_creation, s.on_auth_refresh_error, s.on_sync_completion_always, s.on_sync_error,
			s.on_async_action_completion, s.forward_webhooks,
			s.callback_url, s.otlp_endpoint, s.retention_days, s.signing_key_version, s.previous_until, s.updated_at,
			s.signing_key, s.previous_signing_key, s.otlp_headers, ` + environmentColumns + `
		FROM environment_settings s JOIN environments e ON e.id = s.environment_id AND e.deleted_at = 0
		WHERE s.environment_id = $1`)
	updateSettings = engine.SQL(`UPDATE environment_settings SET
			primary_url                = COALESCE($3, primary_url),
			secondary_url              = COALESCE($4, secondary_url),
			callback_url               = COALESCE($5, callback_url),
			on_auth_creation           = COALESCE($6, on_auth_creation),
			on_auth_refresh_error      = COALESCE($7, on_auth_refresh_error),
			on_sync_completion_always  = COALESCE($8, on_sync_completion_always),
			on_sync_error              = COALESCE($9, on_sync_error),
			on_async_action_completion = COALESCE($10, on_async_action_completion),
			forward_webhooks           = COALESCE($11, forward_webhooks),
			otlp_endpoint              = COALESCE($12, otlp_endpoint),
			otlp_headers               = COALESCE($13, otlp_headers),
			retention_days             = COALESCE($14, retention_days),
			updated_at                 = $15
		WHERE ` + existing)
	swapSigningKey = engine.SQL(`UPDATE environment_settings SET
			signing_key = $4, previous_signing_key = $5, previous_until = $6, updated_at = $7, signing_key_version = signing_key_version + 1
		WHERE ` + existing + ` AND signing_key_version = $3`)
	getVariables = engine.SQL(`SELECT s.variables FROM environment_settings s JOIN environments e ON e.id = s.environment_id
		WHERE e.id = $1 AND e.account_id = $2 AND e.deleted_at = 0`)
	setVariables = engine.SQL(`UPDATE environment_settings SET variables = $3, updated_at = $4 WHERE ` + existing)
)

// InsertSettings stores the settings of a new environment.
func (s Tenants) InsertSettings(ctx context.Context, in tenant.StoredSettings) error {
	n := in.Notifications
	_, err := s.core.Exec(ctx, insertSettings, in.Environment.ID, in.Environment.UUID, in.PrimaryURL, in.SecondaryURL,
		n.OnAuthCreation, n.OnAuthRefreshError, n.OnSyncCompletionAlways, n.OnSyncError, n.OnAsyncActionCompletion, n.ForwardWebhooks,
		in.CallbackURL, in.OTLPEndpoint, in.RetentionDays, in.SigningKeyVersion, engine.Micros(in.UpdatedAt), in.SigningKey)
	if err != nil {
		return fmt.Errorf("insert the settings: %w", err)
	}
	return nil
}

// Settings reads the settings of an environment that was not deleted.
func (s Tenants) Settings(ctx context.Context, environmentID int64) (tenant.StoredSettings, error) {
	var (
		out                      tenant.StoredSettings
		n                        = &out.Notifications
		previousUntil, updatedAt int64
		environment              environmentScan
	)
	fields := []any{
		&out.PrimaryURL, &out.SecondaryURL,
		&n.OnAuthCreation, &n.OnAuthRefreshError, &n.OnSyncCompletionAlways, &n.OnSyncError, &n.OnAsyncActionCompletion, &n.ForwardWebhooks,
		&out.CallbackURL, &out.OTLPEndpoint, &out.RetentionDays, &out.SigningKeyVersion, &previousUntil, &updatedAt,
		&out.SigningKey, &out.PreviousSigningKey, &out.OTLPHeaders,
	}
	err := s.core.QueryRow(ctx, getSettings, environmentID).Scan(append(fields, environment.fields()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return out, tenant.ErrEnvironmentNotFound
	}
	out.Environment = environment.environment()
	out.PreviousUntil, out.UpdatedAt = engine.Time(previousUntil), engine.Time(updatedAt)
	return out, err
}

// UpdateSettings changes what u names.
func (s Tenants) UpdateSettings(ctx context.Context, e tenant.Environment, u tenant.StoredUpdate) error {
	return s.changeSettings(ctx, updateSettings, e.ID, e.AccountID, u.PrimaryURL, u.SecondaryURL, u.CallbackURL,
		u.OnAuthCreation, u.OnAuthRefreshError, u.OnSyncCompletionAlways, u.OnSyncError, u.OnAsyncActionCompletion, u.ForwardWebhooks,
		u.OTLPEndpoint, nullBytes(u.SealedOTLPHeaders), u.RetentionDays, engine.Micros(u.At))
}

// SwapSigningKey replaces the signing keys if they are still of the version of in.
func (s Tenants) SwapSigningKey(ctx context.Context, in tenant.StoredSettings, at time.Time) (bool, error) {
	n, err := s.core.Exec(ctx, swapSigningKey, in.Environment.ID, in.Environment.AccountID, in.SigningKeyVersion,
		in.SigningKey, nullBytes(in.PreviousSigningKey), engine.Micros(in.PreviousUntil), engine.Micros(at))
	return n == 1, err
}

// Variables reads the sealed variables.
func (s Tenants) Variables(ctx context.Context, e tenant.Environment) (sealed []byte, _ error) {
	err := s.core.QueryRow(ctx, getVariables, e.ID, e.AccountID).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tenant.ErrEnvironmentNotFound
	}
	return sealed, err
}

// SetVariables replaces the sealed variables.
func (s Tenants) SetVariables(ctx context.Context, e tenant.Environment, sealed []byte, at time.Time) error {
	return s.changeSettings(ctx, setVariables, e.ID, e.AccountID, sealed, engine.Micros(at))
}

func (s Tenants) changeSettings(ctx context.Context, q *engine.Query, args ...any) error {
	n, err := s.core.Exec(ctx, q, args...)
	if err == nil && n == 0 {
		return tenant.ErrEnvironmentNotFound
	}
	return err
}

// nullBytes makes nil a NULL; a driver may take it for an empty value.
func nullBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
