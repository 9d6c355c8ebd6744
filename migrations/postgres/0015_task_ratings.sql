-- What people thought of a task's result, one rating for each task. Lane, plugin and version are those of the task when it was rated: the
-- task itself may be deleted before.
CREATE TABLE taskwarden.task_ratings (
    task_id        text COLLATE "C" PRIMARY KEY,
    rating         smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    rated_at_ms    bigint NOT NULL,
    lane_id        integer NOT NULL,
    plugin         text COLLATE "C" NOT NULL,
    plugin_version text COLLATE "C" NOT NULL
);
CREATE INDEX task_ratings_by_time ON taskwarden.task_ratings (rated_at_ms);
