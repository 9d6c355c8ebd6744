//! Cycles that are in no calendar, while the series goes on: the last days are remembered and looked at from time to time. Where what the
//! calendar leaves unexplained comes again and again, a model with that cycle learns from the same days; if it would have known them
//! better, it takes over from the next point on. What was said until then stays as it was said.

use std::collections::VecDeque;

use super::{Calendar, Day, Place};
use crate::Options;
use crate::cycle::{CLIP, LONGEST, SMALLER_BY, candidates};
use crate::kind::Scale;
use crate::model::Heed;
use crate::state::{Reader, StateError, Writer};
use crate::stats::median;

/// Days that are remembered: the longest cycle six times.
const DAYS: usize = 6 * LONGEST;
/// With fewer, nothing is looked for.
const DAYS_MIN: u32 = 42;
/// Points between two looks.
const LOOK_POINTS: u32 = 14;
/// After a model that knew it no better, the next is tried when so many times as many points were seen.
const PATIENCE: u32 = 2;

/// A day as the model met it.
#[derive(Debug, Clone, Copy)]
struct Met {
    day: Day,
    /// How far off it was, on the model's scale.
    off: f64,
    /// The same in standard deviations.
    z: f64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    days: VecDeque<Met>,
    seen: u32,
    next: u32,
}

