//! How far a value is from every value seen before: distance to the nearest neighbour, on a line.
//!
//! The values seen are kept as a net of at most [`REPS_MAX`] representatives. When it is full, those that have close neighbours go, so
//! the net stays fine where values are rare, which is where novelty is decided, and a distance is wrong by at most the gap that was
//! given up. Representatives that no value came near to for a long time are forgotten. (The distance itself is the oldest of novelty
//! scores: Ramaswamy et al., "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000, with k = 1.)

#![expect(clippy::indexing_slicing, reason = "positions come from searching the same list")]

use crate::state::{Reader, StateError, Writer};

/// Representatives kept: six kilobytes.
const REPS_MAX: usize = 768;
/// How many points a representative is remembered after its last visit.
const MEMORY_POINTS: u32 = 16_384;
/// Beyond this, single precision could not tell how far apart two values are.
const LARGEST: f64 = 1e38;

#[derive(Debug, Clone, Copy)]
struct Rep {
    value: f32,
    seen: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Novelty {
    /// Rising.
    reps: Vec<Rep>,
    /// Values closer to a representative than this are it.
    grain: f32,
    now: u32,
}

impl Novelty {
    /// The distance to the nearest value before; then this one is known too. The first value is no novelty.
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is kept")]
    pub(crate) fn distance(&mut self, value: f64) -> f64 {
        let value = value.clamp(-LARGEST, LARGEST) as f32;
        self.now = self.now.wrapping_add(1);
        let at = self.reps.partition_point(|rep| rep.value < value);
        let below = at.checked_sub(1).map(|below| (value - self.reps[below].value, below));
        let above = self.reps.get(at).map(|rep| (rep.value - value, at));
        let nearest = match (below, above) {
            (Some(b), Some(a)) => Some(if b.0 < a.0 { b } else { a }),
            (one, other) => one.or(other),
        };
        let distance = nearest.map_or(0.0, |(distance, _)| distance);
        match nearest {
            Some((distance, near)) if distance <= self.grain => self.reps[near].seen = self.now,
            _ => self.reps.insert(at, Rep { value, seen: self.now }),
        }
        if self.reps.len() >= REPS_MAX {
            self.thin_out();
        }
        f64::from(distance)
    }

    /// Forgets what is old; if that is not an eighth of the net, gives up the smallest gaps as well.
    fn thin_out(&mut self) {
        let now = self.now;
        self.reps.retain(|rep| now.wrapping_sub(rep.seen) < MEMORY_POINTS);
        if self.reps.len() * 8 <= REPS_MAX * 7 {
            return;
        }
        let mut gaps: Vec<f32> = self.reps.windows(2).map(|pair| pair[1].value - pair[0].value).collect();
        let (_, grain, _) = gaps.select_nth_unstable_by(REPS_MAX / 8, f32::total_cmp);
        self.grain = self.grain.max(*grain);
        let mut kept: Vec<Rep> = Vec::with_capacity(REPS_MAX);
        for rep in &self.reps {
            match kept.last_mut() {
                Some(last) if rep.value - last.value <= self.grain => {
                    // The younger of the two visits, counted back from now because the clock may have wrapped.
                    if now.wrapping_sub(rep.seen) < now.wrapping_sub(last.seen) {
                        last.seen = rep.seen;
                    }
                }
                _ => kept.push(*rep),
            }
        }
        self.reps = kept;
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.u32(self.now);
        to.f32(self.grain);
        to.u32(u32::try_from(self.reps.len()).unwrap_or(u32::MAX));
        for rep in &self.reps {
            to.f32(rep.value);
            to.u32(rep.seen);
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (now, grain, count) = (from.u32()?, from.f32()?, from.count(REPS_MAX)?);
        let reps = (0..count).map(|_| Ok(Rep { value: from.f32()?, seen: from.u32()? })).collect::<Result<_, StateError>>()?;
        Ok(Self { reps, grain, now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_new() {
        let mut net = Novelty::default();
        assert_eq!([5.0, 5.0, 9.0, 6.0, 8.5].map(|value| net.distance(value)), [0.0, 0.0, 4.0, 1.0, 0.5]);
    }

    #[test]
    fn a_full_net_is_still_right_to_its_grain() {
        let mut net = Novelty::default();
        for i in 0..20_000u32 {
            net.distance(f64::from((i * 7919) % 20_000));
            assert!(net.reps.len() < REPS_MAX);
        }
        assert!(net.grain > 0.0 && net.grain < 100.0, "{}", net.grain);
        assert!((net.distance(30_000.0) - 10_001.0).abs() <= f64::from(net.grain) + 1.0);
    }

    #[test]
    fn after_a_long_time_the_old_is_new_again() {
        let mut net = Novelty::default();
        net.distance(-1e6);
        assert!(net.distance(-1e6 + 1.0) < 2.0);
        for i in 0..60_000u32 {
            net.distance(f64::from((i * 7919) % 50_000));
        }
        assert!(net.distance(-1e6) > 9e5);
    }
}
