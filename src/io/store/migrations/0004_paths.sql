-- Phones behind a proxy (RFC 3327): the Route values, one a line. Phones with several flows (RFC 5626): which one.

ALTER TABLE binding ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE binding ADD COLUMN reg_id INTEGER;
