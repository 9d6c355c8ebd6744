//! What a run will take, told before it starts. Measured in the sandbox; see docs/anomaly.md.

use crate::options::Mode;

/// Fuel for one point of a series in streaming mode, reading and writing included.
const STREAMING_POINT_FUEL: u64 = 112_000;
/// The same in batch mode: there and back, and the windows.
const BATCH_POINT_FUEL: u64 = 220_000;

/// A series that would take more is refused. A little less than what `plugin.toml` asks for.
pub const SERIES_FUEL_MAX: u64 = 45_000_000_000;
/// A table that would take more is refused.
pub const ROWS_FUEL_MAX: u64 = 45_000_000_000;

/// Fuel for one point and each pair of what a calendar model knows: places in the cycle, days of the month, level and slope.
const PAIR_FUEL: u64 = 15;
/// Level, slope and days of the month.
const BESIDE_THE_CYCLE: u64 = 33;

/// About how much fuel a series takes; `season_points` is the cycle that was given, which counts by its square.
#[must_use]
pub fn series_cost_fuel(points: usize, mode: Mode, season_points: Option<usize>) -> u64 {
    let (each, passes) = match mode {
        Mode::Streaming => (STREAMING_POINT_FUEL, 1),
        Mode::Batch => (BATCH_POINT_FUEL, 3),
    };
    let known = season_points.unwrap_or(0) as u64 + BESIDE_THE_CYCLE;
    let with_cycle = if season_points.is_some() { PAIR_FUEL * known * known * passes } else { 0 };
    (points as u64).saturating_mul(each.max(with_cycle))
}
