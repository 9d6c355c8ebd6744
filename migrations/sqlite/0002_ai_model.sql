-- Every task may say which AI model it is meant for. Older rows said so inside their payload, if at all. A text that could
-- not be the name of a model (too long, control characters, or '*', which means "any" in routes) is left where it is.
ALTER TABLE execution_tasks ADD COLUMN ai_model TEXT;

WITH found AS (
    SELECT rowid AS row,
           CASE WHEN json_type(payload, '$.ai_model') = 'text' AND length(json_extract(payload, '$.ai_model')) BETWEEN 1 AND 255
                THEN json_extract(payload, '$.ai_model')
                WHEN json_type(payload, '$.model') = 'text' THEN json_extract(payload, '$.model') END AS model
    FROM execution_tasks
    WHERE CASE WHEN typeof(payload) = 'text' THEN json_valid(payload) ELSE 0 END
)
UPDATE execution_tasks SET ai_model = found.model
FROM found
WHERE execution_tasks.rowid = found.row
  AND length(found.model) BETWEEN 1 AND 255
  AND instr(found.model, '*') = 0
  AND instr(found.model, char(0)) = 0
  AND found.model NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*';
