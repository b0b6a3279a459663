-- Who is not to come in: a block of addresses, a name, or the one from the other ('' for none). ends: NULL for never.
-- origin: 'operator', or 'penalty' for a source that a node penalises and the others are to know of.
CREATE TABLE bans (
    id     INTEGER PRIMARY KEY,
    block  TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    origin TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    made   BIGINT  NOT NULL,
    ends   BIGINT,
    UNIQUE (block, name)
);
