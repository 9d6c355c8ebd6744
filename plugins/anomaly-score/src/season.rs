//! Whether a series repeats, and how often: calendar periods first, then the strongest echo.

use crate::stats::{MAD_TO_SIGMA, median};
use crate::time::{DAY_MS, month_index};

/// Steps per period that are looked for when the calendar explains nothing.
const LAG_MAX: usize = 400;
/// An echo weaker than this is left alone whatever its significance: the effects would be mostly noise.
const ECHO_MIN: f64 = 0.2;

/// How far apart the points of a series usually are, and where a moment falls on that grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Grid {
    /// This many milliseconds, from this moment on.
    Even { start_ms: i64, step_ms: i64 },
    /// One point a month.
    Monthly,
}

impl Grid {
    /// The grid that fits the first moments of a series.
    pub(crate) fn fit(times_ms: &[i64]) -> Self {
        let mut gaps: Vec<f64> = times_ms.windows(2).filter_map(|pair| Some(pair.get(1)?.saturating_sub(*pair.first()?) as f64)).collect();
        #[expect(clippy::cast_possible_truncation, reason = "it was an integer of milliseconds, or the middle of two")]
        let step_ms = (median(&mut gaps) as i64).max(1);
        if (28 * DAY_MS..=31 * DAY_MS).contains(&step_ms) {
            return Self::Monthly;
        }
        // Whole days from the epoch, so that a slot of a weekly season is a weekday whichever row comes first.
        Self::Even { start_ms: times_ms.first().copied().unwrap_or(0), step_ms }
    }

    /// The number of the step that `time_ms` falls on.
    pub(crate) fn index(self, time_ms: i64) -> i64 {
        match self {
            Self::Monthly => month_index(time_ms),
            Self::Even { start_ms, step_ms } => (time_ms.saturating_sub(start_ms).saturating_add(step_ms / 2)).div_euclid(step_ms),
        }
    }

    /// Periods the calendar suggests, in steps, with the words for them.
    fn calendar(self) -> Vec<(usize, &'static str)> {
        let Self::Even { step_ms, .. } = self else { return vec![(12, "month of the year")] };
        let per = |whole_ms: i64| -> Option<usize> {
            let steps = whole_ms / step_ms;
            let even = steps >= 2 && (whole_ms - steps * step_ms).abs() * 50 <= whole_ms;
            if even { usize::try_from(steps).ok() } else { None }
        };
        let day = per(DAY_MS).map(|steps| (steps, "time of day"));
        let week = per(7 * DAY_MS).map(|steps| (steps, if steps <= 7 { "day of the week" } else { "hour of the week" }));
        day.into_iter().chain(week).collect()
    }
}

/// A period that repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Season {
    /// Steps in one period.
    pub(crate) period: usize,
    /// The autocorrelation at that lag, 0 to 1.
    pub(crate) echo: f64,
    /// What it is called.
    pub(crate) name: &'static str,
}

/// The season of a series on a grid; at least two periods have to be there.
pub(crate) fn find(grid: Grid, points: &[(i64, f64)]) -> Option<Season> {
    let dense = detrended(points);
    let count = dense.len();
    let significant = ECHO_MIN.max(2.0 / (count.max(1) as f64).sqrt());
    let power = dense.iter().map(|x| x * x).sum::<f64>();
    if power <= 0.0 {
        return None;
    }
    let echo_at = |lag: usize| -> f64 {
        if lag == 0 || lag * 2 > count {
            return 0.0;
        }
        let sum: f64 = dense.iter().zip(dense.iter().skip(lag)).map(|(early, late)| early * late).sum();
        // Fewer pairs at longer lags: without this correction a week would always lose to a day.
        (sum / power) * (count as f64 / (count - lag) as f64)
    };
    let peaks = |period: usize| period < 4 || (echo_at(period) > echo_at(period - 1) && echo_at(period) > echo_at(period + 1));
    let mut best: Option<Season> = None;
    for (period, name) in grid.calendar() {
        let echo = echo_at(period);
        // A longer period also echoes the shorter one inside it; it has to be clearly better to be worth its many more effects.
        let bar = best.map_or(significant, |shorter: Season| shorter.echo + 0.05);
        if echo > bar && peaks(period) {
            best = Some(Season { period, echo: echo.min(1.0), name });
        }
    }
    best.or_else(|| {
        let echoes: Vec<(usize, f64)> = (3..=LAG_MAX.min(count / 3)).filter(|lag| peaks(*lag)).map(|lag| (lag, echo_at(lag))).collect();
        let strongest = echoes.iter().map(|(_, echo)| *echo).fold(0.0, f64::max);
        // Multiples of a period echo as strongly as the period itself: the shortest of about equal ones is it.
        let (period, echo) = echoes.into_iter().find(|(_, echo)| *echo > significant.max(0.4) && *echo >= strongest * 0.85)?;
        Some(Season { period, echo: echo.min(1.0), name: "repeating pattern" })
    })
}

