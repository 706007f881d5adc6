-- Business numbers of which the alarm about too few picked-up calls stands, so that a restart does not tell it again.
CREATE TABLE pick_up_alarm (
    number TEXT PRIMARY KEY,
    since  INTEGER NOT NULL
) WITHOUT ROWID;
