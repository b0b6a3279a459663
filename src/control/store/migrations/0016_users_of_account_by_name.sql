-- For users of one account by name, page by page, among very many.
CREATE INDEX users_of_account_by_name ON users (account, name);
