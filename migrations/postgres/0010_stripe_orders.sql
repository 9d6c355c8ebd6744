-- Orders that were sent to a hosted checkout. Whether they are paid follows from Stripe's objects, which carry the order's id.
CREATE TABLE taskwarden.stripe_orders (
    account       text COLLATE "C" NOT NULL,
    livemode      boolean NOT NULL,
    id            text COLLATE "C" NOT NULL,
    digest        bytea NOT NULL,
    currency      text NOT NULL,
    amount        bigint NOT NULL,
    tax           bigint NOT NULL,
    shipping      bigint NOT NULL,
    basket        text NOT NULL,
    session       text,
    url           text,
    created_at_ms bigint NOT NULL,
    PRIMARY KEY (account, livemode, id)
);
CREATE INDEX stripe_orders_by_time ON taskwarden.stripe_orders (account, livemode, created_at_ms, id);
