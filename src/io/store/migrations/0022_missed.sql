-- Calls of users that nobody took, until somebody talks to the user or says that it is done.
CREATE TABLE missed (
    call       INTEGER PRIMARY KEY,
    number     TEXT NOT NULL,
    phone      TEXT,
    bsuid      TEXT,
    at         INTEGER NOT NULL,
    -- Who is calling back, since when.
    claimed_by TEXT,
    claimed_at INTEGER,
    settled    INTEGER,
    settled_by TEXT
);
CREATE INDEX missed_open ON missed (at) WHERE settled IS NULL;
CREATE INDEX missed_phone ON missed (number, phone) WHERE settled IS NULL;
CREATE INDEX missed_bsuid ON missed (number, bsuid) WHERE settled IS NULL;
