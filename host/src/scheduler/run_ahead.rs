//! How many tasks to claim beyond the free threads.
//!
//! A commit takes milliseconds and a small task microseconds: a host that claims only what it can start at once spends its time
//! waiting for the disk. So it claims ahead, but only what it expects to start within a short window, judged by how long tasks
//! have taken lately. Where tasks are long the answer is zero, and a claimed task never waits behind them.

use std::time::Duration;

/// More than this is never claimed ahead.
const AHEAD_MAX: u32 = 1024;

/// Follows run times and answers how far to claim ahead.
#[derive(Debug)]
pub(super) struct RunAhead {
    window: Duration,
    slots: u32,
    /// A moving average, in seconds; infinite until something has run.
    typical_s: f64,
}

impl RunAhead {
    pub(super) fn new(slots: u32, window: Duration) -> Self {
        Self { window, slots, typical_s: f64::INFINITY }
    }

    /// A task ran for this long.
    pub(super) fn observe(&mut self, run_time: Duration) {
        let seconds = run_time.as_secs_f64();
        self.typical_s = if self.typical_s.is_finite() {
            // Rises at once and falls slowly: claiming too little costs throughput, claiming too much makes tasks wait.
            let weight = if seconds > self.typical_s { 0.25 } else { 0.05 };
            self.typical_s + weight * (seconds - self.typical_s)
        } else {
            seconds
        };
    }

    /// A claimed task had to be given back because it did not start in time: expect the worst again.
    pub(super) fn overrun(&mut self) {
        self.typical_s = f64::INFINITY;
    }

    /// How many to claim beyond the free threads.
    pub(super) fn depth(&self) -> u32 {
        let fit = self.window.as_secs_f64() * f64::from(self.slots) / self.typical_s.max(1e-6);
        // A saturating cast: infinite run times give 0, and the maximum bounds the rest.
        (fit as u32).min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_ahead_of_long_or_unknown_tasks() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        assert_eq!(ahead.depth(), 0);
        ahead.observe(Duration::from_secs(2));
        assert_eq!(ahead.depth(), 0);
    }

    #[test]
    fn short_tasks_open_the_window_and_one_long_task_narrows_it() {
        let mut ahead = RunAhead::new(4, Duration::from_millis(5));
        ahead.observe(Duration::from_micros(100));
        assert_eq!(ahead.depth(), 200);
        ahead.observe(Duration::from_millis(50));
        assert_eq!(ahead.depth(), 1);
        ahead.overrun();
        assert_eq!(ahead.depth(), 0);
        ahead.observe(Duration::from_nanos(10));
        assert_eq!(ahead.depth(), AHEAD_MAX);
    }
}
