-- What checks found wrong. id is a digest of scope, kind and keys, so the same thing found again is the same row.
CREATE TABLE findings (
    finding_no        INTEGER PRIMARY KEY,
    id                TEXT NOT NULL UNIQUE,
    scope             TEXT NOT NULL,
    kind              TEXT NOT NULL,
    keys              TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('new', 'persisting', 'resolved')),
    severity          INTEGER NOT NULL CHECK (severity BETWEEN 0 AND 100),
    gross_minor       INTEGER CHECK (gross_minor >= 0),
    currency          TEXT,
    explanation       TEXT NOT NULL,
    detail            TEXT,
    source_task       TEXT NOT NULL,
    first_seen_ms     INTEGER NOT NULL,
    opened_ms         INTEGER NOT NULL,
    last_seen_ms      INTEGER NOT NULL,
    resolved_ms       INTEGER,
    times_seen        INTEGER NOT NULL,
    times_reopened    INTEGER NOT NULL,
    acknowledged_ms   INTEGER,
    acknowledged_note TEXT,
    CHECK ((gross_minor IS NULL) = (currency IS NULL)),
    CHECK ((state = 'resolved') = (resolved_ms IS NOT NULL))
) STRICT;
CREATE INDEX findings_open ON findings (finding_no) WHERE state <> 'resolved';
CREATE INDEX findings_open_by_scope ON findings (scope) WHERE state <> 'resolved';
CREATE INDEX findings_resolved ON findings (resolved_ms) WHERE resolved_ms IS NOT NULL;

-- The last report of each scope: an older one, or the same again, changes nothing.
CREATE TABLE finding_reports (
    scope          TEXT PRIMARY KEY,
    source_task    TEXT NOT NULL,
    reported_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
