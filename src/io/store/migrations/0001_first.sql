-- Times are milliseconds since 1970 UTC. Users have up to two ids: phone digits and a scoped id.

CREATE TABLE counter (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('call', 0);

-- Which two ids belong to one user, as webhooks showed them together.
CREATE TABLE user_pair (
    phone TEXT PRIMARY KEY NOT NULL,
    bsuid TEXT NOT NULL UNIQUE
) WITHOUT ROWID;

-- What Meta told us. The key outlives the body: it is by the key that repetitions are known.
CREATE TABLE inbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT NOT NULL UNIQUE,
    body     TEXT NOT NULL,
    received INTEGER NOT NULL,
    handled  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX inbox_unhandled ON inbox (id) WHERE handled = 0;
CREATE INDEX inbox_received ON inbox (received);

CREATE TABLE call (
    id              INTEGER PRIMARY KEY,
    wa_call         TEXT,
    number          TEXT NOT NULL,
    phone_number_id TEXT NOT NULL,
    direction       TEXT NOT NULL,
    phone           TEXT,
    bsuid           TEXT,
    user_name       TEXT,
    endpoint_kind   TEXT,
    endpoint_name   TEXT,
    endpoint_number TEXT,
    opened          INTEGER NOT NULL,
    rang            INTEGER,
    answered        INTEGER,
    ended           INTEGER,
    cause           TEXT,
    fault           TEXT,
    meta_start      INTEGER,
    meta_end        INTEGER,
    meta_duration   INTEGER,
    sip_call_id     TEXT,
    media           TEXT,
    stages          TEXT,
    quality         TEXT,
    dialog          TEXT
);
CREATE INDEX call_open ON call (phone_number_id) WHERE ended IS NULL;
CREATE INDEX call_opened ON call (opened);
CREATE INDEX call_wa ON call (wa_call);

-- Leave to make one business-initiated call. `connected` set: it was picked up and counts in the windows.
CREATE TABLE reservation (
    call      INTEGER PRIMARY KEY,
    number    TEXT NOT NULL,
    phone     TEXT,
    bsuid     TEXT,
    reserved  INTEGER NOT NULL,
    connected INTEGER,
    ended     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX reservation_reserved ON reservation (number, reserved);
CREATE INDEX reservation_connected ON reservation (number, connected) WHERE connected IS NOT NULL;
CREATE INDEX reservation_phone ON reservation (number, phone, connected);
CREATE INDEX reservation_bsuid ON reservation (number, bsuid, connected);
CREATE INDEX reservation_in_flight ON reservation (number) WHERE connected IS NULL AND ended = 0;

-- Everything ever said about a permission; what holds is folded from it. Lines are only added.
CREATE TABLE permission_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    number  TEXT NOT NULL,
    phone   TEXT,
    bsuid   TEXT,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    until   INTEGER,
    source  TEXT NOT NULL,
    context TEXT
);
CREATE INDEX permission_phone ON permission_log (number, phone);
CREATE INDEX permission_bsuid ON permission_log (number, bsuid);
