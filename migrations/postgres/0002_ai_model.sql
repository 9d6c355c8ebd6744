-- Every task may say which AI model it is meant for. Older rows said so inside their payload, if at all. A text that could
-- not be the name of a model (too long, control characters, or '*', which means "any" in routes) is left where it is.
ALTER TABLE public.execution_tasks ADD COLUMN ai_model text;

-- One member of a JSON object, when it is a string; nothing when the payload is no JSON.
CREATE FUNCTION pg_temp.string_in(payload text, name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN json_typeof(payload::json) = 'object' AND json_typeof(payload::json -> name) = 'string'
                THEN payload::json ->> name END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

UPDATE public.execution_tasks SET ai_model = found.model
FROM (
    SELECT id,
           CASE WHEN length(pg_temp.string_in(payload::text, 'ai_model')) BETWEEN 1 AND 255
                THEN pg_temp.string_in(payload::text, 'ai_model')
                ELSE pg_temp.string_in(payload::text, 'model') END AS model
    FROM public.execution_tasks
) found
WHERE execution_tasks.id = found.id
  AND length(found.model) BETWEEN 1 AND 255
  AND found.model !~ '[\x01-\x1f\x7f-\x9f*]';

DROP FUNCTION pg_temp.string_in(text, text);
