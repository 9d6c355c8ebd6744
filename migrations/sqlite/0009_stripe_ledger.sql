-- Stripe's ledger. account is '' for the account that the key belongs to; money is in minor units of its currency.
CREATE TABLE stripe_balance_transactions (
    account            TEXT NOT NULL,
    livemode           INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    id                 TEXT NOT NULL,
    type               TEXT,
    reporting_category TEXT,
    balance_type       TEXT NOT NULL,
    source             TEXT,
    status             TEXT,
    currency           TEXT NOT NULL,
    amount             INTEGER NOT NULL,
    fee                INTEGER NOT NULL,
    net                INTEGER NOT NULL,
    exchange_rate      TEXT,
    created_at_ms      INTEGER NOT NULL,
    available_on_ms    INTEGER NOT NULL,
    payout             TEXT,
    charge             TEXT,
    payment_intent     TEXT,
    order_id           TEXT,
    description        TEXT,
    origin             TEXT NOT NULL CHECK (origin IN ('api', 'report')),
    PRIMARY KEY (account, livemode, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_balance_transactions_by_time ON stripe_balance_transactions (account, livemode, created_at_ms, id);
CREATE INDEX stripe_balance_transactions_by_payout ON stripe_balance_transactions (account, livemode, payout) WHERE payout IS NOT NULL;

-- How far the API was read; value is JSON.
CREATE TABLE stripe_cursors (
    account       TEXT NOT NULL,
    livemode      INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    name          TEXT NOT NULL,
    value         TEXT NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, livemode, name)
) STRICT, WITHOUT ROWID;

-- Whether the members of a payout are on record.
CREATE TABLE stripe_payout_listings (
    account       TEXT NOT NULL,
    livemode      INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    payout        TEXT NOT NULL,
    currency      TEXT NOT NULL,
    amount        INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('due', 'complete', 'incomplete', 'unattributable')),
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, livemode, payout)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_payout_listings_by_state ON stripe_payout_listings (account, livemode, state, payout);

-- Rows that could not be read, or that contradict what is on record. Nothing is dropped without a trace here.
CREATE TABLE stripe_quarantine (
    id       TEXT NOT NULL,
    account  TEXT NOT NULL,
    livemode INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    source   TEXT NOT NULL,
    line     INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    row      TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (account, livemode, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX stripe_quarantine_by_time ON stripe_quarantine (account, livemode, at_ms);
