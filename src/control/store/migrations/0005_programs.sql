-- How a user's programs are run (NULL: nothing is said about it), and when and from where a user with a shell logged in last.
ALTER TABLE users ADD COLUMN shell TEXT;
ALTER TABLE users ADD COLUMN forced_command TEXT;
ALTER TABLE users ADD COLUMN terminals TEXT NOT NULL DEFAULT 'allowed';
ALTER TABLE users ADD COLUMN last_login BIGINT;
ALTER TABLE users ADD COLUMN last_from TEXT;
