-- One end user's credential for one integration.
CREATE TABLE connections (
	id                   INTEGER PRIMARY KEY,
	uuid                 TEXT NOT NULL UNIQUE,
	environment_id       BIGINT NOT NULL REFERENCES environments(id),
	integration_id       BIGINT NOT NULL REFERENCES integrations(id),
	connection_id        TEXT NOT NULL,
	auth_mode            TEXT NOT NULL,
	credentials          BLOB NOT NULL, -- sealed
	config               BLOB NOT NULL, -- sealed connection_config
	version              BIGINT NOT NULL, -- of the credentials
	expires_at           BIGINT NOT NULL, -- of the credentials; 0 when they don't expire or can't be renewed
	metadata             TEXT,
	tags                 TEXT NOT NULL,
	end_user             TEXT,
	end_user_id          TEXT NOT NULL,
	organization_id      TEXT NOT NULL,
	search               TEXT NOT NULL, -- lower-case text that the list is searched in
	webhook_url_override TEXT NOT NULL,
	active_errors        TEXT NOT NULL,
	refresh_owner        TEXT NOT NULL, -- who holds the lease to refresh
	refresh_until        BIGINT NOT NULL,
	refresh_failures     BIGINT NOT NULL,
	refresh_failed_at    BIGINT NOT NULL,
	needs_reconnect      BOOLEAN NOT NULL,
	refresh_code         TEXT NOT NULL,
	refresh_message      TEXT NOT NULL,
	created_at           BIGINT NOT NULL,
	updated_at           BIGINT NOT NULL,
	last_fetched_at      BIGINT NOT NULL,
	UNIQUE (integration_id, connection_id)
);

CREATE INDEX connections_by_age ON connections (environment_id, created_at DESC, id DESC);
CREATE INDEX connections_by_end_user ON connections (environment_id, end_user_id);
CREATE INDEX connections_by_expiry ON connections (expires_at) WHERE expires_at > 0;

CREATE TABLE connection_tags (
	connection_id BIGINT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
	key           TEXT NOT NULL,
	value         TEXT NOT NULL,
	PRIMARY KEY (connection_id, key)
);

CREATE INDEX connection_tags_by_value ON connection_tags (key, value);
