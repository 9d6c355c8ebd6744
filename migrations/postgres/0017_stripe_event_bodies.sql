-- The body of an event may be taken out when it has been kept long enough, if the operator says how long that is. What it was, when it came,
-- its digest and the verdict stay, and no row is removed. An empty body is one that was taken out.
DROP TRIGGER stripe_events_are_not_changed ON taskwarden.stripe_events;
CREATE TRIGGER stripe_events_are_not_changed BEFORE UPDATE ON taskwarden.stripe_events FOR EACH ROW
WHEN (NOT (octet_length(NEW.body) = 0
     AND (NEW.id, NEW.event_type, NEW.account, NEW.livemode, NEW.api_version, NEW.verdict, NEW.created_at_ms, NEW.received_at_ms, NEW.body_sha256)
     IS NOT DISTINCT FROM (OLD.id, OLD.event_type, OLD.account, OLD.livemode, OLD.api_version, OLD.verdict, OLD.created_at_ms, OLD.received_at_ms, OLD.body_sha256)))
EXECUTE FUNCTION taskwarden.refuse_change();
CREATE TRIGGER stripe_events_are_not_removed BEFORE DELETE OR TRUNCATE ON taskwarden.stripe_events
FOR EACH STATEMENT EXECUTE FUNCTION taskwarden.refuse_change();

CREATE INDEX stripe_events_with_body ON taskwarden.stripe_events (received_at_ms) WHERE octet_length(body) > 0;
