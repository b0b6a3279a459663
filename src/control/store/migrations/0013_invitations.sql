-- Where a key comes from: operator, invite (an invitation was taken up with it) or own (the user's authorized_keys).
ALTER TABLE public_keys ADD COLUMN origin TEXT NOT NULL DEFAULT 'operator';
-- One-time names. hash: SHA-256 of the secret, which is random. ends: until when it can be taken up; the rest is what the key
-- gets that takes it up. redeemed, fingerprint: when, and by which key.
CREATE TABLE invitations (
    id             INTEGER PRIMARY KEY,
    login          BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash           TEXT    NOT NULL UNIQUE,
    label          TEXT    NOT NULL,
    ends           BIGINT  NOT NULL,
    redeemed       BIGINT,
    fingerprint    TEXT,
    expires        BIGINT,
    sources        TEXT    NOT NULL DEFAULT '',
    scope_paths    TEXT,
    scope_mode     TEXT,
    scope_services TEXT,
    no_terminal    BIGINT  NOT NULL DEFAULT 0,
    scope_command  TEXT,
    scope_open     TEXT,
    scope_listen   TEXT,
    created        BIGINT  NOT NULL
);
CREATE INDEX invitations_of_user ON invitations (login);
-- Whether the keys are taken that a user puts into its own authorized_keys, and which of them were taken back.
ALTER TABLE users ADD COLUMN own_keys TEXT NOT NULL DEFAULT 'refused';
CREATE TABLE refused_keys (
    login       BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    fingerprint TEXT   NOT NULL,
    created     BIGINT NOT NULL,
    PRIMARY KEY (login, fingerprint)
);
