//! What is usual at this time of day, and at this time of the week: medians over the same slots of the days before.
//!
//! A level (the mean of the last hour) is kept for each slot of the last four weeks, at most 96 slots a day. Days are days of the
//! series' own time zone, so that a morning stays a morning when the clocks change.

#![expect(clippy::indexing_slicing, reason = "ring positions are taken modulo the ring's length")]

use crate::state::{Reader, StateError, Writer};
use crate::time::DAY_MS;

/// Four weeks: enough for a median of weekdays, and for moving on when habits change.
const DAYS: i64 = 28;
/// Quarters of an hour: finer than that, the mean of an hour says nothing new.
const SLOTS_A_DAY_MAX: i64 = 96;

#[derive(Debug, Clone)]
pub(crate) struct Slots {
    a_day: i64,
    /// One level for each slot; not a number where there was none.
    ring: Vec<f32>,
    latest: Option<i64>,
}

/// The usual level at this moment, as far as the past tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usual {
    /// At the same time on the last seven days.
    pub(crate) day: Option<f64>,
    /// At the same time on the same weekday of the last four weeks.
    pub(crate) week: Option<f64>,
}

impl Slots {
    pub(crate) fn new(step_ms: i64) -> Self {
        Self::with((DAY_MS / step_ms.max(1)).clamp(1, SLOTS_A_DAY_MAX))
    }

    fn with(a_day: i64) -> Self {
        let length = usize::try_from(a_day * DAYS).unwrap_or(0);
        Self { a_day, ring: vec![f32::NAN; length], latest: None }
    }

    /// The slot of a local moment, and how far its day has got, 0 to 1.
    pub(crate) fn slot(&self, local_ms: i64) -> (i64, f64) {
        let (day, within) = (local_ms.div_euclid(DAY_MS), local_ms.rem_euclid(DAY_MS));
        (day * self.a_day + within * self.a_day / DAY_MS, within as f64 / DAY_MS as f64)
    }

    pub(crate) fn usual(&self, slot: i64) -> Usual {
        let week = 7 * self.a_day;
        Usual { day: self.median((1..=7).map(|k| slot - k * self.a_day)), week: self.median((1..=4).map(|k| slot - k * week)) }
    }

    /// The median over these slots and the ones before and after each.
    fn median(&self, slots: impl Iterator<Item = i64>) -> Option<f64> {
        let mut found = [0f32; 21];
        let mut count = 0;
        for at in slots.flat_map(|slot| [slot - 1, slot, slot + 1]) {
            let Some(level) = self.at(at) else { continue };
            let mut place = count;
            while place > 0 && found[place - 1] > level {
                found[place] = found[place - 1];
                place -= 1;
            }
            found[place] = level;
            count += 1;
        }
        let middle = match count {
            0 => return None,
            odd if odd % 2 == 1 => f64::from(found[odd / 2]),
            even => (f64::from(found[even / 2 - 1]) + f64::from(found[even / 2])) / 2.0,
        };
        Some(middle)
    }

    fn at(&self, slot: i64) -> Option<f32> {
        let latest = self.latest?;
        if slot > latest || latest - slot >= self.ring.len() as i64 {
            return None;
        }
        Some(self.ring[self.place(slot)]).filter(|level| !level.is_nan())
    }

    fn place(&self, slot: i64) -> usize {
        usize::try_from(slot.rem_euclid(self.ring.len().max(1) as i64)).unwrap_or(0)
    }

    /// The level of this slot so far.
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is kept")]
    pub(crate) fn put(&mut self, slot: i64, level: f64) {
        let latest = self.latest.unwrap_or(slot - 1);
        // Slots that were passed over hold nothing, rather than what was there four weeks ago.
        for passed in (latest + 1).max(slot - self.ring.len() as i64 + 1)..slot {
            let place = self.place(passed);
            self.ring[place] = f32::NAN;
        }
        let place = self.place(slot);
        self.ring[place] = level.clamp(-1e38, 1e38) as f32;
        self.latest = Some(latest.max(slot));
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.i64(self.a_day);
        to.i64(self.latest.unwrap_or(i64::MIN));
        self.ring.iter().for_each(|level| to.f32(*level));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (a_day, latest) = (from.i64()?, from.i64()?);
        if !(1..=SLOTS_A_DAY_MAX).contains(&a_day) {
            return Err(StateError::Damaged);
        }
        let mut slots = Self::with(a_day);
        slots.latest = (latest != i64::MIN).then_some(latest.clamp(-(1 << 60), 1 << 60));
        for level in &mut slots.ring {
            *level = from.f32()?;
        }
        Ok(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_is_the_median_of_the_same_slots() {
        let mut slots = Slots::new(3_600_000);
        for slot in 0..24 * 20 {
            let weekend = (slot / 24) % 7 >= 5;
            slots.put(slot, if weekend { 1.0 } else { 0.0 } + 10.0 * ((slot % 24) / 12) as f64);
        }
        let saturday_noon = 24 * 26 + 14;
        slots.put(saturday_noon - 1, 0.0);
        assert_eq!(slots.usual(saturday_noon).week, Some(11.0));
        let monday_noon = 24 * 21 + 14;
        assert_eq!(slots.usual(monday_noon), Usual { day: Some(10.0), week: Some(10.0) });
        assert_eq!(slots.usual(24 * 70), Usual::default());
    }

    #[test]
    fn gaps_hold_nothing() {
        let mut slots = Slots::new(3_600_000);
        slots.put(0, 5.0);
        slots.put(24 * 40, 6.0);
        assert_eq!(slots.usual(24), Usual::default());
        assert_eq!(slots.usual(24 * 41), Usual { day: Some(6.0), week: None });
    }
}
