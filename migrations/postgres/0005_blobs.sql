-- Byte streams in pieces, so that none is ever in memory whole. An upload that has not ended is not committed.
CREATE TABLE taskwarden.blobs (
    id            uuid PRIMARY KEY,
    committed     boolean NOT NULL DEFAULT false,
    size_bytes    bigint,
    sha256        bytea,
    created_at_ms bigint NOT NULL
);
CREATE INDEX blobs_by_age ON taskwarden.blobs (created_at_ms);

CREATE TABLE taskwarden.blob_pieces (
    blob_id     uuid NOT NULL,
    piece_index integer NOT NULL,
    bytes       bytea NOT NULL,
    PRIMARY KEY (blob_id, piece_index)
);
-- Blobs come compressed or do not compress; trying would cost more than it saves.
ALTER TABLE taskwarden.blob_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Which tasks read which blobs.
CREATE TABLE taskwarden.task_blobs (
    blob_id uuid NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (blob_id, seq)
);
CREATE INDEX task_blobs_by_task ON taskwarden.task_blobs (seq);