impl Search {
    /// Takes the next day in; from time to time it gives a model that knows the last days better.
    pub(super) fn push(&mut self, day: Day, off: f64, z: f64, model: Model, options: &Options) -> Option<Calendar> {
        self.days.push_back(Met { day, off, z });
        if self.days.len() > DAYS {
            self.days.pop_front();
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen < self.next.max(DAYS_MIN) {
            return None;
        }
        self.next = self.seen.saturating_add(LOOK_POINTS);
        let mut best: (Option<Calendar>, f64) = (None, middle(self.days.iter().map(|met| met.off)) * (1.0 - SMALLER_BY));
        for cycle in candidates(&self.unexplained(), model.cycle) {
            self.next = self.seen.saturating_mul(PATIENCE);
            let mut tried = Calendar::with_found(model.scale, cycle, model.by_month);
            let offs: Vec<f64> = self.days.iter().map(|met| tried.push(met.day, options).1).collect();
            let left = middle(offs.into_iter());
            if left < best.1 {
                best = (Some(tried), left);
            }
        }
        best.0
    }

    /// How far off each of the last steps was; those without a point not at all.
    fn unexplained(&self) -> Vec<f64> {
        let last = self.days.back().map_or(0, |met| met.day.place.index);
        let steps_back = |met: &Met| usize::try_from(last.saturating_sub(met.day.place.index)).unwrap_or(DAYS);
        let length = self.days.iter().map(steps_back).filter(|back| *back < DAYS).max().map_or(0, |back| back + 1);
        let mut off = vec![0.0; length];
        for met in &self.days {
            if let Some(slot) = length.checked_sub(steps_back(met) + 1).and_then(|at| off.get_mut(at)) {
                *slot = met.z.clamp(-CLIP, CLIP);
            }
        }
        off
    }

    pub(super) fn save(&self, to: &mut Writer) {
        to.u32(self.seen);
        to.u32(self.next);
        to.u32(u32::try_from(self.days.len()).unwrap_or(0));
        for met in &self.days {
            let Day { place, value, total, heed, known_effect } = met.day;
            to.i64(place.index);
            to.u32(u32::try_from(place.cycle).unwrap_or(0));
            to.u8(place.month_day.and_then(|day| u8::try_from(day).ok()).unwrap_or(u8::MAX));
            to.u8(heed.code());
            [value, total.unwrap_or(f64::NAN), known_effect, met.off, met.z].into_iter().for_each(|number| to.f64(number));
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (seen, next, count) = (from.u32()?, from.u32()?, from.count(DAYS)?);
        let mut met = || -> Result<Met, StateError> {
            let place = Place {
                index: from.i64()?,
                cycle: usize::try_from(from.u32()?).map_err(|_| StateError::Damaged)?,
                month_day: Some(from.u8()?).filter(|day| *day != u8::MAX).map(usize::from),
            };
            let heed = Heed::of_code(from.u8()?).ok_or(StateError::Damaged)?;
            let (value, total) = (from.f64()?, Some(from.f64()?).filter(|total| !total.is_nan()));
            let day = Day { place, value, total, heed, known_effect: from.f64()? };
            Ok(Met { day, off: from.f64()?, z: from.f64()? })
        };
        let days = (0..count).map(|_| met()).collect::<Result<_, _>>()?;
        Ok(Self { days, seen, next })
    }
}

/// What a model with another cycle has in common with the one there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) scale: Scale,
    pub(super) cycle: usize,
    pub(super) by_month: bool,
}

/// How far off the later half is, in the middle.
fn middle(offs: impl ExactSizeIterator<Item = f64>) -> f64 {
    let half = offs.len() / 2;
    median(&mut offs.skip(half).map(f64::abs).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use crate::dice::noise;
    use crate::time::DAY_MS;
    use crate::{Options, Point, Scored, Scorer, score};

    const STATE_BYTES_MAX: usize = 64 * 1024;

    fn days(count: i64, value: impl Fn(i64) -> f64) -> Vec<Point> {
        (0..count).map(|day| Point::new(day * DAY_MS, value(day))).collect()
    }

    fn menu(day: i64) -> f64 {
        200.0 + [0.0, 60.0, 20.0, 90.0, 40.0][usize::try_from(day % 5).expect("below five")] + 3.0 * noise(day)
    }

    #[test]
    fn a_menu_of_five_days_is_learnt_on_the_way() {
        let points = days(300, |day| if day == 250 { menu(251) + 10.0 } else { menu(day) });
        let (scored, learnt) = score(&points, &Options::default());
        assert_eq!(learnt.season, Some((5, "found in the series")));
        assert!(scored[250].severity > 50.0, "the wrong dish: {:?}", scored[250]);
        let off = |scored: &[Scored]| scored.iter().map(|point| (point.value - point.expected).abs()).sum::<f64>() / scored.len() as f64;
        assert!(off(&scored[100..250]) < 0.4 * off(&scored[20..50]), "{} and {}", off(&scored[100..250]), off(&scored[20..50]));
        // What was said before it was found stays as it was said.
        let (first, _) = score(&points[..40], &Options::default());
        assert_eq!(first, scored[..40]);
    }

    #[test]
    fn every_other_week_is_one_cycle_with_the_week() {
        let pay_day = |day: i64| if day % 14 == 3 { 80.0 } else { 0.0 };
        let points = days(300, |day| 200.0 - if day % 7 > 4 { 50.0 } else { 0.0 } + pay_day(day) + 3.0 * noise(day));
        assert_eq!(score(&points, &Options::default()).1.season, Some((14, "found in the series")));
    }

    #[test]
    fn weeks_trends_noise_and_gaps_are_left_to_the_calendar() {
        let values: [fn(i64) -> f64; 4] =
            [|day| 200.0 - if day % 7 > 4 { 50.0 } else { 0.0 } + 3.0 * noise(day), |day| day as f64 + 3.0 * noise(day), noise, |_| 5.0];
        for value in values {
            assert_eq!(score(&days(400, value), &Options::default()).1.season, Some((7, "day of the week")));
        }
        let far_apart = [Point::new(i64::MIN / 2, 1.0), Point::new(0, 2.0), Point::new(i64::MAX / 2, 3.0)];
        let many: Vec<Point> =
            far_apart.into_iter().chain((1..300).map(|day| Point::new(i64::MAX / 2 + day * DAY_MS, menu(day)))).collect();
        assert!(score(&many, &Options::default()).0.iter().all(|point| point.score.is_finite()));
    }

    #[test]
    fn the_search_travels_in_the_state() {
        let points = days(220, menu);
        let (whole, learnt) = score(&points, &Options::default());
        let (mut scorer, mut pieces, mut largest) = (Scorer::new(Options::default()), Vec::new(), 0);
        for part in points.chunks(17) {
            pieces.extend(part.iter().map(|point| scorer.push(*point)));
            let state = scorer.save();
            largest = largest.max(state.len());
            scorer = Scorer::resume(Options::default(), &state).expect("its own state");
        }
        assert_eq!((pieces, scorer.learnt()), (whole, learnt));
        assert!((8_000..STATE_BYTES_MAX).contains(&largest), "{largest}");
    }

    #[test]
    fn a_cycle_that_was_given_is_not_searched_for() {
        let given = Options { season_points: Some(7), ..Options::default() };
        assert_eq!(score(&days(300, menu), &given).1.season, Some((7, "given")));
    }
}
