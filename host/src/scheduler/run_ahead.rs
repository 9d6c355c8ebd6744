//! How many tasks to claim beyond the free threads.
//!
//! A commit takes milliseconds and a small task microseconds: a host that claims only what it can start at once spends its time
//! waiting for the disk. So it claims ahead, but only what it expects to start within a short window, judged by how long tasks
//! have taken lately. Where tasks are long the answer is zero, and a claimed task never waits behind them. And never more than is run
//! while two claims are under way: on a fast disk that is little, and whatever is urgent waits for a short transaction only.

use std::time::Duration;

/// More than this is never claimed ahead.
const AHEAD_MAX: u32 = 1024;

/// Of recent run times, this share is shorter than what is called typical.
const TYPICAL_SHARE: f64 = 0.8;
/// How far one run moves what is called typical.
const STEP: f64 = 0.1;

/// How far one claim moves the mean, and how many claims the window covers.
const CLAIM_STEP: f64 = 0.05;
const CLAIMS_AHEAD: f64 = 2.0;

/// Follows run times and answers how far to claim ahead.
#[derive(Debug)]
pub(super) struct RunAhead {
    window: Duration,
    slots: u32,
    /// A running quantile, in seconds; infinite until something has run. An average would be ruled by the few tasks that the
    /// machine happened to interrupt, and claims would stop whenever it is busy.
    typical_s: f64,
    /// How long a claim takes, as a running mean in seconds.
    claim_s: f64,
}

impl RunAhead {
    pub(super) fn new(slots: u32, window: Duration) -> Self {
        Self { window, slots, typical_s: f64::INFINITY, claim_s: window.as_secs_f64() }
    }

    /// A task ran for this long.
    pub(super) fn observe(&mut self, run_time: Duration) {
        let seconds = run_time.as_secs_f64().max(1e-7);
        self.typical_s = if !self.typical_s.is_finite() {
            seconds
        } else if seconds > self.typical_s {
            self.typical_s * (1.0 + STEP * TYPICAL_SHARE)
        } else {
            self.typical_s * (1.0 - STEP * (1.0 - TYPICAL_SHARE))
        };
    }

    /// A claim took this long.
    pub(super) fn claimed(&mut self, took: Duration) {
        self.claim_s += CLAIM_STEP * (took.as_secs_f64() - self.claim_s);
    }

    /// A claimed task had to be given back because it did not start in time: expect the worst again.
    pub(super) fn overrun(&mut self) {
        self.typical_s = f64::INFINITY;
    }

    /// How many to claim beyond the free threads.
    pub(super) fn depth(&self) -> u32 {
        let window = self.window.as_secs_f64().min(CLAIMS_AHEAD * self.claim_s);
        let fit = window * f64::from(self.slots) / self.typical_s.max(1e-6);
        // A saturating cast: infinite run times give 0, and the maximum bounds the rest.
        (fit as u32).min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(100);
    const LONG: Duration = Duration::from_millis(50);

    #[test]
    fn nothing_is_claimed_ahead_of_long_or_unknown_tasks() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        assert_eq!(ahead.depth(), 0);
        ahead.observe(Duration::from_secs(2));
        assert_eq!(ahead.depth(), 0);
    }

    #[test]
    fn short_tasks_open_the_window_a_stray_long_one_does_not_close_it_and_many_do() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        ahead.observe(SHORT);
        assert_eq!(ahead.depth(), 200);
        for turn in 0..300 {
            ahead.observe(if turn % 10 == 0 { LONG } else { SHORT });
        }
        assert!(ahead.depth() > 150, "one in ten is not typical: {}", ahead.depth());
        for _ in 0..100 {
            ahead.observe(LONG);
        }
        assert_eq!(ahead.depth(), 0, "now it is");
    }

    #[test]
    fn fast_claims_need_less_in_advance() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        ahead.observe(SHORT);
        for _ in 0..200 {
            ahead.claimed(Duration::from_micros(500));
        }
        assert_eq!(ahead.depth(), 40);
        for _ in 0..200 {
            ahead.claimed(Duration::from_millis(30));
        }
        assert_eq!(ahead.depth(), 200, "a slow disk gets the whole window and no more");
    }

    #[test]
    fn a_task_that_waited_too_long_closes_it_at_once() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        ahead.observe(Duration::from_nanos(10));
        assert_eq!(ahead.depth(), AHEAD_MAX);
        ahead.overrun();
        assert_eq!(ahead.depth(), 0);
    }
}
