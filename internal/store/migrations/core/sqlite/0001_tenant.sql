-- Tenants: who calls, in which environment, with which key.
CREATE TABLE accounts (
	id         INTEGER PRIMARY KEY,
	name       TEXT NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE environments (
	id            INTEGER PRIMARY KEY,
	uuid          TEXT NOT NULL UNIQUE,
	account_id    BIGINT NOT NULL REFERENCES accounts(id),
	name          TEXT NOT NULL,
	is_production BOOLEAN NOT NULL,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL,
	UNIQUE (account_id, name)
);
