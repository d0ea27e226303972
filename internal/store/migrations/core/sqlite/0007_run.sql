-- Instances of syncs, their runs, asynchronous actions, and the locks of functions.
CREATE TABLE syncs (
	id             TEXT PRIMARY KEY,
	environment_id BIGINT NOT NULL REFERENCES environments(id),
	connection_id  BIGINT NOT NULL REFERENCES connections(id),
	integration_id BIGINT NOT NULL REFERENCES integrations(id),
	name           TEXT NOT NULL, -- of the function
	variant        TEXT NOT NULL,
	frequency      TEXT NOT NULL, -- empty: the function's
	last_sync_at   BIGINT NOT NULL, -- 0: never
	created_at     BIGINT NOT NULL,
	UNIQUE (connection_id, name, variant)
);

CREATE INDEX syncs_by_integration ON syncs (integration_id, name);

CREATE TABLE runs (
	id             INTEGER PRIMARY KEY AUTOINCREMENT, -- records are marked with it: it must never go back
	sync_id        TEXT NOT NULL, -- no reference: a run outlives its sync
	environment_id BIGINT NOT NULL,
	connection_id  BIGINT NOT NULL,
	job_id         BIGINT NOT NULL,
	generation     BIGINT NOT NULL, -- 0: its own id
	type           TEXT NOT NULL,
	status         TEXT NOT NULL,
	result         TEXT NOT NULL,
	operation_id   TEXT NOT NULL,
	error          TEXT NOT NULL,
	interrupted    BOOLEAN NOT NULL,
	prepared       BOOLEAN NOT NULL,
	since          BIGINT NOT NULL,
	started_at     BIGINT NOT NULL,
	finished_at    BIGINT NOT NULL -- 0 while running
);

CREATE INDEX runs_by_sync ON runs (sync_id, id);
CREATE INDEX runs_by_connection ON runs (connection_id) WHERE status = 'RUNNING';
CREATE INDEX runs_by_end ON runs (finished_at);

CREATE TABLE action_calls (
	id             TEXT PRIMARY KEY,
	environment_id BIGINT NOT NULL,
	connection_id  BIGINT NOT NULL,
	integration    TEXT NOT NULL,
	action         TEXT NOT NULL,
	operation_id   TEXT NOT NULL,
	begun          BIGINT NOT NULL,
	max_attempts   BIGINT NOT NULL,
	input          BLOB, -- sealed, as are output and failure
	output         BLOB,
	failure        BLOB,
	created_at     BIGINT NOT NULL,
	ended_at       BIGINT NOT NULL -- 0 while waiting or running
);

CREATE INDEX action_calls_by_age ON action_calls (created_at);

CREATE TABLE function_locks (
	environment_id BIGINT NOT NULL,
	key            TEXT NOT NULL,
	owner          TEXT NOT NULL,
	expires_at     BIGINT NOT NULL,
	PRIMARY KEY (environment_id, key)
);

CREATE INDEX function_locks_by_owner ON function_locks (environment_id, owner);
