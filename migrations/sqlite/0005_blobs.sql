-- Byte streams in pieces, so that none is ever in memory whole. committed = 0 is an upload that has not ended.
CREATE TABLE blobs (
    id            TEXT PRIMARY KEY,
    committed     INTEGER NOT NULL DEFAULT 0 CHECK (committed IN (0, 1)),
    size_bytes    INTEGER,
    sha256        BLOB,
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX blobs_by_age ON blobs (created_at_ms);

CREATE TABLE blob_pieces (
    piece_id    INTEGER PRIMARY KEY,
    blob_id     TEXT NOT NULL,
    piece_index INTEGER NOT NULL,
    bytes       BLOB NOT NULL,
    UNIQUE (blob_id, piece_index)
) STRICT;

-- Which tasks read which blobs.
CREATE TABLE task_blobs (
    blob_id TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (blob_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_blobs_by_task ON task_blobs (seq);
