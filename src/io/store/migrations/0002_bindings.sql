-- Where phones are registered, so that a restarted gateway reaches them at once. `expires` in milliseconds
-- since 1970 UTC, `q` in thousandths; rows of a phone in the order of their last REGISTER.

CREATE TABLE binding (
    id         INTEGER PRIMARY KEY,
    local      TEXT NOT NULL,
    phone      TEXT NOT NULL,
    remote     TEXT NOT NULL,
    contact    TEXT NOT NULL,
    expires    INTEGER NOT NULL,
    user_agent TEXT,
    call_id    TEXT NOT NULL,
    cseq       INTEGER NOT NULL,
    instance   TEXT,
    q          INTEGER NOT NULL,
    proof      INTEGER NOT NULL
);
CREATE INDEX binding_phone ON binding (phone, local);
CREATE INDEX binding_expires ON binding (expires);
