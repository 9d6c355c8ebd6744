//! Robust statistics. Sums always run in the order of time, so that the same series gives the same bits on every machine.

use std::collections::VecDeque;

/// Turns a median absolute deviation into the standard deviation of a normal distribution that would have it.
pub(crate) const MAD_TO_SIGMA: f64 = 1.4826;

/// The middle of `values` (the mean of the two middle ones), reordering them; zero when there are none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let count = values.len();
    if count == 0 {
        return 0.0;
    }
    let (below, middle, _) = values.select_nth_unstable_by(count / 2, f64::total_cmp);
    let upper = *middle;
    if count % 2 == 1 {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    lower + (upper - lower) / 2.0
}

/// The value below which the share `q` of `values` lies, reordering them; zero when there are none.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is a share and the count is small")]
    let rank = ((values.len() - 1) as f64 * q) as usize;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// The last so many values, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    values: VecDeque<f64>,
    max: usize,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        Self { values: VecDeque::with_capacity(max.min(64)), max }
    }

    pub(crate) fn push(&mut self, value: f64) {
        if self.values.len() >= self.max {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = f64> {
        self.values.iter().copied()
    }

    pub(crate) fn median(&self) -> f64 {
        median(&mut self.iter().collect::<Vec<_>>())
    }

    /// The mean of the newest `count` values, times the square root of `count`: as wide as one value if they are independent.
    pub(crate) fn drift(&self, count: usize) -> f64 {
        if self.len() < count {
            return 0.0;
        }
        self.iter().rev().take(count).sum::<f64>() / (count as f64).sqrt()
    }

    /// The mean size of the newest `count` values.
    pub(crate) fn unrest(&self, count: usize) -> f64 {
        if self.len() < count { 0.0 } else { self.iter().rev().take(count).map(f64::abs).sum::<f64>() / count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(quantile(&mut [5.0, 1.0, 2.0, 4.0, 3.0], 0.75), 4.0);
    }

    #[test]
    fn a_window_forgets_the_oldest() {
        let mut window = Window::new(2);
        for value in [9.0, 1.0, 3.0] {
            window.push(value);
        }
        assert_eq!(window.iter().collect::<Vec<_>>(), [1.0, 3.0]);
        assert_eq!(window.drift(2), 4.0 / 2f64.sqrt());
        assert_eq!(window.drift(3), 0.0);
    }
}
