-- Operations and messages of one UTC day. The file holds one day, so that dropping the day gives its space back; the column
-- day (days since 1970) is the same in all rows and lets the statements be those of the other engine.

CREATE TABLE logs_operations (
    num            INTEGER PRIMARY KEY,
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
    record         BLOB NOT NULL,
    UNIQUE (day, id)
);

-- Each ends with num without naming it, as all SQLite indexes do.
CREATE INDEX logs_operations_created ON logs_operations (environment_id, created_at);
CREATE INDEX logs_operations_type ON logs_operations (environment_id, type, created_at);
CREATE INDEX logs_operations_state ON logs_operations (environment_id, state, created_at);
CREATE INDEX logs_operations_integration ON logs_operations (environment_id, integration, created_at);
CREATE INDEX logs_operations_connection ON logs_operations (environment_id, connection, created_at);
CREATE INDEX logs_operations_function ON logs_operations (environment_id, function, created_at);
CREATE INDEX logs_operations_open ON logs_operations (expires_at) WHERE state IN ('waiting', 'running');

-- Messages of one operation, in order; id is num * 2^20 plus the number of the chunk, so they lie next to each other.
CREATE TABLE logs_chunks (
    id         INTEGER PRIMARY KEY,
    day        BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    -- How many messages; 0 for a chunk that only makes the operation's own fields searchable.
    messages   BIGINT NOT NULL,
    -- A zstd-compressed JSON array.
    data       BLOB NOT NULL
);

-- The words of each chunk, under its id. They are already lower-case letters and digits with single spaces between them.
CREATE VIRTUAL TABLE logs_terms USING fts5 (words, content = '', columnsize = 0, detail = full, tokenize = 'ascii');
