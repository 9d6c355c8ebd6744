-- What checks found wrong. id is a digest of scope, kind and keys, so the same thing found again is the same row.
CREATE TABLE taskwarden.findings (
    finding_no        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                text COLLATE "C" NOT NULL UNIQUE,
    scope             text COLLATE "C" NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    keys              text NOT NULL,
    state             text COLLATE "C" NOT NULL CHECK (state IN ('new', 'persisting', 'resolved')),
    severity          smallint NOT NULL CHECK (severity BETWEEN 0 AND 100),
    gross_minor       bigint CHECK (gross_minor >= 0),
    currency          text,
    explanation       text NOT NULL,
    detail            text,
    source_task       text NOT NULL,
    first_seen_ms     bigint NOT NULL,
    opened_ms         bigint NOT NULL,
    last_seen_ms      bigint NOT NULL,
    resolved_ms       bigint,
    times_seen        bigint NOT NULL,
    times_reopened    bigint NOT NULL,
    acknowledged_ms   bigint,
    acknowledged_note text,
    CHECK ((gross_minor IS NULL) = (currency IS NULL)),
    CHECK ((state = 'resolved') = (resolved_ms IS NOT NULL))
);
CREATE INDEX findings_open ON taskwarden.findings (finding_no) WHERE state <> 'resolved';
CREATE INDEX findings_open_by_scope ON taskwarden.findings (scope) WHERE state <> 'resolved';
CREATE INDEX findings_resolved ON taskwarden.findings (resolved_ms) WHERE resolved_ms IS NOT NULL;

-- The last report of each scope: an older one, or the same again, changes nothing. Its row is also what reports of a scope wait for.
CREATE TABLE taskwarden.finding_reports (
    scope          text COLLATE "C" PRIMARY KEY,
    source_task    text NOT NULL,
    reported_at_ms bigint NOT NULL
);
