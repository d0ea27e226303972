-- Tenants: who calls, in which environment, with which key.
CREATE TABLE accounts (
	id         INTEGER PRIMARY KEY,
	uuid       TEXT NOT NULL UNIQUE,
	name       TEXT NOT NULL UNIQUE,
	created_at BIGINT NOT NULL
);

CREATE TABLE environments (
	id            INTEGER PRIMARY KEY,
	uuid          TEXT NOT NULL UNIQUE,
	account_id    BIGINT NOT NULL REFERENCES accounts(id),
	name          TEXT NOT NULL,
	is_production BOOLEAN NOT NULL,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL,
	deleted_at    BIGINT NOT NULL DEFAULT 0 -- 0: it exists
);

CREATE UNIQUE INDEX environments_by_name ON environments (account_id, name) WHERE deleted_at = 0;

CREATE TABLE environment_settings (
	environment_id             BIGINT PRIMARY KEY REFERENCES environments(id),
	environment_uuid           TEXT NOT NULL UNIQUE, -- the identity of the sealed values
	primary_url                TEXT NOT NULL,
	secondary_url              TEXT NOT NULL,
	on_auth_creation           BOOLEAN NOT NULL,
	on_auth_refresh_error      BOOLEAN NOT NULL,
	on_sync_completion_always  BOOLEAN NOT NULL,
	on_sync_error              BOOLEAN NOT NULL,
	on_async_action_completion BOOLEAN NOT NULL,
	forward_webhooks           BOOLEAN NOT NULL,
	callback_url               TEXT NOT NULL,
	otlp_endpoint              TEXT NOT NULL,
	retention_days             BIGINT NOT NULL,
	signing_key_version        BIGINT NOT NULL,
	previous_until             BIGINT NOT NULL,
	updated_at                 BIGINT NOT NULL,
	signing_key                BLOB NOT NULL, -- sealed, as what follows
	previous_signing_key       BLOB,
	otlp_headers               BLOB,
	variables                  BLOB
);

CREATE TABLE api_keys (
	id             INTEGER PRIMARY KEY,
	uuid           TEXT NOT NULL UNIQUE,
	account_id     BIGINT NOT NULL REFERENCES accounts(id),
	environment_id BIGINT NOT NULL, -- 0: a key of the account
	display_name   TEXT NOT NULL,
	scopes         TEXT NOT NULL,
	hash           BLOB NOT NULL UNIQUE,
	secret         BLOB NOT NULL, -- sealed
	created_at     BIGINT NOT NULL,
	last_used_at   BIGINT NOT NULL,
	UNIQUE (account_id, environment_id, display_name)
);
