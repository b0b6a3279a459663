-- What the programs of a user, and those of all users of an account together, may take (NULL: as the node says), and for how
-- many seconds a user's programs may outlive the last connection (NULL: they do not).
ALTER TABLE users ADD COLUMN max_memory TEXT;
ALTER TABLE users ADD COLUMN max_processes TEXT;
ALTER TABLE users ADD COLUMN max_cpu TEXT;
ALTER TABLE users ADD COLUMN linger BIGINT;
ALTER TABLE accounts ADD COLUMN max_memory TEXT;
ALTER TABLE accounts ADD COLUMN max_processes TEXT;
ALTER TABLE accounts ADD COLUMN max_cpu TEXT;
