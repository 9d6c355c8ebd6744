-- Tasks that are submitted by the clock. next_due_ms is the earliest run that was not decided about yet: whoever decides moves it on,
-- and only from where it was, so that of two hosts one does.
CREATE TABLE taskwarden.schedules (
    name          text COLLATE "C" PRIMARY KEY,
    cron          text NOT NULL,
    time_zone     text NOT NULL,
    skip_missed   boolean NOT NULL,
    paused        boolean NOT NULL,
    task          text NOT NULL,
    revision      bigint NOT NULL,
    next_due_ms   bigint,
    last_due_ms   bigint,
    last_task     text,
    last_problem  text,
    updated_at_ms bigint NOT NULL
);
CREATE INDEX schedules_due ON taskwarden.schedules (next_due_ms) WHERE NOT paused;
