//! How unusual a value is against its own history, as −log10 of a tail probability.
//!
//! The body of the history gives its 80 % quantile; beyond it the tail is taken as exponential, with the mean excess seen so far.
//! Both are drawn towards what a normal distribution would have while the history is short. Everything is arithmetic that every
//! machine rounds alike: no logarithm, no exponential function.

use crate::stats::{Window, quantile};

/// −log10 of 0.2, the share of the history that lies in the tail.
const TAIL_START: f64 = 0.698_970_004_336_018_8;
/// ln 10: an exponential tail falls by a factor of ten over this many mean excesses.
const LN_10: f64 = std::f64::consts::LN_10;
/// The 80 % quantile of the absolute value of a standard normal variable, and its mean excess over that.
const NORMAL: (f64, f64) = (1.2816, 0.43);
/// How many values the assumption of a normal distribution weighs as much as, for the quantile and for the excess.
const PRIOR_WEIGHT: (f64, f64) = (20.0, 6.0);
/// Values enter the history no further out than this many mean excesses, so that an incident does not make the next one look normal.
const KEPT_EXCESSES: f64 = 5.0;
/// Scores end here: a tail probability of 10⁻¹² from some hundred values says no more than 10⁻⁸ does.
const SCORE_MAX: f64 = 20.0;

#[derive(Debug, Clone)]
pub(crate) struct Tail {
    history: Window,
    prior: (f64, f64),
    start: f64,
    excess: f64,
    stale: u32,
}

impl Tail {
    /// For the absolute value of something that has standard deviation one.
    pub(crate) fn of_deviations(history: usize) -> Self {
        Self::with_prior(history, NORMAL)
    }

    pub(crate) fn with_prior(history: usize, prior: (f64, f64)) -> Self {
        Self { history: Window::new(history), prior, start: prior.0, excess: prior.1, stale: 0 }
    }

    /// The score of `value`, then takes it into the history.
    pub(crate) fn score(&mut self, value: f64) -> f64 {
        let score = self.peek(value);
        self.history.push(value.min(self.start + KEPT_EXCESSES * self.excess));
        self.stale += 1;
        // Refitting for each value would cost more than it tells: a tenth more history is enough to look again.
        if self.stale as usize * 10 >= self.history.len() {
            self.refit();
        }
        score
    }

    fn peek(&self, value: f64) -> f64 {
        if value <= self.start {
            return TAIL_START * (value / self.start).max(0.0);
        }
        (TAIL_START + (value - self.start) / (self.excess * LN_10)).min(SCORE_MAX)
    }

    /// The value whose score is `score`.
    pub(crate) fn value_at(&self, score: f64) -> f64 {
        self.start + (score - TAIL_START).max(0.0) * self.excess * LN_10
    }

    fn refit(&mut self) {
        self.stale = 0;
        let count = self.history.len() as f64;
        let own_start = quantile(&mut self.history.iter().collect::<Vec<_>>(), 0.8);
        let (prior_start, prior_excess) = self.prior;
        self.start = ((own_start * count + prior_start * PRIOR_WEIGHT.0) / (count + PRIOR_WEIGHT.0)).max(1e-3);
        let (mut beyond, mut sum) = (0.0, 0.0);
        for value in self.history.iter().filter(|value| *value > self.start) {
            beyond += 1.0;
            sum += value - self.start;
        }
        self.excess = ((sum + prior_excess * PRIOR_WEIGHT.1) / (beyond + PRIOR_WEIGHT.1)).max(1e-3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_thousand_scores_about_three_on_its_own_history() {
        let mut tail = Tail::of_deviations(4096);
        // Exponentially distributed values by their quantiles, in a scattered order.
        for i in 0..4000u32 {
            let share = f64::from((i * 1237) % 4000) / 4000.0;
            tail.score(-(1.0 - share).ln() * 2.0);
        }
        let at_a_thousandth = 2.0 * 1000f64.ln();
        assert!((tail.peek(at_a_thousandth) - 3.0).abs() < 0.3, "{}", tail.peek(at_a_thousandth));
        assert!((tail.peek(tail.value_at(3.0)) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn an_incident_does_not_hide_the_next_one() {
        let mut tail = Tail::of_deviations(256);
        for i in 0..100 {
            tail.score(f64::from(i % 10) / 5.0);
        }
        let first = tail.score(30.0);
        let second = tail.score(30.0);
        assert!(first > 6.0 && second > first * 0.7, "{first} {second}");
    }
}
