-- Operations and messages, in a partition per UTC day (days since 1970), so that dropping the day gives its space back.
-- Partitions are made and dropped by the running process.

CREATE SEQUENCE logs_operation_num;

CREATE TABLE logs_operations (
    num            BIGINT NOT NULL DEFAULT nextval('logs_operation_num'),
    day            BIGINT NOT NULL,
    id             TEXT NOT NULL,
    environment_id BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    type           TEXT NOT NULL,
    kind           TEXT NOT NULL,
    state          TEXT NOT NULL,
    integration    TEXT NOT NULL,
    connection     TEXT NOT NULL,
    function       TEXT NOT NULL,
    expires_at     BIGINT NOT NULL,
    written_at     BIGINT NOT NULL,
    -- The whole operation as zstd-compressed JSON.
    record         BYTEA NOT NULL,
    -- The day comes last: it is the same in a whole partition, and an index that begins with it looks useful to the planner.
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

CREATE INDEX logs_operations_num ON logs_operations (num);
CREATE INDEX logs_operations_created ON logs_operations (environment_id, created_at, num);
CREATE INDEX logs_operations_type ON logs_operations (environment_id, type, created_at, num);
CREATE INDEX logs_operations_state ON logs_operations (environment_id, state, created_at, num);
CREATE INDEX logs_operations_integration ON logs_operations (environment_id, integration, created_at, num);
CREATE INDEX logs_operations_connection ON logs_operations (environment_id, connection, created_at, num);
CREATE INDEX logs_operations_function ON logs_operations (environment_id, function, created_at, num);
CREATE INDEX logs_operations_open ON logs_operations (expires_at) WHERE state IN ('waiting', 'running');
CREATE INDEX logs_operations_written ON logs_operations (written_at);

-- Messages of one operation, in order; id is num * 2^20 plus the number of the chunk, so they lie next to each other.
CREATE TABLE logs_chunks (
    id         BIGINT NOT NULL,
    day        BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    -- How many messages; 0 for a chunk that only makes the operation's own fields searchable.
    messages   BIGINT NOT NULL,
    -- A zstd-compressed JSON array. Compressing it once more would cost time for nothing.
    data       BYTEA NOT NULL,
    words      TSVECTOR NOT NULL,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

ALTER TABLE logs_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
-- Without fastupdate a search need not read through what was not merged yet.
CREATE INDEX logs_chunks_words ON logs_chunks USING gin (words) WITH (fastupdate = off);
CREATE INDEX logs_chunks_written ON logs_chunks (written_at);
