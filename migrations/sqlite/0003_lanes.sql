-- From one table to several. The hot rows (ready, running, scheduled) become narrow and live apart from payload and result;
-- execution_tasks stays the table that people query. A lane is a task type with a model.
CREATE TABLE lanes (
    lane_id         INTEGER PRIMARY KEY,
    task_type       TEXT NOT NULL,
    ai_model        TEXT,
    paused          INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    concurrency_cap INTEGER,
    weight          INTEGER NOT NULL DEFAULT 1,
    queued          INTEGER NOT NULL DEFAULT 0,
    scheduled       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX lanes_by_key ON lanes (task_type, coalesce(ai_model, ''));

CREATE TABLE ready (
    lane_id INTEGER NOT NULL,
    run_key INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (lane_id, run_key, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE scheduled (
    run_at_ms INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    lane_id   INTEGER NOT NULL,
    run_key   INTEGER NOT NULL,
    PRIMARY KEY (run_at_ms, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE running (
    seq              INTEGER PRIMARY KEY,
    token            INTEGER NOT NULL,
    host_id          INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE hosts (
    host_id        INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    lease_until_ms INTEGER NOT NULL
) STRICT;

-- Numbers that are never used twice: the last fencing token and the last seq.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

DROP INDEX IF EXISTS execution_tasks_by_state;
ALTER TABLE execution_tasks RENAME TO execution_tasks_before_lanes;

CREATE TABLE execution_tasks (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    task_type       TEXT NOT NULL,
    ai_model        TEXT,
    priority        TEXT NOT NULL,
    state           TEXT NOT NULL,
    payload         TEXT NOT NULL,
    inputs          TEXT,
    result          TEXT,
    outcome         TEXT,
    error           TEXT,
    receipt         TEXT,
    attempt         INTEGER NOT NULL DEFAULT 0,
    max_attempts    INTEGER NOT NULL,
    tenant          TEXT,
    idempotency_key TEXT,
    tags            TEXT,
    limits          TEXT,
    created_at_ms   INTEGER NOT NULL,
    run_at_ms       INTEGER NOT NULL,
    started_at_ms   INTEGER,
    finished_at_ms  INTEGER,
    -- Below: the store's own. Which lane, where in it, what max_attempts was when submitted, and how often it was lost with its host.
    lane_id         INTEGER NOT NULL,
    run_key         INTEGER NOT NULL,
    attempts_base   INTEGER NOT NULL,
    lost            INTEGER NOT NULL DEFAULT 0,
    -- What an older schema held that has no place here, as JSON.
    legacy          TEXT
) STRICT;

INSERT INTO counters (name, value) VALUES ('token', 0), ('seq', 0);
INSERT INTO hosts (host_id, name, lease_until_ms) VALUES (1, '(before the takeover)', 0);

-- Each old value is kept where it fits, is mended where it can be, and is kept under legacy where it had to be replaced.
CREATE TABLE old_tasks AS
WITH raw AS (
    SELECT rowid AS row, o.*,
           CASE WHEN typeof(id) = 'text' AND length(id) = 36 AND id LIKE '________-____-____-____-____________'
                     AND length(replace(id, '-', '')) = 32 AND replace(id, '-', '') NOT GLOB '*[^0-9a-fA-F]*'
                THEN lower(id) END AS uuid,
           CASE WHEN length(task_type) BETWEEN 1 AND 128 AND task_type NOT GLOB '*[^-A-Za-z0-9._:]*'
                THEN CAST(task_type AS TEXT) ELSE 'unknown' END AS kind,
           CASE WHEN state IN ('scheduled', 'queued', 'running', 'succeeded', 'failed', 'cancelled')
                THEN state ELSE 'failed' END AS new_state,
           CASE priority WHEN 'background' THEN 0 WHEN 'low' THEN 1 WHEN 'high' THEN 3 WHEN 'critical' THEN 4 ELSE 2 END AS rank,
           CASE WHEN typeof(created_at_ms) IN ('integer', 'real') THEN CAST(created_at_ms AS INTEGER) ELSE 0 END AS created,
           CASE WHEN typeof(run_at_ms) IN ('integer', 'real') THEN CAST(run_at_ms AS INTEGER) END AS due,
           CASE WHEN typeof(started_at_ms) IN ('integer', 'real') THEN CAST(started_at_ms AS INTEGER) END AS started,
           CASE WHEN typeof(finished_at_ms) IN ('integer', 'real') THEN CAST(finished_at_ms AS INTEGER) END AS finished
    FROM execution_tasks_before_lanes o
), named AS (
    SELECT raw.*,
           CASE WHEN uuid IS NOT NULL AND row_number() OVER (PARTITION BY uuid ORDER BY row) = 1 THEN uuid
                ELSE lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
                           || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))) END AS new_id
    FROM raw
)
SELECT row_number() OVER (ORDER BY created, row) AS seq,
       new_id, kind, new_state, rank, created, coalesce(due, created) AS due, started,
       CASE WHEN new_state IN ('succeeded', 'failed', 'cancelled') THEN coalesce(finished, started, created) END AS finished,
       CAST(ai_model AS TEXT) AS model,
       CASE WHEN typeof(payload) = 'blob' AND json_valid(CAST(payload AS TEXT)) THEN CAST(payload AS TEXT)
            WHEN typeof(payload) = 'blob' THEN json_quote(hex(payload))
            WHEN payload IS NULL THEN 'null'
            WHEN json_valid(payload) THEN CAST(payload AS TEXT)
            ELSE json_quote(CAST(payload AS TEXT)) END AS body,
       CASE WHEN result IS NULL THEN NULL
            WHEN typeof(result) = 'blob' THEN json_quote(hex(result))
            WHEN json_valid(result) THEN CAST(result AS TEXT)
            ELSE json_quote(CAST(result AS TEXT)) END AS answer,
       CASE WHEN typeof(error) = 'blob' THEN hex(error) ELSE CAST(error AS TEXT) END AS reason,
       CASE WHEN typeof(attempt) = 'integer' AND attempt BETWEEN 0 AND 1000000 THEN attempt ELSE 0 END
           AS tries,
       CASE WHEN typeof(max_attempts) = 'integer' AND max_attempts BETWEEN 1 AND 1000000 THEN max_attempts ELSE 3 END AS tries_max,
       CASE WHEN new_id IS NOT id OR kind IS NOT task_type OR new_state IS NOT state
                 OR priority NOT IN ('background', 'low', 'normal', 'high', 'critical')
            THEN json_object('id', CASE WHEN typeof(id) = 'blob' THEN hex(id) ELSE id END,
                             'task_type', CASE WHEN typeof(task_type) = 'blob' THEN hex(task_type) ELSE task_type END,
                             'state', CASE WHEN typeof(state) = 'blob' THEN hex(state) ELSE state END,
                             'priority', CASE WHEN typeof(priority) = 'blob' THEN hex(priority) ELSE priority END) END AS legacy
FROM named;

INSERT INTO lanes (task_type, ai_model) SELECT DISTINCT kind, model FROM old_tasks ORDER BY 1, 2;

-- 60000: the shipped step of priority, in milliseconds. Only the order among tasks that wait right now depends on it.
INSERT INTO execution_tasks (seq, id, task_type, ai_model, priority, state, payload, result, outcome, error, attempt, max_attempts,
                             created_at_ms, run_at_ms, started_at_ms, finished_at_ms, lane_id, run_key, attempts_base, legacy)
SELECT o.seq, o.new_id, o.kind, o.model,
       CASE o.rank WHEN 0 THEN 'background' WHEN 1 THEN 'low' WHEN 3 THEN 'high' WHEN 4 THEN 'critical' ELSE 'normal' END,
       o.new_state, o.body, o.answer,
       CASE o.new_state WHEN 'succeeded' THEN 'succeeded' WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN 'permanent' END,
       o.reason,
       CASE WHEN o.new_state = 'running' THEN max(o.tries, 1) ELSE o.tries END,
       CASE WHEN o.new_state IN ('scheduled', 'queued') THEN max(o.tries_max, o.tries + 1) ELSE o.tries_max END,
       o.created, o.due, o.started, o.finished, l.lane_id, o.due - o.rank * 60000, o.tries_max, o.legacy
FROM old_tasks o
JOIN lanes l ON l.task_type = o.kind AND coalesce(l.ai_model, '') = coalesce(o.model, '');

INSERT INTO ready (lane_id, run_key, seq) SELECT lane_id, run_key, seq FROM execution_tasks WHERE state = 'queued';
INSERT INTO scheduled (run_at_ms, seq, lane_id, run_key)
SELECT run_at_ms, seq, lane_id, run_key FROM execution_tasks WHERE state = 'scheduled';
-- Nobody holds these any more: their host's lease is over, so the first host to look gives them back.
INSERT INTO running (seq, token, host_id) SELECT seq, seq, 1 FROM execution_tasks WHERE state = 'running';
UPDATE counters SET value = (SELECT coalesce(max(seq), 0) FROM execution_tasks);
UPDATE lanes SET queued = (SELECT count(*) FROM ready r WHERE r.lane_id = lanes.lane_id),
                 scheduled = (SELECT count(*) FROM execution_tasks t WHERE t.lane_id = lanes.lane_id AND t.state = 'scheduled');

DROP TABLE old_tasks;
DROP TABLE execution_tasks_before_lanes;

-- Partial indexes: only what a listing or the pruning asks for, and nothing that a claim would have to touch.
CREATE INDEX execution_tasks_by_lane ON execution_tasks (lane_id, seq);
CREATE INDEX execution_tasks_by_tenant ON execution_tasks (tenant, seq) WHERE tenant IS NOT NULL;
CREATE INDEX execution_tasks_failed ON execution_tasks (seq) WHERE state = 'failed';
CREATE INDEX execution_tasks_cancelled ON execution_tasks (seq) WHERE state = 'cancelled';
CREATE INDEX execution_tasks_finished ON execution_tasks (finished_at_ms) WHERE finished_at_ms IS NOT NULL;
