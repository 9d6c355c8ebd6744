-- Tasks that are submitted by the clock. next_due_ms is the earliest run that was not decided about yet: whoever decides moves it on,
-- and only from where it was, so that of two hosts one does.
CREATE TABLE schedules (
    name          TEXT PRIMARY KEY,
    cron          TEXT NOT NULL,
    time_zone     TEXT NOT NULL,
    skip_missed   INTEGER NOT NULL CHECK (skip_missed IN (0, 1)),
    paused        INTEGER NOT NULL CHECK (paused IN (0, 1)),
    task          TEXT NOT NULL,
    revision      INTEGER NOT NULL,
    next_due_ms   INTEGER,
    last_due_ms   INTEGER,
    last_task     TEXT,
    last_problem  TEXT,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules (next_due_ms) WHERE NOT paused;
