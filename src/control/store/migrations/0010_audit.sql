-- What happened (docs/audit.md). at: milliseconds since 1970 (UTC); record: the event as one JSON object, whose most sought
-- fields are columns too; login: the user.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY,
    at         BIGINT  NOT NULL,
    connection TEXT,
    account    TEXT,
    login      TEXT,
    kind       TEXT    NOT NULL,
    path       TEXT,
    other_path TEXT,
    record     TEXT    NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_account ON audit (account, at);
CREATE INDEX audit_by_login ON audit (login, at);
