-- The body of an event may be taken out when it has been kept long enough, if the operator says how long that is. What it was, when it came,
-- its digest and the verdict stay, and no row is removed. An empty body is one that was taken out.
DROP TRIGGER stripe_events_are_not_changed;
CREATE TRIGGER stripe_events_are_not_changed BEFORE UPDATE ON stripe_events
WHEN NOT (length(NEW.body) = 0
     AND NEW.id IS OLD.id
     AND NEW.event_type IS OLD.event_type
     AND NEW.account IS OLD.account
     AND NEW.livemode IS OLD.livemode
     AND NEW.api_version IS OLD.api_version
     AND NEW.verdict IS OLD.verdict
     AND NEW.created_at_ms IS OLD.created_at_ms
     AND NEW.received_at_ms IS OLD.received_at_ms
     AND NEW.body_sha256 IS OLD.body_sha256)
BEGIN SELECT RAISE(ABORT, 'stripe_events is append-only'); END;

CREATE INDEX stripe_events_with_body ON stripe_events (received_at_ms) WHERE length(body) > 0;
