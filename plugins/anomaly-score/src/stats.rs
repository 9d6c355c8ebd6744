//! Robust statistics. Sums always run in the order of time, so that the same series gives the same bits on every machine.

use crate::math::rarity;

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

/// −log10 of the share of the scores that are at least as large, for each of them.
pub(crate) fn rarities(scores: &[f64]) -> Vec<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let rank = |score: &f64| {
        let (below, up_to) = (sorted.partition_point(|other| other < score), sorted.partition_point(|other| other <= score));
        count - (below + up_to) as f64 / 2.0 + 0.5
    };
    scores.iter().map(|score| rarity(rank(score).max(0.5), count)).collect()
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
}
