-- What a key runs whatever is asked for, and where it may forward to and from (NULL: as its user).
ALTER TABLE public_keys ADD COLUMN scope_command TEXT;
ALTER TABLE public_keys ADD COLUMN scope_open TEXT;
ALTER TABLE public_keys ADD COLUMN scope_listen TEXT;
-- Authorities whose certificates are taken: for one user, for the users of one account, or (both NULL) for all. principals:
-- names, one in a line, of which a certificate has to say one (empty: the user's own). The rest is as with keys.
CREATE TABLE authorities (
    id             INTEGER PRIMARY KEY,
    account        BIGINT  REFERENCES accounts (id) ON DELETE CASCADE,
    login          BIGINT  REFERENCES users (id) ON DELETE CASCADE,
    fingerprint    TEXT    NOT NULL,
    algorithm      TEXT    NOT NULL,
    label          TEXT    NOT NULL,
    principals     TEXT    NOT NULL DEFAULT '',
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
CREATE INDEX authorities_by_fingerprint ON authorities (fingerprint);
-- The same names for one user, whatever the authority.
ALTER TABLE users ADD COLUMN principals TEXT NOT NULL DEFAULT '';
-- What is not believed any more. kind: key (value: its SHA-256 as ssh-keygen prints it), sha1 (value: hexadecimal), and of the
-- certificates of an authority (its SHA-256; empty: of any) id (value: the key id) and serials (from and to; numbers are
-- moved by 2^63, so that their order is that of whole numbers without a sign).
CREATE TABLE revocations (
    id          INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL,
    authority   TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    from_serial BIGINT  NOT NULL,
    to_serial   BIGINT  NOT NULL,
    created     BIGINT  NOT NULL,
    UNIQUE (kind, authority, value, from_serial, to_serial)
);
CREATE INDEX revocations_by_value ON revocations (value);
