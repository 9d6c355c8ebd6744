//! How unusual a level is for its time of day, by nearest neighbour: the distance in the plane of level and time of day, the day bent
//! to a circle so that midnight has no edge. Softer than a median over slots: a rise that comes twenty minutes early is near, one in the
//! middle of the night is far. Exact search over the last thousand points; single precision, eight lanes at a time.

#![expect(clippy::indexing_slicing, reason = "positions are below the lists' common length")]

use crate::math::{cos, sin};
use crate::state::{Reader, StateError, Writer};

/// Points searched.
const POINTS: usize = 1000;
/// How far apart opposite times of day are, in units of the series' spread.
const CIRCLE: f64 = 2.0;
const LANES: usize = 8;

#[derive(Debug, Clone, Default)]
pub(crate) struct Phase {
    level: Vec<f32>,
    across: Vec<f32>,
    along: Vec<f32>,
    next: usize,
}

impl Phase {
    /// The distance to the nearest of the points before the last one, in units of `spread`; then this point is known too.
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is kept")]
    pub(crate) fn distance(&mut self, level: f64, of_day: f64, spread: f64) -> f64 {
        let angle = of_day * std::f64::consts::TAU;
        let here = (level.clamp(-1e38, 1e38) as f32, (CIRCLE * cos(angle)) as f32, (CIRCLE * sin(angle)) as f32);
        // The last point is nearly the same as this one whatever happens.
        let last = if self.level.is_empty() { None } else { Some((self.next + self.level.len() - 1) % self.level.len()) };
        let hidden = last.map(|last| std::mem::replace(&mut self.level[last], f32::MAX));
        let nearest = self.nearest(here, (1.0 / spread) as f32);
        if let (Some(last), Some(level)) = (last, hidden) {
            self.level[last] = level;
        }
        self.put(here);
        if nearest < f32::MAX / 2.0 { f64::from(nearest).sqrt() } else { 0.0 }
    }

    fn nearest(&self, (level, across, along): (f32, f32, f32), per_spread: f32) -> f32 {
        let square = |l: f32, c: f32, s: f32| {
            let (l, c, s) = ((l - level) * per_spread, c - across, s - along);
            l * l + c * c + s * s
        };
        let mut lanes = [f32::MAX; LANES];
        let (levels, level_rest) = self.level.as_chunks::<LANES>();
        let (acrosses, across_rest) = self.across.as_chunks::<LANES>();
        let (alongs, along_rest) = self.along.as_chunks::<LANES>();
        for ((l, c), s) in levels.iter().zip(acrosses).zip(alongs) {
            for lane in 0..LANES {
                let distance = square(l[lane], c[lane], s[lane]);
                lanes[lane] = if distance < lanes[lane] { distance } else { lanes[lane] };
            }
        }
        let rest = level_rest.iter().zip(across_rest).zip(along_rest).map(|((l, c), s)| square(*l, *c, *s));
        rest.chain(lanes).fold(f32::MAX, |least, distance| if distance < least { distance } else { least })
    }

    fn put(&mut self, (level, across, along): (f32, f32, f32)) {
        if self.level.len() < POINTS {
            self.level.push(level);
            self.across.push(across);
            self.along.push(along);
            return;
        }
        (self.level[self.next], self.across[self.next], self.along[self.next]) = (level, across, along);
        self.next = (self.next + 1) % POINTS;
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.next).unwrap_or(0));
        to.u32(u32::try_from(self.level.len()).unwrap_or(0));
        for list in [&self.level, &self.across, &self.along] {
            list.iter().for_each(|value| to.f32(*value));
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (next, count) = (from.count(POINTS - 1)?, from.count(POINTS)?);
        let mut list = || (0..count).map(|_| from.f32()).collect::<Result<Vec<_>, _>>();
        Ok(Self { level: list()?, across: list()?, along: list()?, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_usual_at_its_time_of_day_only() {
        let mut phase = Phase::default();
        for hour in 0..24 * 60 {
            let of_day = f64::from(hour % 24) / 24.0;
            phase.distance(if hour % 24 < 12 { 0.0 } else { 10.0 }, of_day, 10.0);
        }
        assert!(phase.distance(10.0, 18.0 / 24.0, 10.0) < 1e-6);
        assert!(phase.distance(10.0, 6.0 / 24.0, 10.0) > 0.9);
        assert!(phase.distance(10.0, 13.0 / 24.0, 10.0) < 1e-6);
        assert!(phase.distance(20.0, 13.0 / 24.0, 10.0) > 0.9);
        assert_eq!(phase.level.len(), POINTS);
    }
}