/// One value per step of the grid, without its slow movement and with outliers pulled in; zero where a step is missing.
fn detrended(points: &[(i64, f64)]) -> Vec<f64> {
    /// A series with far more holes than points has no rhythm that could be seen.
    const HOLES_MAX: usize = 4;
    /// Shorter than this, a series is taken to move along a straight line: too few periods for anything finer.
    const STRAIGHT_MAX: usize = 60;
    /// What is left of a straight line after the line is taken away, relative to its values.
    const ROUNDING: f64 = 1e-12;
    let Some(&(first, _)) = points.first() else { return Vec::new() };
    let last = points.last().map_or(first, |p| p.0);
    let span = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
    if span == 0 || span > points.len().saturating_mul(HOLES_MAX) {
        return Vec::new();
    }
    let flat = if points.len() < STRAIGHT_MAX { without_line(points) } else { without_running_mean(points) };
    let spread = median(&mut flat.iter().map(|x| x.abs()).collect::<Vec<_>>()) * MAD_TO_SIGMA * 3.0;
    let largest = points.iter().map(|p| p.1.abs()).fold(0.0, f64::max);
    if flat.iter().all(|x| x.abs() <= largest * ROUNDING) {
        return Vec::new();
    }
    let mut dense = vec![0.0; span];
    for ((index, _), value) in points.iter().zip(flat) {
        let place = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(slot) = dense.get_mut(place) {
            *slot = if spread > 0.0 { value.clamp(-spread, spread) } else { value };
        }
    }
    dense
}

/// The values less the straight line that fits them best.
fn without_line(points: &[(i64, f64)]) -> Vec<f64> {
    let count = points.len().max(1) as f64;
    let first = points.first().map_or(0, |p| p.0);
    let at = |p: &(i64, f64)| p.0.saturating_sub(first) as f64;
    let mean_at = points.iter().map(at).sum::<f64>() / count;
    let mean = points.iter().map(|p| p.1 / count).sum::<f64>();
    let spread: f64 = points.iter().map(|p| (at(p) - mean_at) * (at(p) - mean_at)).sum();
    let together: f64 = points.iter().map(|p| (at(p) - mean_at) * (p.1 - mean)).sum();
    let slope = if spread > 0.0 { together / spread } else { 0.0 };
    points.iter().map(|p| (p.1 - mean) - slope * (at(p) - mean_at)).collect()
}

/// The values less the mean of those around them. Outliers are pulled in afterwards; a running median would flatten the season it
/// should leave.
fn without_running_mean(points: &[(i64, f64)]) -> Vec<f64> {
    let widest = (points.len() / 6).clamp(7, 168);
    let flat = points.iter().enumerate().map(|(at, (_, value))| {
        // As far back as forward, even at the ends: a trend would otherwise leave a bow there that looks like a rhythm.
        let reach = widest.min(at).min(points.len() - 1 - at);
        let around = points.get(at - reach..=at + reach).unwrap_or_default();
        value - around.iter().map(|p| p.1).sum::<f64>() / around.len().max(1) as f64
    });
    flat.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily(count: i64, value: impl Fn(i64) -> f64) -> Option<Season> {
        let times: Vec<i64> = (0..count).map(|day| day * DAY_MS).collect();
        let grid = Grid::fit(&times);
        find(grid, &times.iter().map(|t| (grid.index(*t), value(grid.index(*t)))).collect::<Vec<_>>())
    }

    /// Numbers that look random and are the same on every machine.
    fn noise(i: i64) -> f64 {
        let mut mixed = (i as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed >> 40) as f64 / f64::from(1 << 24) - 0.5
    }

    #[test]
    fn a_week_is_found_in_daily_data() {
        let found = daily(60, |day| if day % 7 > 4 { -3.0 } else { 0.0 } + noise(day) + day as f64 * 0.1);
        assert_eq!(found.map(|s| (s.period, s.name)), Some((7, "day of the week")));
    }

    #[test]
    fn noise_trends_and_constants_have_no_season() {
        assert_eq!(daily(200, noise), None);
        assert_eq!(daily(200, |day| day as f64), None);
        assert_eq!(daily(200, |_| 5.0), None);
        assert_eq!(daily(3, noise), None);
    }

    #[test]
    fn months_are_not_evenly_long_and_still_a_grid() {
        let times: Vec<i64> = (0..48).map(|month| crate::time::days_from_civil(2020 + month / 12, month % 12 + 1, 1) * DAY_MS).collect();
        let grid = Grid::fit(&times);
        assert_eq!(grid, Grid::Monthly);
        let points: Vec<_> = times.iter().map(|t| (grid.index(*t), if grid.index(*t) % 12 == 11 { 9.0 } else { noise(*t) })).collect();
        assert_eq!(points.last().map(|p| p.0), points.first().map(|p| p.0 + 47));
        assert_eq!(find(grid, &points).map(|s| s.period), Some(12));
    }

    #[test]
    fn a_rhythm_that_no_calendar_has_is_found_by_its_echo() {
        let found = daily(120, |day| if day % 11 == 0 { 4.0 } else { 0.0 } + noise(day) * 0.2);
        assert_eq!(found.map(|s| s.period), Some(11));
    }
}
