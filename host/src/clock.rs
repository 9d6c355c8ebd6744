//! The only place that asks what time it is.
//!
//! Everything else is handed a [`Clock`], so that a test can hold time still and move it by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A moment in integer milliseconds since 1970-01-01T00:00:00Z, the one time format inside the host and in its databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// This moment moved later; saturates at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment moved earlier; saturates at the beginning of time.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it (clocks step back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, as the API prints it.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| self.0.to_string(), |t| format!("{t:.3}"))
    }

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        text.parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_millisecond()))
            .map_err(|_| format!("{text:?} is not an RFC 3339 time such as 2026-01-31T12:00:00Z"))
    }
}

/// A wait that ends when the clock says so.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time as the host sees it: wall time for records, and waits measured on the same clock.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> UnixMs;
    /// Time since some fixed moment; never steps back. Deadlines and durations are measured on this.
    fn monotonic(&self) -> Duration;
    /// Completes once [`Clock::monotonic`] has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A clock shared by all parts of one host.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// The same, ready to be shared.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is told to move. For tests, here and in plugin authors' own.
#[derive(Debug)]
pub struct VirtualClock {
    inner: Mutex<VirtualTime>,
}

#[derive(Debug)]
struct VirtualTime {
    epoch: UnixMs,
    elapsed: Duration,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl VirtualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn starting_at(start: UnixMs) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(VirtualTime { epoch: start, elapsed: Duration::ZERO, sleepers: Vec::new() }) })
    }

    /// Moves the clock and wakes every sleeper whose time has come.
    pub fn advance(&self, by: Duration) {
        let mut time = self.inner.lock();
        time.elapsed += by;
        let now = time.elapsed;
        let (due, waiting) = std::mem::take(&mut time.sleepers).into_iter().partition(|(at, _)| *at <= now);
        time.sleepers = waiting;
        drop(time);
        let due: Vec<(Duration, oneshot::Sender<()>)> = due;
        for (_, wake) in due {
            // A sleeper that was dropped no longer waits for this.
            let _ = wake.send(());
        }
    }

    /// How many waits have not ended yet: lets a test move time only once somebody sleeps.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        let mut time = self.inner.lock();
        time.sleepers.retain(|(_, wake)| !wake.is_closed());
        time.sleepers.len()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> UnixMs {
        let time = self.inner.lock();
        time.epoch.plus(time.elapsed)
    }

    fn monotonic(&self) -> Duration {
        self.inner.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut time = self.inner.lock();
        let at = time.elapsed + duration;
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        time.sleepers.push((at, wake));
        Box::pin(async move {
            // The clock itself was dropped: nothing will ever wake us, which is what a stopped clock means.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trip() {
        let at = UnixMs::parse_rfc3339("2026-01-31T13:00:00.250+01:00").unwrap_or_default();
        assert_eq!(at.to_rfc3339(), "2026-01-31T12:00:00.250Z");
        assert!(UnixMs::parse_rfc3339("yesterday").is_err());
    }

    #[tokio::test]
    async fn virtual_sleep_ends_when_time_is_moved() {
        let clock = VirtualClock::starting_at(UnixMs(1_000));
        let sleep = clock.sleep(Duration::from_millis(500));
        clock.advance(Duration::from_millis(499));
        assert_eq!(clock.sleepers(), 1);
        clock.advance(Duration::from_millis(1));
        sleep.await;
        assert_eq!(clock.now(), UnixMs(1_500));
    }
}
