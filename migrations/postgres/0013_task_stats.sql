-- What attempts came to, by quarter of an hour, lane and version of the plugin: added to in the transaction that records an attempt.
CREATE TABLE taskwarden.task_stats (
    bucket_ms      bigint NOT NULL,
    lane_id        bigint NOT NULL,
    plugin         text COLLATE "C" NOT NULL,
    plugin_version text COLLATE "C" NOT NULL,
    succeeded      bigint NOT NULL,
    failed         bigint NOT NULL,
    queue_ms       bigint NOT NULL,
    run_ms         bigint NOT NULL,
    fuel           bigint NOT NULL,
    PRIMARY KEY (bucket_ms, lane_id, plugin, plugin_version)
) WITH (fillfactor = 70);
