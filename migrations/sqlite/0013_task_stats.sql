-- What attempts came to, by quarter of an hour, lane and version of the plugin: added to in the transaction that records an attempt.
-- The time comes first in the key, so that what is written and what is deleted lies together.
CREATE TABLE task_stats (
    bucket_ms      INTEGER NOT NULL,
    lane_id        INTEGER NOT NULL,
    plugin         TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    succeeded      INTEGER NOT NULL,
    failed         INTEGER NOT NULL,
    queue_ms       INTEGER NOT NULL,
    run_ms         INTEGER NOT NULL,
    fuel           INTEGER NOT NULL,
    PRIMARY KEY (bucket_ms, lane_id, plugin, plugin_version)
) STRICT, WITHOUT ROWID;
