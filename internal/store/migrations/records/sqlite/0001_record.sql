-- How many live records a connection has of a model.
CREATE TABLE record_counts (
	connection_id BIGINT NOT NULL,
	model         TEXT NOT NULL,
	count         BIGINT NOT NULL,
	size_bytes    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL,
	PRIMARY KEY (connection_id, model)
);
