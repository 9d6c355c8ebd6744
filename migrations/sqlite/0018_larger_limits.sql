-- A task type may allow one retry with larger limits, as a percentage of what holds otherwise.
ALTER TABLE limit_settings ADD COLUMN retry_limits_percent INTEGER CHECK (retry_limits_percent BETWEEN 101 AND 10000);
-- Whether a task has had that retry, or is waiting for it.
ALTER TABLE execution_tasks ADD COLUMN larger_limits INTEGER NOT NULL DEFAULT 0;
