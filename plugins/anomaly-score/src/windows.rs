//! Which stretches of a series look unlike the others: each window of it as a point in a space, and its distance from the middle in
//! units of how windows usually differ. That is the sum over all principal components of squared coordinate over eigenvalue, computed
//! by the covariance's triangular factor instead of its eigenvectors (Sub-PCA with all components: Aggarwal, "Outlier Analysis", 2017;
//! strongest of the classical detectors in Liu and Paparrizos, "The elephant in the room", NeurIPS 2024).

use crate::matrix::Bulk;
use crate::stats::rarities;

/// Values in a window.
const DIMENSIONS: usize = 64;
/// A value is the mean of so many points, in a long series.
const POINTS_A_VALUE: usize = 4;
/// Windows are at most so many: two megabytes.
const VALUES_MAX: usize = 4096;
/// A series shorter than this gets finer values.
const LONG: usize = 1000;
/// So many values a shorter series has at least.
const VALUES_MIN: usize = 250;

/// For each of `count` values, −log10 of the share of windows that look as unlike the others as the one around it. None for a series too
/// short.
pub(crate) fn unlike_others(count: usize, values: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
    let each = if count >= LONG { count.div_ceil(VALUES_MAX).max(POINTS_A_VALUE) } else { (count / VALUES_MIN).max(1) };
    let mut means = means_of(values, each);
    if means.len() < 3 * DIMENSIONS {
        return None;
    }
    // In units of the largest value: what the ridge adds should not depend on the series' own unit.
    let unit = means.iter().map(|mean| mean.abs()).fold(0.0, f64::max);
    let unit = if unit > 0.0 { unit } else { 1.0 };
    means.iter_mut().for_each(|mean| *mean = *mean / unit * 1e3);
    // Windows overlap, so they are read where they lie instead of being laid out one by one.
    let windows = || means.windows(DIMENSIONS);
    let bulk = Bulk::of_rows(DIMENSIONS, windows().count(), &[], windows);
    let mut white = vec![0.0; DIMENSIONS];
    let distance = |window: &[f64]| {
        bulk.whiten_row(window, &mut white);
        white.iter().map(|x| x * x).sum()
    };
    let rare = rarities(&windows().map(distance).collect::<Vec<f64>>());
    // A window speaks for the point in its middle; the first and the last half window for what is before and after.
    let window_of = |at: usize| (at / each).saturating_sub(DIMENSIONS / 2).min(rare.len() - 1);
    Some((0..count).map(|at| rare.get(window_of(at)).copied().unwrap_or(0.0)).collect())
}

/// The means of `each` values and `each` again, and of what is left.
fn means_of(values: impl Iterator<Item = f64>, each: usize) -> Vec<f64> {
    let mut means = Vec::new();
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
        if count == each {
            means.push(sum / count as f64);
            (sum, count) = (0.0, 0);
        }
    }
    means.extend((count > 0).then(|| sum / count as f64));
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_without_its_peak_looks_unlike_the_others() {
        let value = |at: usize| if at % 288 < 60 && at / 288 != 9 { 10.0 } else { (at * 7919 % 100) as f64 / 100.0 };
        let found = unlike_others(4032, (0..4032).map(value)).expect("long enough");
        let worst = (0..4032).max_by(|a, b| found[*a].total_cmp(&found[*b])).expect("some");
        assert!((2400..2900).contains(&worst), "{worst}");
        assert_eq!(unlike_others(100, [1.0; 100].into_iter()), None);
        assert_eq!(means_of([1.0, 3.0, 5.0].into_iter(), 2), [2.0, 5.0]);
    }
}
