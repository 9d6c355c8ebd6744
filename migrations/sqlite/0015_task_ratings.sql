-- What people thought of a task's result, one rating for each task. Lane, plugin and version are those of the task when it was rated: the
-- task itself may be deleted before.
CREATE TABLE task_ratings (
    task_id        TEXT PRIMARY KEY,
    rating         INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    rated_at_ms    INTEGER NOT NULL,
    lane_id        INTEGER NOT NULL,
    plugin         TEXT NOT NULL,
    plugin_version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX task_ratings_by_time ON task_ratings (rated_at_ms);
