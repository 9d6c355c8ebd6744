-- What Stripe sent, byte for byte. Rows are added and neither changed nor removed: this is what everything else can be checked against.
CREATE TABLE stripe_events (
    id             TEXT PRIMARY KEY,
    event_type     TEXT NOT NULL,
    account        TEXT NOT NULL,
    livemode       INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    api_version    TEXT,
    verdict        TEXT NOT NULL CHECK (verdict IN ('accepted', 'unknown_type', 'other_mode', 'other_account', 'unreadable')),
    created_at_ms  INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL,
    body_sha256    BLOB NOT NULL,
    body           BLOB NOT NULL
) STRICT;

CREATE TRIGGER stripe_events_are_not_changed BEFORE UPDATE ON stripe_events
BEGIN SELECT RAISE(ABORT, 'stripe_events is append-only'); END;
CREATE TRIGGER stripe_events_are_not_removed BEFORE DELETE ON stripe_events
BEGIN SELECT RAISE(ABORT, 'stripe_events is append-only'); END;

-- Each of Stripe's objects as it is known from everything that was seen of it. Nothing in a row depends on the order in which that came.
-- Money is in minor units of the currency; account is '' for the account the endpoint belongs to; amount_refunded is what was reversed, for transfers.
CREATE TABLE stripe_transactions (
    account                     TEXT NOT NULL,
    livemode                    INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    kind                        TEXT NOT NULL,
    id                          TEXT NOT NULL,
    status                      TEXT NOT NULL,
    rank                        INTEGER NOT NULL,
    contested                   INTEGER NOT NULL CHECK (contested IN (0, 1)),
    currency                    TEXT NOT NULL,
    amount                      INTEGER NOT NULL,
    amount_captured             INTEGER NOT NULL,
    amount_refunded             INTEGER NOT NULL,
    held                        INTEGER NOT NULL CHECK (held IN (0, 1)),
    paid                        INTEGER NOT NULL CHECK (paid IN (0, 1)),
    reconciled                  INTEGER NOT NULL CHECK (reconciled IN (0, 1)),
    payment_intent              TEXT,
    charge                      TEXT,
    balance_transaction         TEXT,
    failure_balance_transaction TEXT,
    order_id                    TEXT,
    created_at_ms               INTEGER NOT NULL,
    captured_at_ms              INTEGER NOT NULL,
    refunded_at_ms              INTEGER NOT NULL,
    arrival_at_ms               INTEGER,
    withdrawn_at_ms             INTEGER,
    reinstated_at_ms            INTEGER,
    rank_since_ms               INTEGER NOT NULL,
    seen_at_ms                  INTEGER NOT NULL,
    seen_by                     TEXT NOT NULL,
    PRIMARY KEY (account, livemode, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_transactions_refunds ON stripe_transactions (account, livemode, charge, amount) WHERE kind = 'refund' AND charge IS NOT NULL;
CREATE INDEX stripe_transactions_by_order ON stripe_transactions (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX stripe_transactions_by_payment ON stripe_transactions (payment_intent) WHERE payment_intent IS NOT NULL;

-- Objects that have to be asked for, and why.
CREATE TABLE stripe_wanted (
    account   TEXT NOT NULL,
    livemode  INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    object    TEXT NOT NULL,
    id        TEXT NOT NULL,
    reason    TEXT NOT NULL CHECK (reason IN ('contested', 'named', 'movement')),
    due_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, livemode, object, id, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_wanted_by_time ON stripe_wanted (due_at_ms);

-- Running sums by quarter of an hour in UTC. Rows that came to nothing are removed.
CREATE TABLE stripe_income (
    bucket_ms    INTEGER NOT NULL,
    account      TEXT NOT NULL,
    livemode     INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    basis        TEXT NOT NULL CHECK (basis IN ('provisional', 'final')),
    balance_type TEXT NOT NULL,
    currency     TEXT NOT NULL,
    category     TEXT NOT NULL,
    facts        INTEGER NOT NULL,
    amount       INTEGER NOT NULL,
    fee          INTEGER NOT NULL,
    net          INTEGER NOT NULL,
    PRIMARY KEY (bucket_ms, account, livemode, basis, balance_type, currency, category)
) STRICT, WITHOUT ROWID;

-- What was added to sums that may have been reported already, by the quarter of an hour in which it was.
CREATE TABLE stripe_income_restated (
    bucket_ms      INTEGER NOT NULL,
    account        TEXT NOT NULL,
    livemode       INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    basis          TEXT NOT NULL CHECK (basis IN ('provisional', 'final')),
    balance_type   TEXT NOT NULL,
    currency       TEXT NOT NULL,
    category       TEXT NOT NULL,
    restated_at_ms INTEGER NOT NULL,
    facts          INTEGER NOT NULL,
    amount         INTEGER NOT NULL,
    fee            INTEGER NOT NULL,
    net            INTEGER NOT NULL,
    PRIMARY KEY (bucket_ms, account, livemode, basis, balance_type, currency, category, restated_at_ms)
) STRICT, WITHOUT ROWID;
