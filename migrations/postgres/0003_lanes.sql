-- From one table to several, in a schema of their own. A lane is a task type with a model. Nothing on the way of a task that
-- succeeds is ever updated: its row in tasks stays as it was submitted, its row in ready is deleted when it is claimed, its row in
-- running when it has ended, and its row in done is added. execution_tasks becomes a view of all that, for people.
CREATE TABLE taskwarden.lanes (
    lane_id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_type       text COLLATE "C" NOT NULL,
    ai_model        text COLLATE "C",
    paused          boolean NOT NULL DEFAULT false,
    concurrency_cap integer,
    weight          integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX lanes_by_key ON taskwarden.lanes (task_type, coalesce(ai_model, ''));

-- How the numbers of tasks in a lane changed: every statement that moves tasks adds a row, and the rows are added up from time to
-- time. A counter in lanes would be a row that all hosts fight for, and that leaves a dead version behind with every commit.
CREATE TABLE taskwarden.lane_changes (
    lane_id   integer NOT NULL,
    queued    bigint NOT NULL,
    scheduled bigint NOT NULL,
    running   bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- Numbers that are never used twice.
CREATE SEQUENCE taskwarden.task_seq;
CREATE SEQUENCE taskwarden.claim_token;

-- A task as it was submitted. rank is its priority, 0 (background) to 4 (critical).
CREATE TABLE taskwarden.tasks (
    seq             bigint PRIMARY KEY,
    created_at_ms   bigint NOT NULL,
    run_at_ms       bigint NOT NULL,
    run_key         bigint NOT NULL,
    lane_id         integer NOT NULL,
    max_attempts    integer NOT NULL,
    rank            smallint NOT NULL,
    id              text COLLATE "C" NOT NULL,
    tenant          text COLLATE "C",
    idempotency_key text COLLATE "C",
    payload         text NOT NULL,
    inputs          text,
    tags            text,
    limits          text,
    -- What an older schema held that has no place here, as JSON.
    legacy          text
);
CREATE UNIQUE INDEX tasks_by_id ON taskwarden.tasks (id);
CREATE INDEX tasks_by_lane ON taskwarden.tasks (lane_id, seq);
CREATE INDEX tasks_by_tenant ON taskwarden.tasks (tenant, seq) WHERE tenant IS NOT NULL;

-- The three small tables in which a task waits or runs. Their rows are only added and deleted, so pages are filled to the brim, and
-- are emptied in about the order in which they were filled. Vacuum has to follow closely: after a number of rows and not after a part
-- of the table, and without pauses, since each pass is short.
CREATE TABLE taskwarden.ready (
    run_key bigint NOT NULL,
    seq     bigint NOT NULL,
    lane_id integer NOT NULL,
    rank    smallint NOT NULL,
    PRIMARY KEY (lane_id, rank, run_key, seq)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_analyze_scale_factor = 0.2);

CREATE TABLE taskwarden.scheduled (
    run_at_ms bigint NOT NULL,
    seq       bigint NOT NULL,
    run_key   bigint NOT NULL,
    lane_id   integer NOT NULL,
    rank      smallint NOT NULL,
    PRIMARY KEY (run_at_ms, seq)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE taskwarden.running (
    seq              bigint PRIMARY KEY,
    token            bigint NOT NULL,
    started_at_ms    bigint NOT NULL,
    host_id          integer NOT NULL,
    lane_id          integer NOT NULL,
    attempt          integer NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
-- For lanes with a cap: how many of their tasks run, counted while the lane is locked.
CREATE INDEX running_by_lane ON taskwarden.running (lane_id);

-- What changed about a task that was tried before and waits or runs again; a task that succeeds at once never has a row here.
CREATE TABLE taskwarden.progress (
    seq           bigint PRIMARY KEY,
    run_at_ms     bigint NOT NULL,
    run_key       bigint NOT NULL,
    started_at_ms bigint,
    attempt       integer NOT NULL,
    max_attempts  integer NOT NULL,
    lost          integer NOT NULL,
    outcome       text,
    error         text,
    receipt       text
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- How tasks ended: only ever added to, until retention deletes the oldest. state: 3 succeeded, 4 failed, 5 cancelled.
CREATE TABLE taskwarden.done (
    seq            bigint PRIMARY KEY,
    finished_at_ms bigint NOT NULL,
    started_at_ms  bigint,
    attempt        integer NOT NULL,
    state          smallint NOT NULL,
    outcome        text NOT NULL,
    error          text,
    receipt        text,
    result         text
);
CREATE INDEX done_by_age ON taskwarden.done (finished_at_ms);
CREATE INDEX done_failed ON taskwarden.done (seq) WHERE state = 4;
CREATE INDEX done_cancelled ON taskwarden.done (seq) WHERE state = 5;

-- A host is one process: when it starts anew it is another host of the same name, so that it cannot be mistaken for the one before.
CREATE TABLE taskwarden.hosts (
    host_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,
    instance       uuid NOT NULL,
    lease_until_ms bigint NOT NULL,
    UNIQUE (name, instance)
) WITH (fillfactor = 50);

-- What hosts are configured with and functions in the database have to know; one row.
CREATE TABLE taskwarden.queue_settings (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    priority_step_ms  bigint NOT NULL,
    lanes_max         integer NOT NULL,
    payload_bytes_max bigint NOT NULL
);
INSERT INTO taskwarden.queue_settings (priority_step_ms, lanes_max, payload_bytes_max) VALUES (60000, 4096, 1048576);

-- From here on: what was in the one table before. Each old value is kept where it fits, is mended where it can be, and is kept under
-- legacy where it had to be replaced.
CREATE FUNCTION pg_temp.as_json(value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM value::json;
    RETURN value;
EXCEPTION WHEN OTHERS THEN
    RETURN to_json(value)::text;
END $$;

ALTER TABLE public.execution_tasks RENAME TO execution_tasks_before_lanes;

CREATE TEMPORARY TABLE old_tasks ON COMMIT DROP AS
WITH raw AS (
    SELECT row_number() OVER (ORDER BY coalesce(created_at_ms, 0), id) AS row, o.id::text AS id, o.task_type, o.state, o.priority,
           o.ai_model, o.payload::text AS payload, o.result::text AS result, o.error::text AS error, o.attempt, o.max_attempts,
           CASE WHEN o.id::text ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN lower(o.id::text) END AS uuid,
           CASE WHEN o.task_type ~ '^[A-Za-z0-9._:-]{1,128}$' THEN o.task_type ELSE 'unknown' END AS kind,
           CASE WHEN o.state IN ('scheduled', 'queued', 'running', 'succeeded', 'failed', 'cancelled')
                THEN o.state ELSE 'failed' END AS new_state,
           CASE o.priority WHEN 'background' THEN 0 WHEN 'low' THEN 1 WHEN 'high' THEN 3 WHEN 'critical' THEN 4 ELSE 2 END AS rank,
           coalesce(o.created_at_ms, 0)::bigint AS created, o.run_at_ms::bigint AS due, o.started_at_ms::bigint AS started,
           o.finished_at_ms::bigint AS finished
    FROM public.execution_tasks_before_lanes o
)
SELECT row AS seq, kind, new_state, rank, created, coalesce(due, created) AS due, started,
       CASE WHEN uuid IS NOT NULL AND row_number() OVER (PARTITION BY uuid ORDER BY row) = 1 THEN uuid
            ELSE gen_random_uuid()::text END AS new_id,
       coalesce(finished, started, created) AS finished, ai_model AS model,
       coalesce(pg_temp.as_json(payload), 'null') AS body, pg_temp.as_json(result) AS answer, error AS reason,
       CASE WHEN attempt BETWEEN 0 AND 1000000 THEN attempt ELSE 0 END AS tries,
       CASE WHEN max_attempts BETWEEN 1 AND 1000000 THEN max_attempts ELSE 3 END AS tries_max,
       id AS old_id, task_type AS old_type, state AS old_state, priority AS old_priority
FROM raw;

INSERT INTO taskwarden.lanes (task_type, ai_model) SELECT DISTINCT kind, model FROM old_tasks ORDER BY 1, 2;

-- 60000: the shipped step of priority, in milliseconds. Only the order among tasks that wait right now depends on it.
INSERT INTO taskwarden.tasks (seq, created_at_ms, run_at_ms, run_key, lane_id, max_attempts, rank, id, payload, legacy)
SELECT o.seq, o.created, o.due, o.due - o.rank * 60000, l.lane_id, o.tries_max, o.rank, o.new_id, o.body,
       CASE WHEN o.new_id IS DISTINCT FROM o.old_id OR o.kind IS DISTINCT FROM o.old_type OR o.new_state IS DISTINCT FROM o.old_state
                 OR o.old_priority IS NULL OR o.old_priority NOT IN ('background', 'low', 'normal', 'high', 'critical')
            THEN json_build_object('id', o.old_id, 'task_type', o.old_type, 'state', o.old_state, 'priority', o.old_priority)::text END
FROM old_tasks o
JOIN taskwarden.lanes l ON l.task_type = o.kind AND coalesce(l.ai_model, '') = coalesce(o.model, '');

INSERT INTO taskwarden.progress (seq, run_at_ms, run_key, started_at_ms, attempt, max_attempts, lost, error)
SELECT seq, due, due - rank * 60000, started,
       CASE WHEN new_state = 'running' THEN greatest(tries, 1) - 1 ELSE tries END,
       CASE WHEN new_state IN ('scheduled', 'queued') THEN greatest(tries_max, tries + 1) ELSE tries_max END, 0, reason
FROM old_tasks
WHERE new_state IN ('scheduled', 'queued', 'running') AND (tries > 0 OR started IS NOT NULL OR reason IS NOT NULL);

INSERT INTO taskwarden.ready (run_key, seq, lane_id, rank)
SELECT t.run_key, t.seq, t.lane_id, t.rank FROM old_tasks o JOIN taskwarden.tasks t USING (seq) WHERE o.new_state = 'queued';
INSERT INTO taskwarden.scheduled (run_at_ms, seq, run_key, lane_id, rank)
SELECT t.run_at_ms, t.seq, t.run_key, t.lane_id, t.rank FROM old_tasks o JOIN taskwarden.tasks t USING (seq) WHERE o.new_state = 'scheduled';
-- Nobody holds these any more: their host's lease is over, so the first host to look gives them back.
INSERT INTO taskwarden.hosts (name, instance, lease_until_ms) VALUES ('(before the takeover)', '00000000-0000-0000-0000-000000000000', 0);
INSERT INTO taskwarden.running (seq, token, started_at_ms, host_id, lane_id, attempt)
SELECT t.seq, nextval('taskwarden.claim_token'), coalesce(o.started, o.due), 1, t.lane_id, greatest(o.tries, 1)
FROM old_tasks o JOIN taskwarden.tasks t USING (seq) WHERE o.new_state = 'running';
INSERT INTO taskwarden.done (seq, finished_at_ms, started_at_ms, attempt, state, outcome, error, result)
SELECT seq, finished, started, tries, CASE new_state WHEN 'succeeded' THEN 3 WHEN 'failed' THEN 4 ELSE 5 END,
       CASE new_state WHEN 'failed' THEN 'permanent' ELSE new_state END, reason, answer
FROM old_tasks WHERE new_state IN ('succeeded', 'failed', 'cancelled');
INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running)
SELECT t.lane_id, count(*) FILTER (WHERE o.new_state = 'queued'), count(*) FILTER (WHERE o.new_state = 'scheduled'),
       count(*) FILTER (WHERE o.new_state = 'running')
FROM old_tasks o JOIN taskwarden.tasks t USING (seq) WHERE o.new_state IN ('queued', 'scheduled', 'running') GROUP BY 1;
SELECT setval('taskwarden.task_seq', max(seq)) FROM old_tasks HAVING max(seq) IS NOT NULL;

DROP TABLE old_tasks;
DROP TABLE public.execution_tasks_before_lanes;
DROP FUNCTION pg_temp.as_json(text);

-- The public table, with the columns and words it has in every database that Taskwarden can use.
CREATE VIEW public.execution_tasks AS
SELECT t.seq, t.id, l.task_type, l.ai_model,
       CASE t.rank WHEN 0 THEN 'background' WHEN 1 THEN 'low' WHEN 2 THEN 'normal' WHEN 3 THEN 'high' ELSE 'critical' END AS priority,
       CASE WHEN d.state = 3 THEN 'succeeded' WHEN d.state = 4 THEN 'failed' WHEN d.state = 5 THEN 'cancelled'
            WHEN r.seq IS NOT NULL THEN 'running'
            WHEN EXISTS (SELECT 1 FROM taskwarden.scheduled s WHERE s.run_at_ms = coalesce(p.run_at_ms, t.run_at_ms) AND s.seq = t.seq)
            THEN 'scheduled' ELSE 'queued' END AS state,
       t.payload, t.inputs, d.result,
       CASE WHEN d.seq IS NULL THEN p.outcome ELSE d.outcome END AS outcome,
       CASE WHEN d.seq IS NULL THEN p.error ELSE d.error END AS error,
       CASE WHEN d.seq IS NULL THEN p.receipt ELSE d.receipt END AS receipt,
       coalesce(d.attempt, r.attempt, p.attempt, 0) AS attempt,
       coalesce(p.max_attempts, t.max_attempts) AS max_attempts,
       t.tenant, t.idempotency_key, t.tags, t.limits, t.created_at_ms,
       coalesce(p.run_at_ms, t.run_at_ms) AS run_at_ms,
       CASE WHEN d.seq IS NULL THEN coalesce(r.started_at_ms, p.started_at_ms) ELSE d.started_at_ms END AS started_at_ms,
       d.finished_at_ms, t.lane_id,
       coalesce(p.run_key, t.run_key) AS run_key,
       t.max_attempts AS attempts_base,
       coalesce(p.lost, 0) AS lost, t.legacy
FROM taskwarden.tasks t
JOIN taskwarden.lanes l USING (lane_id)
LEFT JOIN taskwarden.done d USING (seq)
LEFT JOIN taskwarden.running r USING (seq)
LEFT JOIN taskwarden.progress p USING (seq);
