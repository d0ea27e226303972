-- Webhooks to the app: one row per event and endpoint, and one per attempt.
CREATE TABLE deliveries (
	id              TEXT PRIMARY KEY,
	event_id        TEXT NOT NULL,
	environment_id  BIGINT NOT NULL REFERENCES environments(id),
	connection_id   BIGINT NOT NULL, -- no reference: a delivery outlives its connection
	connection_name TEXT NOT NULL,
	integration     TEXT NOT NULL,
	type            TEXT NOT NULL,
	url             TEXT NOT NULL,
	body            BLOB NOT NULL,
	operation_id    TEXT NOT NULL,
	state           TEXT NOT NULL,
	attempts        BIGINT NOT NULL, -- begun
	created_at      BIGINT NOT NULL,
	ended_at        BIGINT NOT NULL  -- 0 while pending
);

CREATE INDEX deliveries_by_event ON deliveries (event_id);
CREATE INDEX deliveries_by_age ON deliveries (environment_id, created_at DESC, id DESC);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE state <> 'pending';

CREATE TABLE delivery_attempts (
	delivery_id TEXT NOT NULL REFERENCES deliveries(id) ON DELETE CASCADE,
	number      BIGINT NOT NULL,
	started_at  BIGINT NOT NULL,
	duration_us BIGINT NOT NULL,
	status      BIGINT NOT NULL, -- 0: no answer
	headers     TEXT NOT NULL,
	body        BLOB,
	error       TEXT NOT NULL,
	PRIMARY KEY (delivery_id, started_at, number)
);
