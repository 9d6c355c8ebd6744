-- How many tenants there may be is known here too, so that taskwarden_submit makes no more of them than hosts do.
ALTER TABLE taskwarden.queue_settings ADD COLUMN tenants_max integer NOT NULL DEFAULT 10000;

-- The same function as before, which now keeps to the limit.
CREATE OR REPLACE FUNCTION public.taskwarden_submit(
    task_type       text,
    payload         jsonb DEFAULT '{}',
    ai_model        text DEFAULT NULL,
    priority        text DEFAULT 'normal',
    run_at          timestamptz DEFAULT NULL,
    max_attempts    integer DEFAULT 3,
    tenant          text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    tags            text[] DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    settings   taskwarden.queue_settings;
    now_ms     bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    due_ms     bigint;
    of_lane    integer;
    of_rank    smallint;
    of_tenant  integer := 0;
    key        bigint;
    new_seq    bigint;
    new_id     text;
    first_id   text;
    new_digest bytea;
    old_digest bytea;
BEGIN
    SELECT * INTO settings FROM taskwarden.queue_settings;
    IF task_type IS NULL OR task_type !~ '^[A-Za-z0-9._:-]{1,128}$' THEN
        RAISE EXCEPTION 'task_type must be 1 to 128 letters, digits, ".", "_", "-" or ":"' USING ERRCODE = '22023';
    END IF;
    IF ai_model IS NOT NULL AND (length(ai_model) NOT BETWEEN 1 AND 255 OR ai_model ~ '[\x01-\x1f\x7f-\x9f*]') THEN
        RAISE EXCEPTION 'ai_model must be 1 to 255 characters, no control characters and no "*"' USING ERRCODE = '22023';
    END IF;
    IF tenant IS NOT NULL AND tenant !~ '^[A-Za-z0-9._:-]{1,128}$' THEN
        RAISE EXCEPTION 'tenant must be 1 to 128 letters, digits, ".", "_", "-" or ":"' USING ERRCODE = '22023';
    END IF;
    IF idempotency_key IS NOT NULL AND (length(idempotency_key) NOT BETWEEN 1 AND 255 OR idempotency_key ~ '[\x01-\x1f\x7f-\x9f*]') THEN
        RAISE EXCEPTION 'idempotency_key must be 1 to 255 characters, no control characters and no "*"' USING ERRCODE = '22023';
    END IF;
    of_rank := array_position(ARRAY['background', 'low', 'normal', 'high', 'critical'], priority) - 1;
    IF of_rank IS NULL THEN
        RAISE EXCEPTION 'priority must be critical, high, normal, low or background' USING ERRCODE = '22023';
    END IF;
    IF max_attempts IS NULL OR max_attempts NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION 'max_attempts must be from 1 to 100' USING ERRCODE = '22023';
    END IF;
    IF payload IS NULL THEN
        RAISE EXCEPTION 'payload must be JSON; write ''null'' for JSON''s null' USING ERRCODE = '22023';
    END IF;
    IF octet_length(payload::text) > settings.payload_bytes_max THEN
        RAISE EXCEPTION 'payload has % bytes; at most % are accepted', octet_length(payload::text), settings.payload_bytes_max
            USING ERRCODE = '54000';
    END IF;
    IF cardinality(tags) > 32 OR EXISTS (SELECT 1 FROM unnest(tags) tag 
                                        WHERE tag IS NULL OR length(tag) NOT BETWEEN 1 AND 128 OR tag ~ '[\x01-\x1f\x7f-\x9f]') THEN
        RAISE EXCEPTION 'tags must be at most 32 texts of 1 to 128 characters, no control characters' USING ERRCODE = '22023';
    END IF;

    -- A UUIDv7: the time, then chance, then the two bits that make a version 4 a version 7.
    new_id := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(now_ms) FROM 3) FROM 1 FOR 6),
                                     52, 1), 53, 1), 'hex')::uuid::text;
    IF idempotency_key IS NOT NULL THEN
        new_digest := sha256(convert_to(jsonb_build_array(task_type, payload, ai_model, priority, run_at, max_attempts, tags)::text, 'UTF8'));
        INSERT INTO taskwarden.idempotency AS i (tenant, key, id, digest)
        VALUES (coalesce(tenant, ''), idempotency_key, new_id, new_digest) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT i.id, i.digest INTO first_id, old_digest FROM taskwarden.idempotency i
            WHERE i.tenant = coalesce(taskwarden_submit.tenant, '') AND i.key = taskwarden_submit.idempotency_key;
            IF old_digest IS DISTINCT FROM new_digest THEN
                RAISE EXCEPTION 'the idempotency key was used before, for %, with another body', first_id USING ERRCODE = '23505';
            END IF;
            RETURN first_id;
        END IF;
    END IF;

    SELECT l.lane_id INTO of_lane FROM taskwarden.lanes l
    WHERE l.task_type = taskwarden_submit.task_type AND coalesce(l.ai_model, '') = coalesce(taskwarden_submit.ai_model, '');
    IF of_lane IS NULL THEN
        -- The lock under which hosts make lanes.
        PERFORM pg_advisory_xact_lock(8386110886357593701);
        SELECT l.lane_id INTO of_lane FROM taskwarden.lanes l
        WHERE l.task_type = taskwarden_submit.task_type AND coalesce(l.ai_model, '') = coalesce(taskwarden_submit.ai_model, '');
        IF of_lane IS NULL THEN
            IF (SELECT count(*) FROM taskwarden.lanes) >= settings.lanes_max THEN
                RAISE EXCEPTION 'there are % lanes already, which is the limit; use fewer combinations of task type and model',
                    settings.lanes_max USING ERRCODE = '54000';
            END IF;
            INSERT INTO taskwarden.lanes AS l (task_type, ai_model) VALUES (task_type, ai_model) RETURNING l.lane_id INTO of_lane;
        END IF;
    END IF;

    IF tenant IS NOT NULL THEN
        SELECT n.tenant_id INTO of_tenant FROM taskwarden.tenants n WHERE n.name = taskwarden_submit.tenant;
        IF of_tenant IS NULL THEN
            -- The lock under which hosts make tenants.
            PERFORM pg_advisory_xact_lock(8386110886492073569);
            INSERT INTO taskwarden.tenants AS n (name) VALUES (tenant) ON CONFLICT DO NOTHING;
            -- Nobody in particular is no tenant.
            IF (SELECT count(*) - 1 FROM taskwarden.tenants) > settings.tenants_max THEN
                RAISE EXCEPTION 'there are % tenants already, which is the limit; raise queue.tenants_max or use fewer',
                    settings.tenants_max USING ERRCODE = '54000';
            END IF;
            SELECT n.tenant_id INTO of_tenant FROM taskwarden.tenants n WHERE n.name = taskwarden_submit.tenant;
        END IF;
    END IF;

    due_ms := greatest(coalesce((extract(epoch FROM run_at) * 1000)::bigint, now_ms), now_ms);
    key := due_ms - of_rank * settings.priority_step_ms;
    new_seq := nextval('taskwarden.task_seq');
    INSERT INTO taskwarden.tasks AS t (seq, created_at_ms, run_at_ms, run_key, lane_id, max_attempts, rank, id, tenant, idempotency_key,
                                       payload, tags)
    VALUES (new_seq, now_ms, due_ms, key, of_lane, max_attempts, of_rank, new_id, tenant, idempotency_key, payload::text,
            CASE WHEN cardinality(tags) > 0 THEN to_json(tags)::text END);
    IF due_ms > now_ms THEN
        INSERT INTO taskwarden.scheduled (run_at_ms, seq, run_key, lane_id, tenant_id, rank)
        VALUES (due_ms, new_seq, key, of_lane, of_tenant, of_rank);
        PERFORM pg_notify('taskwarden', format('sql;s %s;', due_ms));
    ELSE
        INSERT INTO taskwarden.ready (run_key, seq, lane_id, tenant_id, rank) VALUES (key, new_seq, of_lane, of_tenant, of_rank);
        -- Delivered by the commit, which may come late. Whole seconds, so that a transaction of many tasks sends few.
        PERFORM pg_notify('taskwarden', format('sql;t %s %s %s %s;', of_lane, of_tenant, of_rank, key - key % 1000 - 1000));
    END IF;
    INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running)
    VALUES (of_lane, (due_ms <= now_ms)::int, (due_ms > now_ms)::int, 0);
    RETURN new_id;
END $$;
