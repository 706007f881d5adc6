-- What programs of the company are told, in the order in which it became true.
CREATE TABLE event (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    number TEXT,
    call   INTEGER,
    phone  TEXT,
    bsuid  TEXT,
    detail TEXT
);
CREATE INDEX event_at ON event (at);

-- How far each receiver of events has got.
CREATE TABLE hook (
    name      TEXT PRIMARY KEY NOT NULL,
    delivered INTEGER NOT NULL
) WITHOUT ROWID;

-- Requests that were sent with an Idempotency-Key, and what they were answered; no status: not answered yet.
CREATE TABLE asked (
    token       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    at          INTEGER NOT NULL,
    status      INTEGER,
    body        TEXT,
    PRIMARY KEY (token, key)
) WITHOUT ROWID;
CREATE INDEX asked_at ON asked (at);
CREATE INDEX call_number_opened ON call (number, opened);
