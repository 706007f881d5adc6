-- What users said to nobody: recorded here, or by Meta and fetched from there.
CREATE TABLE voicemail (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Our call; NULL: Meta told of one that is not among our records.
    call     INTEGER,
    -- The business number, as Graph and as the administrator calls it.
    number   TEXT NOT NULL,
    label    TEXT NOT NULL,
    phone    TEXT,
    bsuid    TEXT,
    at       INTEGER NOT NULL,
    source   TEXT NOT NULL,
    -- Meta's id of the sound; it is fetched once, with a few tries.
    media    TEXT,
    tries    INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER,
    -- Below the directory of voice messages.
    file     TEXT,
    seconds  INTEGER,
    heard    INTEGER,
    heard_by TEXT
);
CREATE UNIQUE INDEX voicemail_call ON voicemail (call, source) WHERE call IS NOT NULL;
CREATE UNIQUE INDEX voicemail_media ON voicemail (media) WHERE media IS NOT NULL;
CREATE INDEX voicemail_fetch ON voicemail (next_try) WHERE file IS NULL;
CREATE INDEX voicemail_at ON voicemail (at);
