-- What operators set while the host runs.
CREATE TABLE taskwarden.limit_settings (
    scope         text NOT NULL CHECK (scope IN ('host', 'task_type', 'ai_model', 'plugin')),
    name          text COLLATE "C" NOT NULL,
    limits        text NOT NULL,
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (scope, name)
);

CREATE TABLE taskwarden.plugins (
    name           text COLLATE "C" PRIMARY KEY,
    version        text NOT NULL,
    digest         bytea NOT NULL,
    bytes          bytea NOT NULL,
    uploaded_at_ms bigint NOT NULL
);

-- Tokens are kept as their hashes; nothing here lets anybody in.
CREATE TABLE taskwarden.tokens (
    id            uuid PRIMARY KEY,
    hash          bytea NOT NULL,
    scopes        text NOT NULL,
    label         text NOT NULL,
    created_at_ms bigint NOT NULL
);
