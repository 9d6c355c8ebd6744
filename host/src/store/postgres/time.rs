//! Whose clock decides.
//!
//! Hosts have clocks of their own, which may be wrong. What they say is moved by how far their clock is from the database's, as it
//! was seen at the last heartbeat, before it is written or compared; leases do not rest on that but on the database's clock alone.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::UnixMs;

/// Whose clock decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The database's.
    Database,
    /// Whoever calls says what time it is: for tests, which move it by hand.
    Caller,
}

/// Within this a difference is the way there and back, and no difference.
const SAME_MS: i64 = 100;

/// The database's clock in SQL.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

pub(super) struct Time {
    source: TimeSource,
    ahead_ms: AtomicI64,
}

impl Time {
    pub(super) fn new(source: TimeSource) -> Self {
        Self { source, ahead_ms: AtomicI64::new(0) }
    }

    /// Whether the database's clock decides.
    pub(super) fn is_database(&self) -> bool {
        self.source == TimeSource::Database
    }

    /// Notes what the database's clock showed when a host's showed `host`.
    pub(super) fn seen(&self, host: UnixMs, database_ms: i64) {
        let ahead = database_ms.saturating_sub(host.0);
        let ahead = if ahead.abs() <= SAME_MS { 0 } else { ahead };
        let before = self.ahead_ms.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) > 1000 {
            tracing::warn!(ahead_ms = ahead, "this host's clock and the database's differ; the database's counts");
        }
    }

    /// A host's time as the database would say it.
    pub(super) fn to_database(&self, host: UnixMs) -> i64 {
        if self.is_database() { host.0.saturating_add(self.ahead_ms.load(Ordering::Relaxed)) } else { host.0 }
    }

    /// The other way round.
    pub(super) fn to_host(&self, database_ms: i64) -> UnixMs {
        UnixMs(if self.is_database() { database_ms.saturating_sub(self.ahead_ms.load(Ordering::Relaxed)) } else { database_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_put_right_and_a_slow_answer_is_no_wrong_clock() {
        let time = Time::new(TimeSource::Database);
        time.seen(UnixMs(1_000), 1_080);
        assert_eq!(time.to_database(UnixMs(5)), 5);
        time.seen(UnixMs(1_000), 61_000);
        assert_eq!((time.to_database(UnixMs(5)), time.to_host(60_005)), (60_005, UnixMs(5)));
        let caller = Time::new(TimeSource::Caller);
        caller.seen(UnixMs(1_000), 61_000);
        assert_eq!((caller.to_database(UnixMs(5)), caller.to_host(5)), (5, UnixMs(5)));
    }
}
