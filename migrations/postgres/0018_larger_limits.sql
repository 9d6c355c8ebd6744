-- A task type may allow one retry with larger limits, as a percentage of what holds otherwise.
ALTER TABLE taskwarden.limit_settings ADD COLUMN retry_limits_percent integer CHECK (retry_limits_percent BETWEEN 101 AND 10000);
-- Whether a task has had that retry, or is waiting for it.
ALTER TABLE taskwarden.progress ADD COLUMN larger_limits boolean NOT NULL DEFAULT false;
