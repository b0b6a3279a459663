-- The network of a user's programs and forwards, and the places that it may forward to and listen on.
ALTER TABLE users ADD COLUMN network TEXT NOT NULL DEFAULT 'own';
ALTER TABLE users ADD COLUMN permit_open TEXT NOT NULL DEFAULT 'any';
ALTER TABLE users ADD COLUMN permit_listen TEXT NOT NULL DEFAULT 'any';
