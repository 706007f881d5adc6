-- Phones whose people do not want to be disturbed: no ring plan rings them.
CREATE TABLE do_not_disturb (
    phone TEXT PRIMARY KEY NOT NULL,
    since INTEGER NOT NULL
) WITHOUT ROWID;
