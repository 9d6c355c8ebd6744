-- What operators set while the host runs.
CREATE TABLE limit_settings (
    scope         TEXT NOT NULL CHECK (scope IN ('host', 'task_type', 'ai_model', 'plugin')),
    name          TEXT NOT NULL,
    limits        TEXT NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE plugins (
    name           TEXT PRIMARY KEY,
    version        TEXT NOT NULL,
    digest         BLOB NOT NULL,
    bytes          BLOB NOT NULL,
    uploaded_at_ms INTEGER NOT NULL
) STRICT;

-- Tokens are kept as their hashes; nothing here lets anybody in.
CREATE TABLE tokens (
    id            TEXT PRIMARY KEY,
    hash          BLOB NOT NULL,
    scopes        TEXT NOT NULL,
    label         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;
