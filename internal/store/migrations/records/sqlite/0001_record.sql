-- A stream is all records of one model of a connection; model is its full name, Model or Model::variant.
CREATE TABLE record_streams (
	id             INTEGER PRIMARY KEY,
	environment_id BIGINT NOT NULL,
	connection_id  BIGINT NOT NULL,
	model          TEXT NOT NULL,
	clock          BIGINT NOT NULL, -- the greatest updated_at that was given out
	version        BIGINT NOT NULL, -- grows with every change of a record
	live           BIGINT NOT NULL, -- records that are not deleted
	size_bytes     BIGINT NOT NULL, -- sum of records.size_bytes
	pruned_to      BIGINT NOT NULL, -- no record up to this updated_at has a payload
	touched_at     BIGINT NOT NULL, -- when a run last used the stream, to the hour
	UNIQUE (connection_id, model)
);

-- A record without its payload: small, because every run looks at all of its records and marks them as seen. The times are
-- 0 where they are not set.
CREATE TABLE records (
	id          INTEGER PRIMARY KEY,
	stream_id   BIGINT NOT NULL,
	external_id TEXT NOT NULL,
	hash        BLOB NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	deleted_at  BIGINT NOT NULL,
	pruned_at   BIGINT NOT NULL,
	generation  BIGINT NOT NULL, -- the latest run that had it
	size_bytes  BIGINT NOT NULL  -- of the JSON; 0 when pruned
);

CREATE UNIQUE INDEX records_by_external_id ON records (stream_id, external_id);

-- The order in which clients read; every change gets a time of its own.
CREATE UNIQUE INDEX records_by_time ON records (stream_id, updated_at);

-- What the record holds, packed and sealed; none when pruned.
CREATE TABLE record_payloads (
	record_id INTEGER PRIMARY KEY,
	payload   BLOB NOT NULL
);

-- Where functions left off. fields is NULL when the checkpoint was cleared: the version must go on.
CREATE TABLE checkpoints (
	connection_id  BIGINT NOT NULL,
	name           TEXT NOT NULL,
	environment_id BIGINT NOT NULL,
	fields         TEXT,
	version        BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL,
	PRIMARY KEY (connection_id, name)
);
