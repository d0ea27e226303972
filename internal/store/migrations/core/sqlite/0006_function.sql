-- Deployed functions. Texts are stored once, under the hash of their contents.
CREATE TABLE function_texts (
	hash TEXT PRIMARY KEY,
	text TEXT NOT NULL
);

CREATE TABLE functions (
	id             INTEGER PRIMARY KEY,
	environment_id BIGINT NOT NULL REFERENCES environments(id),
	integration_id BIGINT NOT NULL REFERENCES integrations(id),
	name           TEXT NOT NULL,
	type           TEXT NOT NULL,
	version        TEXT NOT NULL,
	active         BOOLEAN NOT NULL, -- one of a name and type; older versions stay
	enabled        BOOLEAN NOT NULL,
	source         TEXT NOT NULL,
	sdk_version    TEXT NOT NULL,
	definition     TEXT NOT NULL,
	js             TEXT NOT NULL REFERENCES function_texts(hash),
	ts             TEXT NOT NULL REFERENCES function_texts(hash),
	created_at     BIGINT NOT NULL
);

CREATE UNIQUE INDEX functions_active ON functions (environment_id, integration_id, type, name) WHERE active;
CREATE INDEX functions_by_integration ON functions (integration_id);
