-- What was recorded of a call. The file stands below the directory of recordings; no file: it could not begin.
CREATE TABLE recording (
    call            INTEGER PRIMARY KEY,
    recording_file  TEXT,
    recording_secs  INTEGER NOT NULL,
    -- Why it ended; NULL while it runs.
    recording_ended TEXT
);
