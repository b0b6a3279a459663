-- Sessions of which there may be only so many at the same time, on all nodes of this database.
-- monitors: each run of one by a random number, and when it was last heard of by the clock of the database.
CREATE TABLE monitors (
    id   BIGINT PRIMARY KEY,
    seen BIGINT NOT NULL
);
CREATE TABLE seats (
    monitor BIGINT NOT NULL,
    conn    BIGINT NOT NULL,
    account TEXT   NOT NULL,
    login   TEXT   NOT NULL,
    key     TEXT   NOT NULL,
    PRIMARY KEY (monitor, conn)
);
CREATE INDEX seats_of_account ON seats (account);
-- Whoever takes a seat waits here for others of the same account; accounts share the rows.
CREATE TABLE seat_turns (
    id    INTEGER PRIMARY KEY,
    taken BIGINT  NOT NULL
);
INSERT INTO seat_turns (id, taken)
    WITH RECURSIVE number (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM number WHERE id < 63) SELECT id, 0 FROM number;
