//! Columns on comparable scales: logarithms where they make a column even, then median and median absolute deviation.

#![expect(clippy::indexing_slicing, reason = "ranks are below the list's length")]

use super::table::Table;
use crate::math::ln;
use crate::matrix::Matrix;
use crate::stats::{MAD_TO_SIGMA, median};

/// With fewer different values than this a column is a code or a small count, and stays as it is.
const DIFFERENT_MIN: usize = 11;
/// Logarithms have to make a column more even by this much, or they are left alone.
const EVENER_BY: f64 = 0.1;
/// Zeros become this share of the usual.
const ZERO_SHARE: f64 = 0.01;
/// A median deviation smaller than this share of the standard deviation says that most values are the same.
const MAD_SHARE_MIN: f64 = 0.1;

/// No column is taken to vary by less than this within the bulk, as a variance in its own units, ...
const LEAST_VARIANCE: f64 = 0.25;
/// ... and no column of few different values: where nearly all rows have none, one is unusual, and not beyond all measure.
const LEAST_VARIANCE_FEW: f64 = 1.0;

/// What each column varies by at least, in the units of [`scaled`].
pub(crate) fn least_variances(table: &Table) -> Vec<f64> {
    let least = |at: usize| {
        let mut column = table.column(at);
        column.sort_unstable_by(f64::total_cmp);
        column.dedup();
        if column.len() < DIFFERENT_MIN { LEAST_VARIANCE_FEW } else { LEAST_VARIANCE }
    };
    (0..table.columns.len()).map(least).collect()
}

pub(crate) fn scaled(table: &Table) -> Matrix {
    let width = table.columns.len();
    let mut cells = vec![0.0; table.cells.len()];
    for at in 0..width {
        let column = scaled_column(table.column(at));
        cells.iter_mut().skip(at).step_by(width).zip(column).for_each(|(cell, value)| *cell = value);
    }
    Matrix { width, cells }
}

fn scaled_column(column: Vec<f64>) -> Vec<f64> {
    let column = evened(column);
    let middle = median(&mut column.clone());
    let mad = median(&mut column.iter().map(|x| (x - middle).abs()).collect::<Vec<_>>()) * MAD_TO_SIGMA;
    let count = column.len().max(1) as f64;
    let mean = column.iter().sum::<f64>() / count;
    let sd = (column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    let unit = if mad > MAD_SHARE_MIN * sd { mad } else { sd };
    let unit = if unit > 0.0 { unit } else { 1.0 };
    column.into_iter().map(|x| (x - middle) / unit).collect()
}

/// The logarithm of a column that is never negative, if it is more even.
fn evened(column: Vec<f64>) -> Vec<f64> {
    let mut sorted = column.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut different = sorted.clone();
    different.dedup();
    if sorted.first().is_none_or(|least| *least < 0.0) || different.len() < DIFFERENT_MIN {
        return column;
    }
    let mut above: Vec<f64> = sorted.iter().copied().filter(|x| *x > 0.0).collect();
    let offset = if above.len() < sorted.len() { median(&mut above) * ZERO_SHARE } else { 0.0 };
    let logs: Vec<f64> = column.iter().map(|x| ln(x + offset)).collect();
    let mut sorted_logs = logs.clone();
    sorted_logs.sort_unstable_by(f64::total_cmp);
    if unevenness(&sorted_logs) < unevenness(&sorted) - EVENER_BY { logs } else { column }
}

/// How far the middle is from half way between the outer twentieths (Bowley's measure of skewness).
fn unevenness(sorted: &[f64]) -> f64 {
    let rank = |twentieths: usize| sorted[(sorted.len() - 1) * twentieths / 20];
    let (low, middle, high) = (rank(1), rank(10), rank(19));
    (high + low - 2.0 * middle).abs() / (high - low + 1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_columns_are_evened_and_small_counts_are_not() {
        let skewed: Vec<f64> = (0..100).map(|i| crate::math::exp(f64::from(i % 50) / 10.0)).collect();
        let even = scaled_column(skewed);
        assert!((even[49] + even[0]).abs() < 0.5, "{} {}", even[49], even[0]);
        let counts: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i == 7))).collect();
        let scaled = scaled_column(counts);
        assert!(scaled[7] > 5.0 && scaled[8] == 0.0);
    }
}
