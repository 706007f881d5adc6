-- What a call button or link carried, and what permission and caps looked like at dialling (JSON).
ALTER TABLE call ADD COLUMN payload TEXT;
ALTER TABLE call ADD COLUMN dialling TEXT;

-- What people say of a call. Lines are only added; the newest outcome counts.
CREATE TABLE call_note (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    call    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    author  TEXT NOT NULL,
    outcome TEXT,
    text    TEXT
);
CREATE INDEX call_note_call ON call_note (call);
