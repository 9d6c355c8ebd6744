//! Requests that keep their distance: each starts at its own moment, evenly spaced, whoever sends them.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::SharedClock;

/// When the next request may start, on the clock's monotonic time.
pub(super) struct Pace {
    gap: Duration,
    next: Mutex<Duration>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(Duration::ZERO) }
    }

    /// Takes the next moment and waits for it.
    pub(super) async fn wait(&self, clock: &SharedClock) {
        let now = clock.monotonic();
        let at = {
            let mut next = self.next.lock();
            let at = (*next).max(now);
            *next = at + self.gap;
            at
        };
        if at > now {
            clock.sleep(at - now).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};

    #[tokio::test]
    async fn moments_are_spaced_and_not_saved_up() {
        let virtual_clock = VirtualClock::starting_at(UnixMs(0));
        let clock: SharedClock = virtual_clock.clone();
        let pace = Pace::new(4);
        pace.wait(&clock).await;
        let second = pace.wait(&clock);
        tokio::pin!(second);
        assert!(futures::poll!(second.as_mut()).is_pending());
        virtual_clock.advance(Duration::from_millis(250));
        second.await;
        virtual_clock.advance(Duration::from_secs(60));
        pace.wait(&clock).await;
        assert!(futures::poll!(Box::pin(pace.wait(&clock))).is_pending(), "a quiet minute is no right to a burst");
    }
}
