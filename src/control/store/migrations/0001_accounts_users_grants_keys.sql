-- Accounts, their users, and what each user may reach and log in with. Times are seconds since 1970 (UTC).
CREATE TABLE accounts (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    uid     BIGINT  NOT NULL,
    gid     BIGINT  NOT NULL,
    home    TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    created BIGINT  NOT NULL
);
CREATE TABLE users (
    id       INTEGER PRIMARY KEY,
    account  BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name     TEXT    NOT NULL UNIQUE,
    services TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    created  BIGINT  NOT NULL
);
CREATE INDEX users_of_account ON users (account);
CREATE TABLE grants (
    id      INTEGER PRIMARY KEY,
    login   BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    path    TEXT    NOT NULL,
    mode    TEXT    NOT NULL,
    created BIGINT  NOT NULL,
    UNIQUE (login, path)
);
CREATE TABLE public_keys (
    id          INTEGER PRIMARY KEY,
    login       BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    encoded     BLOB    NOT NULL,
    label       TEXT    NOT NULL,
    created     BIGINT  NOT NULL,
    UNIQUE (login, fingerprint)
);
CREATE TABLE passwords (
    login   BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash    TEXT   NOT NULL,
    changed BIGINT NOT NULL
);
