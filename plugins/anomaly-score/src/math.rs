//! The few functions that are not plain arithmetic, always from the same code: the logarithm of a platform's own library may differ in
//! the last bit from the one in the sandbox, and a score has to be the same everywhere. (Square roots are exact everywhere.)

pub(crate) use std::f64::consts::LN_10;

pub(crate) use libm::{asin, cos, exp, log as ln, log10, sin};

/// −log10 of a count's share: how rare it is, in powers of ten.
pub(crate) fn rarity(count: f64, of: f64) -> f64 {
    log10(of) - log10(count)
}

/// A value between the rows of a table of (x, y), straight on beyond its ends. The x have to rise.
pub(crate) fn interpolate(table: &[(f64, f64)], x: f64) -> f64 {
    let pair = table.windows(2).find(|pair| pair.last().is_some_and(|right| x <= right.0)).or_else(|| table.windows(2).last());
    let Some(&[(x0, y0), (x1, y1)]) = pair else { return table.first().map_or(0.0, |only| only.1) };
    y0 + (x - x0) * (y1 - y0) / (x1 - x0)
}

/// The x at which [`interpolate`] gives `y`, for a table whose y rise as well.
pub(crate) fn interpolate_back<const N: usize>(table: &[(f64, f64); N], y: f64) -> f64 {
    interpolate(&table.map(|(x, y)| (y, x)), y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_go_straight_on_beyond_their_ends() {
        let table = [(0.0, 0.0), (1.0, 10.0), (3.0, 20.0)];
        assert_eq!([-1.0, 0.5, 2.0, 5.0].map(|x| interpolate(&table, x)), [-10.0, 5.0, 15.0, 30.0]);
        assert_eq!((interpolate(&[], 1.0), interpolate(&table[..1], 7.0)), (0.0, 0.0));
        assert_eq!(interpolate_back(&table, 15.0), 2.0);
        assert!((rarity(1.0, 1000.0) - 3.0).abs() < 1e-12);
    }
}
