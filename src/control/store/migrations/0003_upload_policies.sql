-- How what a user uploads is written. NULL: nothing is said about it. Modes are octal texts; deny_names has one pattern in
-- a line.
ALTER TABLE users ADD COLUMN uploads TEXT NOT NULL DEFAULT 'direct';
ALTER TABLE users ADD COLUMN umask TEXT;
ALTER TABLE users ADD COLUMN file_mode TEXT;
ALTER TABLE users ADD COLUMN directory_mode TEXT;
ALTER TABLE users ADD COLUMN deny_names TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN max_file_size BIGINT;
