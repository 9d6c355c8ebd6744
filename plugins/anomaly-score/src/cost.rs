//! What a run will take, told before it starts. Measured in the sandbox; see docs/anomaly.md.

use crate::options::Mode;

/// Fuel for one point of a series in streaming mode, reading and writing included.
const STREAMING_POINT_FUEL: u64 = 100_000;
/// The same in batch mode: there and back, and the windows.
const BATCH_POINT_FUEL: u64 = 220_000;

/// A series that would take more is refused. A little less than what `plugin.toml` asks for.
pub const SERIES_FUEL_MAX: u64 = 45_000_000_000;
/// A table that would take more is refused.
pub const ROWS_FUEL_MAX: u64 = 45_000_000_000;

/// About how much fuel a series takes.
#[must_use]
pub fn series_cost_fuel(points: usize, mode: Mode) -> u64 {
    let each = match mode {
        Mode::Streaming => STREAMING_POINT_FUEL,
        Mode::Batch => BATCH_POINT_FUEL,
    };
    (points as u64).saturating_mul(each)
}
