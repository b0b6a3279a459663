-- When and from where accounts, users and keys may be used (seconds since 1970, NULL: for ever; a list of addresses, empty:
-- from everywhere), and what a key may do of what its user may (NULL: all of it). scope_paths has one path in a line.
ALTER TABLE accounts ADD COLUMN expires BIGINT;
ALTER TABLE accounts ADD COLUMN sources TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN expires BIGINT;
ALTER TABLE users ADD COLUMN sources TEXT NOT NULL DEFAULT '';
ALTER TABLE public_keys ADD COLUMN expires BIGINT;
ALTER TABLE public_keys ADD COLUMN sources TEXT NOT NULL DEFAULT '';
ALTER TABLE public_keys ADD COLUMN scope_paths TEXT;
ALTER TABLE public_keys ADD COLUMN scope_mode TEXT;
ALTER TABLE public_keys ADD COLUMN scope_services TEXT;
ALTER TABLE public_keys ADD COLUMN no_terminal BIGINT NOT NULL DEFAULT 0;
