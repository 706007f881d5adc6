-- Calls between phones and trunks, without WhatsApp. Both dialogs are kept, so that a restart can end both sides.
CREATE TABLE desk_call (
    id            INTEGER PRIMARY KEY,
    caller_kind   TEXT NOT NULL,
    caller_name   TEXT NOT NULL,
    caller_number TEXT,
    callee_kind   TEXT NOT NULL,
    callee_name   TEXT NOT NULL,
    callee_number TEXT,
    opened        INTEGER NOT NULL,
    rang          INTEGER,
    answered      INTEGER,
    ended         INTEGER,
    cause         TEXT,
    fault         TEXT,
    sip_call_id   TEXT NOT NULL,
    media         TEXT,
    quality       TEXT,
    caller_dialog TEXT,
    callee_dialog TEXT
);
CREATE INDEX desk_call_open ON desk_call (id) WHERE ended IS NULL;
CREATE INDEX desk_call_opened ON desk_call (opened);
