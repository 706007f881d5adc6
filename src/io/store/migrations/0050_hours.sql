-- How many calls of a number were started in which hour, so that a day's are walked over only near their limit. What
-- never reached Meta is counted, too: the sum is never too small.
CREATE TABLE started (
    number TEXT NOT NULL,
    hour   INTEGER NOT NULL,
    calls  INTEGER NOT NULL,
    PRIMARY KEY (number, hour)
) WITHOUT ROWID;
INSERT INTO started (number, hour, calls)
    SELECT number, reserved / 3600000, COUNT(*) FROM reservation GROUP BY 1, 2;
CREATE TRIGGER reservation_started AFTER INSERT ON reservation BEGIN
    INSERT INTO started (number, hour, calls) VALUES (NEW.number, NEW.reserved / 3600000, 1)
    ON CONFLICT (number, hour) DO UPDATE SET calls = calls + 1;
END;
CREATE TRIGGER reservation_renewed AFTER UPDATE OF reserved ON reservation BEGIN
    INSERT INTO started (number, hour, calls) VALUES (NEW.number, NEW.reserved / 3600000, 1)
    ON CONFLICT (number, hour) DO UPDATE SET calls = calls + 1;
END;
