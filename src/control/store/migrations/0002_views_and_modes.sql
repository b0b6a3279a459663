-- How a user sees its grants (NULL: as its services suggest), and whether programs in a grant may be run.
ALTER TABLE users ADD COLUMN view TEXT;
ALTER TABLE grants ADD COLUMN no_exec BIGINT NOT NULL DEFAULT 0;
