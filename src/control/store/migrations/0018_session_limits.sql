-- How many sessions there may be at the same time, and how long one may last (empty: no limit).
ALTER TABLE accounts ADD COLUMN session_limits TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN session_limits TEXT NOT NULL DEFAULT '';
ALTER TABLE public_keys ADD COLUMN session_limits TEXT NOT NULL DEFAULT '';
ALTER TABLE authorities ADD COLUMN session_limits TEXT NOT NULL DEFAULT '';
ALTER TABLE invitations ADD COLUMN session_limits TEXT NOT NULL DEFAULT '';
