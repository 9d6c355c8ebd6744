-- Stripe's ledger. account is '' for the account that the key belongs to; money is in minor units of its currency.
CREATE TABLE taskwarden.stripe_balance_transactions (
    account            text COLLATE "C" NOT NULL,
    livemode           boolean NOT NULL,
    id                 text COLLATE "C" NOT NULL,
    type               text,
    reporting_category text,
    balance_type       text NOT NULL,
    source             text,
    status             text,
    currency           text NOT NULL,
    amount             bigint NOT NULL,
    fee                bigint NOT NULL,
    net                bigint NOT NULL,
    exchange_rate      text,
    created_at_ms      bigint NOT NULL,
    available_on_ms    bigint NOT NULL,
    payout             text COLLATE "C",
    charge             text,
    payment_intent     text,
    order_id           text,
    description        text,
    origin             text NOT NULL CHECK (origin IN ('api', 'report')),
    PRIMARY KEY (account, livemode, id)
);
CREATE INDEX stripe_balance_transactions_by_time ON taskwarden.stripe_balance_transactions (account, livemode, created_at_ms, id);
CREATE INDEX stripe_balance_transactions_by_payout ON taskwarden.stripe_balance_transactions (account, livemode, payout) WHERE payout IS NOT NULL;

-- How far the API was read; value is JSON.
CREATE TABLE taskwarden.stripe_cursors (
    account       text COLLATE "C" NOT NULL,
    livemode      boolean NOT NULL,
    name          text COLLATE "C" NOT NULL,
    value         text NOT NULL,
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (account, livemode, name)
);

-- Whether the members of a payout are on record.
CREATE TABLE taskwarden.stripe_payout_listings (
    account       text COLLATE "C" NOT NULL,
    livemode      boolean NOT NULL,
    payout        text COLLATE "C" NOT NULL,
    currency      text NOT NULL,
    amount        bigint NOT NULL,
    state         text NOT NULL CHECK (state IN ('due', 'complete', 'incomplete', 'unattributable')),
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (account, livemode, payout)
);
CREATE INDEX stripe_payout_listings_by_state ON taskwarden.stripe_payout_listings (account, livemode, state, payout);

-- Rows that could not be read, or that contradict what is on record. Nothing is dropped without a trace here.
CREATE TABLE taskwarden.stripe_quarantine (
    id       text COLLATE "C" NOT NULL,
    account  text COLLATE "C" NOT NULL,
    livemode boolean NOT NULL,
    source   text COLLATE "C" NOT NULL,
    line     bigint NOT NULL,
    reason   text NOT NULL,
    "row"    text NOT NULL,
    at_ms    bigint NOT NULL,
    PRIMARY KEY (account, livemode, id)
);
CREATE INDEX stripe_quarantine_by_time ON taskwarden.stripe_quarantine (account, livemode, at_ms);
