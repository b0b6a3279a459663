-- Days and times at which one may log in, such as "mon-fri 08:00-18:00 in Europe/Paris" (NULL: at all times).
ALTER TABLE accounts ADD COLUMN hours TEXT;
ALTER TABLE users ADD COLUMN hours TEXT;
ALTER TABLE public_keys ADD COLUMN hours TEXT;
ALTER TABLE authorities ADD COLUMN hours TEXT;
ALTER TABLE invitations ADD COLUMN hours TEXT;
