-- What belongs to a task beside its one row.
CREATE TABLE task_attempts (
    seq            INTEGER NOT NULL,
    attempt        INTEGER NOT NULL,
    outcome        TEXT NOT NULL,
    error          TEXT,
    receipt        TEXT,
    started_at_ms  INTEGER,
    finished_at_ms INTEGER NOT NULL,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_logs (
    seq     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    line    INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    level   TEXT NOT NULL,
    message TEXT NOT NULL,
    fields  TEXT,
    PRIMARY KEY (seq, attempt, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_outputs (
    output_id  INTEGER PRIMARY KEY,
    seq        INTEGER NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes      BLOB NOT NULL,
    UNIQUE (seq, name)
) STRICT;

CREATE TABLE journal (
    seq   INTEGER NOT NULL,
    step  TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (seq, step)
) STRICT, WITHOUT ROWID;

-- tenant is '' for tasks of nobody in particular.
CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    key    TEXT NOT NULL,
    digest BLOB NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
