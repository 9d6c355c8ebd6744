//! Numbers for tests that look random and are the same on every machine (SplitMix64).

/// Evenly between −0.5 and 0.5.
pub(crate) fn even(at: i64) -> f64 {
    let mut mixed = (at as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 40) as f64 / f64::from(1 << 24) - 0.5
}

/// About normal, with a standard deviation of one.
pub(crate) fn noise(at: i64) -> f64 {
    (0..12).map(|part| even(at * 12 + part)).sum()
}
