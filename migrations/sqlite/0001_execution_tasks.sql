-- The first shape of the queue: one table. Databases that were made from this text alone, with another tool and
-- without any record of migrations, are taken over by the ones that follow.
CREATE TABLE IF NOT EXISTS execution_tasks (
    id             TEXT PRIMARY KEY,
    task_type      TEXT NOT NULL,
    state          TEXT NOT NULL DEFAULT 'queued',
    priority       TEXT NOT NULL DEFAULT 'normal',
    payload        TEXT NOT NULL DEFAULT '{}',
    result         TEXT,
    error          TEXT,
    attempt        INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL DEFAULT 3,
    created_at_ms  INTEGER NOT NULL,
    run_at_ms      INTEGER,
    started_at_ms  INTEGER,
    finished_at_ms INTEGER
);
CREATE INDEX IF NOT EXISTS execution_tasks_by_state ON execution_tasks (state, run_at_ms);
