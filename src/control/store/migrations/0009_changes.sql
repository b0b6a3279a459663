-- What was changed, in order, for every node that uses this database. The count is one row, so changes are made one after
-- the other and a later one never shows before an earlier one.
CREATE TABLE change_count (
    id     BIGINT PRIMARY KEY,
    latest BIGINT NOT NULL
);
INSERT INTO change_count (id, latest) VALUES (1, 0);
CREATE TABLE changes (
    id    BIGINT PRIMARY KEY,
    about TEXT   NOT NULL,
    made  BIGINT NOT NULL
);
