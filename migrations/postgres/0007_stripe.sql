-- What Stripe sent, byte for byte. Rows are added and neither changed nor removed: this is what everything else can be checked against.
CREATE TABLE taskwarden.stripe_events (
    id             text COLLATE "C" PRIMARY KEY,
    event_type     text COLLATE "C" NOT NULL,
    account        text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    api_version    text COLLATE "C",
    verdict        text COLLATE "C" NOT NULL CHECK (verdict IN ('accepted', 'unknown_type', 'other_mode', 'other_account', 'unreadable')),
    created_at_ms  bigint NOT NULL,
    received_at_ms bigint NOT NULL,
    body_sha256    bytea NOT NULL,
    body           bytea NOT NULL
);

CREATE FUNCTION taskwarden.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stripe_events is append-only';
END $$;
CREATE TRIGGER stripe_events_are_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON taskwarden.stripe_events
FOR EACH STATEMENT EXECUTE FUNCTION taskwarden.refuse_change();

-- Each of Stripe's objects as it is known from everything that was seen of it. Nothing in a row depends on the order in which that came.
-- Money is in minor units of the currency; account is '' for the account the endpoint belongs to; amount_refunded is what was reversed, for transfers.
CREATE TABLE taskwarden.stripe_transactions (
    account                     text COLLATE "C" NOT NULL,
    livemode                    boolean NOT NULL,
    kind                        text COLLATE "C" NOT NULL,
    id                          text COLLATE "C" NOT NULL,
    status                      text COLLATE "C" NOT NULL,
    rank                        bigint NOT NULL,
    contested                   boolean NOT NULL,
    currency                    text COLLATE "C" NOT NULL,
    amount                      bigint NOT NULL,
    amount_captured             bigint NOT NULL,
    amount_refunded             bigint NOT NULL,
    held                        boolean NOT NULL,
    paid                        boolean NOT NULL,
    reconciled                  boolean NOT NULL,
    payment_intent              text COLLATE "C",
    charge                      text COLLATE "C",
    balance_transaction         text COLLATE "C",
    failure_balance_transaction text COLLATE "C",
    order_id                    text COLLATE "C",
    created_at_ms               bigint NOT NULL,
    captured_at_ms              bigint NOT NULL,
    refunded_at_ms              bigint NOT NULL,
    arrival_at_ms               bigint,
    withdrawn_at_ms             bigint,
    reinstated_at_ms            bigint,
    rank_since_ms               bigint NOT NULL,
    seen_at_ms                  bigint NOT NULL,
    seen_by                     text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, livemode, kind, id)
);
CREATE INDEX stripe_transactions_refunds ON taskwarden.stripe_transactions (account, livemode, charge, amount) WHERE kind = 'refund' AND charge IS NOT NULL;
CREATE INDEX stripe_transactions_by_order ON taskwarden.stripe_transactions (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX stripe_transactions_by_payment ON taskwarden.stripe_transactions (payment_intent) WHERE payment_intent IS NOT NULL;

-- Objects that have to be asked for, and why.
CREATE TABLE taskwarden.stripe_wanted (
    account   text COLLATE "C" NOT NULL,
    livemode  boolean NOT NULL,
    object    text COLLATE "C" NOT NULL,
    id        text COLLATE "C" NOT NULL,
    reason    text COLLATE "C" NOT NULL CHECK (reason IN ('contested', 'named', 'movement')),
    due_at_ms bigint NOT NULL,
    PRIMARY KEY (account, livemode, object, id, reason)
);
CREATE INDEX stripe_wanted_by_time ON taskwarden.stripe_wanted (due_at_ms);

-- Running sums by quarter of an hour in UTC. Rows that came to nothing are removed.
CREATE TABLE taskwarden.stripe_income (
    bucket_ms    bigint NOT NULL,
    account      text COLLATE "C" NOT NULL,
    livemode     boolean NOT NULL,
    basis        text COLLATE "C" NOT NULL CHECK (basis IN ('provisional', 'final')),
    balance_type text COLLATE "C" NOT NULL,
    currency     text COLLATE "C" NOT NULL,
    category     text COLLATE "C" NOT NULL,
    facts        bigint NOT NULL,
    amount       bigint NOT NULL,
    fee          bigint NOT NULL,
    net          bigint NOT NULL,
    PRIMARY KEY (bucket_ms, account, livemode, basis, balance_type, currency, category)
);

-- What was added to sums that may have been reported already, by the quarter of an hour in which it was.
CREATE TABLE taskwarden.stripe_income_restated (
    bucket_ms      bigint NOT NULL,
    account        text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    basis          text COLLATE "C" NOT NULL CHECK (basis IN ('provisional', 'final')),
    balance_type   text COLLATE "C" NOT NULL,
    currency       text COLLATE "C" NOT NULL,
    category       text COLLATE "C" NOT NULL,
    restated_at_ms bigint NOT NULL,
    facts          bigint NOT NULL,
    amount         bigint NOT NULL,
    fee            bigint NOT NULL,
    net            bigint NOT NULL,
    PRIMARY KEY (bucket_ms, account, livemode, basis, balance_type, currency, category, restated_at_ms)
);
