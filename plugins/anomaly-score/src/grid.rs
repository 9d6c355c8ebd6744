//! How far apart the points of a series usually are, and where a moment stands in its calendar.

use crate::calendar::{CYCLE_MAX, Place};
use crate::state::{Reader, StateError, Writer};
use crate::stats::median;
use crate::time::{DAY_MS, civil_from_days, month_index};

/// Series with steps shorter than this are looked at within the day.
const INTRADAY_BELOW_MS: i64 = DAY_MS / 4;

/// The steps of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grid {
    /// This many milliseconds, counted from this moment.
    Even { start_ms: i64, step_ms: i64 },
    /// One point a month.
    Monthly,
}

impl Grid {
    /// The grid that fits the first moments of a series, on its own clock.
    pub(crate) fn fit(local_ms: &[i64]) -> Self {
        let gaps = local_ms.windows(2).filter_map(|pair| Some(pair.get(1)?.saturating_sub(*pair.first()?) as f64));
        #[expect(clippy::cast_possible_truncation, reason = "it was an integer of milliseconds, or the middle of two")]
        let step_ms = (median(&mut gaps.filter(|gap| *gap > 0.0).collect::<Vec<_>>()) as i64).max(1);
        if (28 * DAY_MS..=31 * DAY_MS).contains(&step_ms) {
            return Self::Monthly;
        }
        Self::Even { start_ms: local_ms.first().copied().unwrap_or(0), step_ms }
    }

    /// The step, if it is shorter than a quarter of a day.
    pub(crate) fn intraday_step_ms(self) -> Option<i64> {
        match self {
            Self::Even { step_ms, .. } if step_ms < INTRADAY_BELOW_MS => Some(step_ms),
            _ => None,
        }
    }

    pub(crate) fn index(self, local_ms: i64) -> i64 {
        match self {
            Self::Monthly => month_index(local_ms),
            Self::Even { start_ms, step_ms } => (local_ms.saturating_sub(start_ms).saturating_add(step_ms / 2)).div_euclid(step_ms),
        }
    }

    fn steps_a_day(self) -> Option<i64> {
        match self {
            Self::Even { step_ms, .. } if step_ms <= DAY_MS => {
                let steps = (DAY_MS + step_ms / 2) / step_ms;
                ((DAY_MS - steps * step_ms).abs() * 50 <= DAY_MS).then_some(steps)
            }
            _ => None,
        }
    }

    /// Points in the calendar's cycle for these steps, and what it is called.
    pub(crate) fn cycle(self) -> (usize, Option<&'static str>) {
        match (self, self.steps_a_day()) {
            (Self::Monthly, _) => (12, Some("month of the year")),
            (_, Some(1)) => (7, Some("day of the week")),
            (_, Some(steps)) => (usize::try_from(7 * steps).unwrap_or(CYCLE_MAX).min(CYCLE_MAX), Some("hour of the week")),
            _ => (1, None),
        }
    }

    /// Steps in a day, about.
    pub(crate) fn points_a_day(self) -> usize {
        match self {
            Self::Even { step_ms, .. } => usize::try_from(DAY_MS / step_ms.max(1)).unwrap_or(1),
            Self::Monthly => 1,
        }
    }

    /// Whether the day of the month can be told.
    pub(crate) fn by_month(self) -> bool {
        self.steps_a_day().is_some()
    }

    pub(crate) fn place(self, local_ms: i64, season_points: Option<usize>) -> Place {
        let index = self.index(local_ms);
        let day = local_ms.saturating_add(DAY_MS / 1000).div_euclid(DAY_MS);
        let (points, _) = self.cycle();
        let slot = match (season_points, self.steps_a_day()) {
            (Some(points), _) => index.rem_euclid(points.max(1) as i64),
            (None, Some(steps)) => {
                let within = local_ms.saturating_add(DAY_MS / 1000).rem_euclid(DAY_MS);
                day.rem_euclid(7) * steps + (within / (DAY_MS / steps)).min(steps - 1)
            }
            (None, None) => index.rem_euclid(points as i64),
        };
        let month_day = self.by_month().then(|| usize::try_from(civil_from_days(day).2 - 1).unwrap_or(0));
        Place { index, cycle: usize::try_from(slot).unwrap_or(0), month_day }
    }

    pub(crate) fn save(self, to: &mut Writer) {
        let (start, step) = match self {
            Self::Monthly => (0, 0),
            Self::Even { start_ms, step_ms } => (start_ms, step_ms),
        };
        to.i64(start);
        to.i64(step);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match (from.i64()?, from.i64()?) {
            (_, 0) => Ok(Self::Monthly),
            (start_ms, step_ms) if step_ms > 0 => Ok(Self::Even { start_ms, step_ms }),
            _ => Err(StateError::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_not_evenly_long_and_still_a_grid() {
        let times: Vec<i64> = (0..48).map(|month| crate::time::days_from_civil(2020 + month / 12, month % 12 + 1, 1) * DAY_MS).collect();
        let grid = Grid::fit(&times);
        assert_eq!((grid, grid.cycle().0), (Grid::Monthly, 12));
        assert_eq!(grid.index(times[47]) - grid.index(times[0]), 47);
    }

    #[test]
    fn places_of_days_hours_and_weeks() {
        let days: Vec<i64> = (0..20).map(|day| day * DAY_MS).collect();
        let daily = Grid::fit(&days);
        assert_eq!(daily.cycle(), (7, Some("day of the week")));
        let place = daily.place(days[10], None);
        assert_eq!((place.index, place.cycle, place.month_day), (10, 3, Some(10)));
        let half_days: Vec<i64> = (0..20).map(|half| half * DAY_MS / 2).collect();
        assert_eq!(Grid::fit(&half_days).place(half_days[3], None).cycle, 3);
        let weeks: Vec<i64> = (0..20).map(|week| week * 7 * DAY_MS).collect();
        assert_eq!((Grid::fit(&weeks).cycle(), Grid::fit(&weeks).by_month()), ((1, None), false));
        let minutes: Vec<i64> = (0..20).map(|minute| minute * 60_000).collect();
        assert_eq!(Grid::fit(&minutes).intraday_step_ms(), Some(60_000));
        assert_eq!(daily.place(days[10], Some(4)).cycle, 2);
    }
}
