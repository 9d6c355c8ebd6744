//! Column by column, for tables with too few rows to know how columns go together: how rare a row's cells are in a histogram of their
//! column (Goldstein and Dengel, "Histogram-based outlier score", 2012), and in the tails of its distribution (Li et al., "COPOD:
//! copula-based outlier detection", ICDM 2020).

#![expect(clippy::indexing_slicing, reason = "bins are clamped when they are computed; ranks are below the list's length")]

use super::table::Table;
use crate::math::ln;

const BINS: usize = 10;

/// The sum over the columns of −ln of the share of rows in a cell's bin.
pub(crate) fn histogram(table: &Table) -> Vec<f64> {
    let mut scores = vec![0.0; table.rows()];
    for at in 0..table.columns.len() {
        let column = table.column(at);
        let least = column.iter().copied().fold(f64::INFINITY, f64::min);
        let width = (column.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least) / BINS as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position from 0 to 10")]
        let bin = |x: f64| if width > 0.0 { (((x - least) / width) as usize).min(BINS - 1) } else { 0 };
        let mut counts = [0.0; BINS];
        column.iter().for_each(|x| counts[bin(*x)] += 1.0);
        let rows = column.len() as f64;
        scores.iter_mut().zip(&column).for_each(|(score, x)| *score -= ln((counts[bin(*x)] + 0.5) / rows));
    }
    scores
}

/// The larger of two sums of −ln of tail probabilities over the columns: of each column's longer tail, and of each cell's nearer one.
pub(crate) fn tails(table: &Table) -> Vec<f64> {
    let count = table.rows();
    let (mut long, mut near) = (vec![0.0; count], vec![0.0; count]);
    for at in 0..table.columns.len() {
        let column = table.column(at);
        let mut sorted = column.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let left_is_long = skewness(&column) < 0.0;
        for (row, x) in column.iter().enumerate() {
            let up_to = sorted.partition_point(|other| other <= x) as f64 / count as f64;
            let from = (count - sorted.partition_point(|other| other < x)) as f64 / count as f64;
            let (left, right) = (-ln(up_to), -ln(from));
            long[row] += if left_is_long { left } else { right };
            near[row] += left.max(right);
        }
    }
    long.into_iter().zip(near).map(|(long, near)| f64::max(long, near)).collect()
}

fn skewness(column: &[f64]) -> f64 {
    let count = column.len().max(1) as f64;
    let mean = column.iter().sum::<f64>() / count;
    column.iter().map(|x| (x - mean) * (x - mean) * (x - mean)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_at_the_end_of_its_column_is_rare() {
        let cells = (0..100).flat_map(|i| [f64::from(i % 10), if i == 42 { 50.0 } else { f64::from(i % 7) }]).collect();
        let table = Table { columns: vec!["a".into(), "b".into()], cells };
        for scores in [histogram(&table), tails(&table)] {
            let worst = (0..100).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            assert_eq!(worst, Some(42));
        }
    }
}
