-- The keysets that seal values and make lookup digests; each is sealed by the master key, which is not in the database.
CREATE TABLE vault_keysets (
	name          TEXT PRIMARY KEY,
	version       BIGINT NOT NULL,
	master_key_id TEXT NOT NULL,
	sealed        BYTEA NOT NULL,
	staged_key_id BIGINT NOT NULL,
	staged_at     BIGINT NOT NULL,
	clean_since   BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL
);
