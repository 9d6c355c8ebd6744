-- The first shape of the queue: one table. Databases that were made from this text alone, with another tool and
-- without any record of migrations, are taken over by the ones that follow.
CREATE TABLE IF NOT EXISTS public.execution_tasks (
    id             text PRIMARY KEY,
    task_type      text NOT NULL,
    state          text NOT NULL DEFAULT 'queued',
    priority       text NOT NULL DEFAULT 'normal',
    payload        text NOT NULL DEFAULT '{}',
    result         text,
    error          text,
    attempt        integer NOT NULL DEFAULT 0,
    max_attempts   integer NOT NULL DEFAULT 3,
    created_at_ms  bigint NOT NULL,
    run_at_ms      bigint,
    started_at_ms  bigint,
    finished_at_ms bigint
);
