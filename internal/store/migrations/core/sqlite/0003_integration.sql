-- A provider configured in an environment.
CREATE TABLE integrations (
	id               INTEGER PRIMARY KEY,
	uuid             TEXT NOT NULL UNIQUE,
	environment_id   BIGINT NOT NULL REFERENCES environments(id),
	key              TEXT NOT NULL,
	provider         TEXT NOT NULL,
	display_name     TEXT NOT NULL,
	forward_webhooks BOOLEAN NOT NULL,
	secrets          BLOB, -- sealed; NULL when there are none
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	UNIQUE (environment_id, key)
);
