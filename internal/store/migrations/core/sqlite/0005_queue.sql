-- Durable jobs and schedules. The rules are in package queue; the numbers of the states are in internal/store/queue.go.
CREATE TABLE jobs (
	id             INTEGER PRIMARY KEY AUTOINCREMENT, -- an id is never given twice: old holders of a job must not meet a new one
	queue          TEXT NOT NULL,
	kind           TEXT NOT NULL,
	environment_id BIGINT NOT NULL, -- 0: the platform itself
	priority       INTEGER NOT NULL,
	args           TEXT NOT NULL,
	lock_key       TEXT,
	lock_limit     INTEGER NOT NULL,
	lock_slot      INTEGER NOT NULL DEFAULT 0, -- which of the lock_limit places a running job has
	group_key      TEXT,
	group_limit    INTEGER NOT NULL, -- 0: no limit
	max_attempts   INTEGER NOT NULL,
	timeout        BIGINT NOT NULL, -- 0: the worker's, negative: none
	unique_key     TEXT,
	schedule_id    BIGINT,
	state          INTEGER NOT NULL,
	turn           BIGINT NOT NULL, -- place in line among the ready jobs of a queue and priority
	run_at         BIGINT NOT NULL,
	held_on        TEXT, -- k:lock_key or g:group_key
	held_limit     INTEGER NOT NULL DEFAULT 0,
	attempt        INTEGER NOT NULL DEFAULT 0,
	lost           INTEGER NOT NULL DEFAULT 0,
	lease          BIGINT NOT NULL DEFAULT 0, -- token of the claim
	lease_until    BIGINT NOT NULL DEFAULT 0,
	cancelled      BOOLEAN NOT NULL DEFAULT FALSE,
	last_error     TEXT NOT NULL DEFAULT '',
	created_at     BIGINT NOT NULL
);

-- Every index but the last three holds the jobs of one state only, so a job is in two or three of them at a time.
CREATE INDEX jobs_waiting ON jobs (run_at) WHERE state = 0;
CREATE INDEX jobs_ready ON jobs (queue, priority, turn, id) WHERE state = 1;
CREATE INDEX jobs_ready_tenant ON jobs (queue, priority, environment_id, turn) WHERE state = 1;
CREATE INDEX jobs_lease ON jobs (lease_until) WHERE state = 2;
CREATE UNIQUE INDEX jobs_lock ON jobs (lock_key, lock_slot) WHERE state = 2 AND lock_key IS NOT NULL;
CREATE INDEX jobs_held ON jobs (held_on, held_limit DESC, priority, id) WHERE state = 3;
CREATE INDEX jobs_group ON jobs (group_key, state) WHERE group_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE unique_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_schedule ON jobs (schedule_id) WHERE schedule_id IS NOT NULL;

-- Jobs that failed for good.
CREATE TABLE jobs_dead (
	id             BIGINT PRIMARY KEY,
	queue          TEXT NOT NULL,
	kind           TEXT NOT NULL,
	environment_id BIGINT NOT NULL,
	priority       INTEGER NOT NULL,
	args           TEXT NOT NULL,
	lock_key       TEXT,
	lock_limit     INTEGER NOT NULL,
	group_key      TEXT,
	group_limit    INTEGER NOT NULL,
	max_attempts   INTEGER NOT NULL,
	timeout        BIGINT NOT NULL,
	unique_key     TEXT,
	attempt        INTEGER NOT NULL,
	lost           INTEGER NOT NULL,
	error          TEXT NOT NULL,
	created_at     BIGINT NOT NULL,
	died_at        BIGINT NOT NULL
);

CREATE INDEX jobs_dead_tenant ON jobs_dead (environment_id, id);
CREATE INDEX jobs_dead_age ON jobs_dead (died_at);

CREATE TABLE schedules (
	id             INTEGER PRIMARY KEY,
	key            TEXT NOT NULL UNIQUE,
	queue          TEXT NOT NULL,
	kind           TEXT NOT NULL,
	environment_id BIGINT NOT NULL,
	priority       INTEGER NOT NULL,
	args           TEXT NOT NULL,
	lock_key       TEXT,
	lock_limit     INTEGER NOT NULL,
	group_key      TEXT,
	group_limit    INTEGER NOT NULL,
	max_attempts   INTEGER NOT NULL,
	timeout        BIGINT NOT NULL,
	period         BIGINT NOT NULL, -- microseconds, as everywhere
	anchor         BIGINT NOT NULL,
	next_at        BIGINT NOT NULL,
	state          INTEGER NOT NULL,
	last_job_id    BIGINT NOT NULL DEFAULT 0,
	last_job_state INTEGER NOT NULL DEFAULT 0,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL
);

CREATE INDEX schedules_due ON schedules (next_at) WHERE state = 1 AND last_job_state <> 1;
CREATE INDEX schedules_deleted ON schedules (updated_at) WHERE state = 3;
