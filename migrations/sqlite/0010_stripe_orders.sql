-- Orders that were sent to a hosted checkout. Whether they are paid follows from Stripe's objects, which carry the order's id.
CREATE TABLE stripe_orders (
    account       TEXT NOT NULL,
    livemode      INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    id            TEXT NOT NULL,
    digest        BLOB NOT NULL,
    currency      TEXT NOT NULL,
    amount        INTEGER NOT NULL,
    tax           INTEGER NOT NULL,
    shipping      INTEGER NOT NULL,
    basket        TEXT NOT NULL,
    session       TEXT,
    url           TEXT,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, livemode, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_orders_by_time ON stripe_orders (account, livemode, created_at_ms, id);
