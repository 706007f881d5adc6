-- Meta's rules, kept for the business. Times are milliseconds since 1970 UTC.

-- When the user's phone rang: a call that rang and was not taken counts in the unanswered run.
ALTER TABLE reservation ADD COLUMN rang INTEGER;
-- 0: Meta never had this call, so it is no initiation.
ALTER TABLE reservation ADD COLUMN placed INTEGER NOT NULL DEFAULT 1;
CREATE INDEX reservation_run_phone ON reservation (number, phone, reserved) WHERE rang IS NOT NULL OR connected IS NOT NULL;
CREATE INDEX reservation_run_bsuid ON reservation (number, bsuid, reserved) WHERE rang IS NOT NULL OR connected IS NOT NULL;
DROP INDEX reservation_reserved;
CREATE INDEX reservation_placed ON reservation (number, reserved) WHERE placed = 1;

-- Calls by user: when the two last talked.
CREATE INDEX call_phone ON call (phone_number_id, phone, answered) WHERE answered IS NOT NULL;
CREATE INDEX call_bsuid ON call (phone_number_id, bsuid, answered) WHERE answered IS NOT NULL;
-- Users' calls by time: the pick-up rate.
CREATE INDEX call_rate ON call (phone_number_id, direction, opened, answered);

-- Permission requests. Lines are never removed; `refused` ones count for nothing.
CREATE TABLE permission_request (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    number   TEXT NOT NULL,
    phone    TEXT,
    bsuid    TEXT,
    kind     TEXT NOT NULL,
    sent     INTEGER NOT NULL,
    -- When Meta took it, and the message's id, by which the answer is known.
    taken    INTEGER,
    message  TEXT,
    answered INTEGER,
    refused  INTEGER NOT NULL DEFAULT 0,
    -- Who is rung when the user accepts, and until when somebody waits.
    ring     TEXT,
    rung     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX request_phone ON permission_request (number, phone, sent);
CREATE INDEX request_bsuid ON permission_request (number, bsuid, sent);
CREATE INDEX request_message ON permission_request (message) WHERE message IS NOT NULL;

-- Until when a user may be written to without a template (the customer service window).
CREATE TABLE conversation (
    number TEXT NOT NULL,
    phone  TEXT,
    bsuid  TEXT,
    until  INTEGER NOT NULL
);
CREATE UNIQUE INDEX conversation_phone ON conversation (number, phone) WHERE phone IS NOT NULL;
CREATE UNIQUE INDEX conversation_bsuid ON conversation (number, bsuid) WHERE bsuid IS NOT NULL;

-- What Meta said about a pair's limits: no calls (138012) or requests (138009) before that moment.
CREATE TABLE meta_hold (
    number TEXT NOT NULL,
    phone  TEXT,
    bsuid  TEXT,
    what   TEXT NOT NULL,
    until  INTEGER NOT NULL,
    at     INTEGER NOT NULL
);
CREATE INDEX hold_phone ON meta_hold (number, phone, until);
CREATE INDEX hold_bsuid ON meta_hold (number, bsuid, until);

-- Somebody decided to call on after unanswered calls, and why.
CREATE TABLE run_override (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL,
    phone  TEXT,
    bsuid  TEXT,
    at     INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX override_phone ON run_override (number, phone, at);
CREATE INDEX override_bsuid ON run_override (number, bsuid, at);

-- Meta's restrictions and warnings; without a number they are of the whole account, that is, of every number.
CREATE TABLE restriction (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    number  TEXT,
    kind    TEXT NOT NULL,
    reason  TEXT,
    at      INTEGER NOT NULL,
    until   INTEGER,
    lifted  INTEGER
);
CREATE INDEX restriction_live ON restriction (kind) WHERE lifted IS NULL;
