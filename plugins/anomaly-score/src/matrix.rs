//! Points in a space, their neighbours, and the shape of their bulk.

#![expect(clippy::indexing_slicing, reason = "rows and columns are below the matrix's own size")]

/// Points, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) width: usize,
    pub(crate) cells: Vec<f64>,
}

/// One neighbour: how far, and which of the reference points.
pub(crate) type Neighbour = (f64, u32);

impl Matrix {
    pub(crate) fn rows(&self) -> usize {
        self.cells.len() / self.width.max(1)
    }

    pub(crate) fn row(&self, at: usize) -> &[f64] {
        &self.cells[at * self.width..(at + 1) * self.width]
    }

    pub(crate) fn select(&self, rows: &[u32]) -> Self {
        Self { width: self.width, cells: rows.iter().flat_map(|at| self.row(*at as usize)).copied().collect() }
    }

    /// The `count` nearest of the `among` points, nearest first, without the one called `itself`. Into `found`, which is reused.
    pub(crate) fn nearest(&self, point: &[f64], itself: Option<u32>, count: usize, found: &mut Vec<Neighbour>) {
        found.clear();
        for (at, other) in (0u32..).zip(self.cells.chunks_exact(self.width.max(1))) {
            if Some(at) != itself {
                let square: f64 = point.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                found.push((square, at));
            }
        }
        let by_distance = |a: &Neighbour, b: &Neighbour| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if count < found.len() {
            found.select_nth_unstable_by(count, by_distance);
            found.truncate(count);
        }
        found.sort_unstable_by(by_distance);
        found.iter_mut().for_each(|neighbour| neighbour.0 = neighbour.0.sqrt());
    }

    /// The distance to the `count`-th neighbour of each point.
    pub(crate) fn reach(&self, count: usize) -> Vec<f64> {
        let mut found = Vec::with_capacity(self.rows());
        (0..self.rows())
            .map(|at| {
                self.nearest(self.row(at), u32::try_from(at).ok(), count, &mut found);
                found.last().map_or(0.0, |neighbour| neighbour.0)
            })
            .collect()
    }
}

/// Mean and the factor of the covariance, for measuring distances in units of the bulk's own spread.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    mean: Vec<f64>,
    /// Lower triangle, row by row.
    factor: Vec<f64>,
}

/// How much of each column's variance is added to it: no direction is taken for thinner than this.
const RIDGE: f64 = 1e-3;

impl Bulk {
    /// Of the `kept` among some points.
    pub(crate) fn of(points: &Matrix, kept: &[u32]) -> Self {
        Self::of_at_least(points, kept, &[])
    }

    /// The same where no column has a smaller variance than `least`.
    pub(crate) fn of_at_least(points: &Matrix, kept: &[u32], least: &[f64]) -> Self {
        Self::of_rows(points.width, kept.len(), least, || kept.iter().map(|at| points.row(*at as usize)))
    }

    /// Of `count` rows, which are gone through twice.
    pub(crate) fn of_rows<'a, Rows: Iterator<Item = &'a [f64]>>(
        width: usize,
        count: usize,
        least: &[f64],
        rows: impl Fn() -> Rows,
    ) -> Self {
        let count = count.max(2) as f64;
        let mut mean = vec![0.0; width];
        for row in rows() {
            mean.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut covariance = vec![0.0; width * width];
        let mut off = vec![0.0; width];
        for cells in rows() {
            off.iter_mut().zip(cells.iter().zip(&mean)).for_each(|(off, (cell, mean))| *off = cell - mean);
            for row in 0..width {
                for column in 0..=row {
                    covariance[row * width + column] += off[row] * off[column] / (count - 1.0);
                }
            }
        }
        for at in 0..width {
            covariance[at * width + at] = covariance[at * width + at].max(least.get(at).copied().unwrap_or(0.0)) * (1.0 + RIDGE) + 1e-6;
        }
        Self { mean, factor: cholesky(covariance, width) }
    }

    /// The points in units of the bulk's spread.
    pub(crate) fn whiten(&self, points: &Matrix) -> Matrix {
        let width = points.width;
        let mut cells = Vec::with_capacity(points.cells.len());
        let mut white = vec![0.0; width];
        for row in points.cells.chunks_exact(width.max(1)) {
            self.whiten_row(row, &mut white);
            cells.extend_from_slice(&white);
        }
        Matrix { width, cells }
    }

    /// One point, into `white`.
    pub(crate) fn whiten_row(&self, row: &[f64], white: &mut [f64]) {
        let width = self.mean.len();
        for at in 0..width {
            let known: f64 = (0..at).map(|before| self.factor[at * width + before] * white[before]).sum();
            white[at] = (row[at] - self.mean[at] - known) / self.factor[at * width + at];
        }
    }
}

/// The lower triangle whose square the matrix is.
fn cholesky(mut matrix: Vec<f64>, width: usize) -> Vec<f64> {
    for row in 0..width {
        for column in 0..=row {
            let known: f64 = (0..column).map(|at| matrix[row * width + at] * matrix[column * width + at]).sum();
            let rest = matrix[row * width + column] - known;
            matrix[row * width + column] = if row == column { rest.max(1e-12).sqrt() } else { rest / matrix[column * width + column] };
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_in_order() {
        let points = Matrix { width: 1, cells: vec![0.0, 5.0, 1.0, 9.0] };
        let mut found = Vec::new();
        points.nearest(points.row(0), Some(0), 2, &mut found);
        assert_eq!(found, [(1.0, 2), (5.0, 1)]);
        assert_eq!(points.reach(1), [1.0, 4.0, 1.0, 4.0]);
    }

    #[test]
    fn the_bulk_becomes_round() {
        let cells = (0..400).flat_map(|i| {
            let (a, b) = (f64::from(i * 37 % 100) - 50.0, f64::from(i * 61 % 97) - 48.0);
            [a, a * 3.0 + b]
        });
        let points = Matrix { width: 2, cells: cells.collect() };
        let white = Bulk::of(&points, &(0..400).collect::<Vec<_>>()).whiten(&points);
        for column in 0..2 {
            let variance = white.cells.iter().skip(column).step_by(2).map(|x| x * x).sum::<f64>() / 399.0;
            assert!((variance - 1.0).abs() < 0.1, "{variance}");
        }
    }
}
