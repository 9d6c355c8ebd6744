//! From standardised residuals to one number that says how unusual the last days are.
//!
//! One day far off, several days off to the same side (a level that shifted, a slow decline) and days that swing more than usual are
//! looked at side by side. Each view is in standard deviations; the cube root of the sum of their cubes lets the strongest speak
//! while the others confirm it. A sum over the last k days is the CUSUM idea with a fixed set of horizons (Page, "Continuous inspection
//! schemes", Biometrika 1954), so that nothing has to be reset.

use std::collections::VecDeque;

use crate::model::Direction;
use crate::state::{Reader, StateError, Writer};

/// Horizons in points, and what a sum over that many is worth: a little less than one day's, as there are more ways to be unlucky.
const HORIZONS: [(usize, f64); 4] = [(2, 0.9), (3, 0.87), (5, 0.85), (7, 0.78)];
/// What the swing of the last week is worth.
const SWING: f64 = 0.66;
const WEEK: usize = 7;
/// No single day counts for more than this in a sum.
const DAY_MAX: f64 = 8.0;
/// No single day's square counts for more than this in the swing: one spike is no unrest.
const SQUARE_MAX: f64 = 16.0;

#[derive(Debug, Clone, Default)]
pub(crate) struct Unusual {
    days: VecDeque<f64>,
}

impl Unusual {
    pub(crate) fn push(&mut self, z: f64, direction: Direction) -> f64 {
        self.days.push_back(z.clamp(-DAY_MAX, DAY_MAX));
        if self.days.len() > WEEK {
            self.days.pop_front();
        }
        let part = |x: f64| match direction {
            Direction::Both => x.abs(),
            Direction::Up => x.max(0.0),
            Direction::Down => (-x).max(0.0),
        };
        let sums = HORIZONS.iter().filter(|(days, _)| self.days.len() >= *days);
        let sums = sums.map(|(days, worth)| worth * part(self.days.iter().rev().take(*days).sum::<f64>() / (*days as f64).sqrt()));
        let views = sums.chain([part(z), if direction == Direction::Both { SWING * self.swing() } else { 0.0 }]);
        libm::cbrt(views.map(|view| view * view * view).sum())
    }

    /// By how many standard deviations the mean square of the last week is above one.
    fn swing(&self) -> f64 {
        if self.days.len() < WEEK {
            return 0.0;
        }
        let sum: f64 = self.days.iter().map(|z| (z * z).min(SQUARE_MAX) - 1.0).sum();
        (sum / (2.0 * WEEK as f64).sqrt()).max(0.0)
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.f64s(self.days.iter().copied());
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self { days: from.f64s(WEEK)?.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(days: &[f64], direction: Direction) -> f64 {
        let mut unusual = Unusual::default();
        days.iter().map(|z| unusual.push(*z, direction)).last().unwrap_or(0.0)
    }

    #[test]
    fn one_day_several_days_and_unrest_all_count() {
        assert!(last(&[0.0; 7], Direction::Both) < 1e-9);
        assert!(last(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0], Direction::Both) > 4.9);
        assert!(last(&[-2.0; 7], Direction::Both) > 4.0);
        assert!(last(&[-2.5, 2.5, -2.5, 2.5, -2.5, 2.5, -2.5], Direction::Both) > 4.0);
    }

    #[test]
    fn a_direction_hears_its_own_side_only() {
        assert!(last(&[-3.0; 7], Direction::Up) < 1e-9);
        assert!(last(&[-3.0; 7], Direction::Down) > 4.0);
    }
}
