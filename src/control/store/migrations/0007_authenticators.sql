-- Authenticators (RFC 6238): the secret in base32, and the last step whose code was taken, so that none is taken twice.
-- Recovery codes are random, so their SHA-256 is enough. logins: what has to be shown together (empty: as usual).
CREATE TABLE authenticators (
    login     BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret    TEXT   NOT NULL,
    last_step BIGINT NOT NULL,
    created   BIGINT NOT NULL
);
CREATE TABLE recovery_codes (
    login BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash  TEXT   NOT NULL,
    PRIMARY KEY (login, hash)
);
ALTER TABLE users ADD COLUMN logins TEXT NOT NULL DEFAULT '';
