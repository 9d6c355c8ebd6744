//! How rare a value is against everything seen before, as −log10 of a tail probability, in constant time and memory.
//!
//! The body is an empirical distribution on logarithmic bins (an eighth of an octave wide); beyond the top two per cent the tail is
//! taken as exponential with the mean excess seen so far: the idea of peaks over threshold (Siffer et al., "Anomaly detection in streams
//! with extreme value theory", KDD 2017), with the exponential member of the family only, because a shape fitted to a few dozen
//! excesses swings more than it tells. Units of the input do not matter; zero is a value like any other.

#![expect(clippy::indexing_slicing, reason = "every index is a bin number, clamped to the bins when it is made")]

use crate::math::{LN_10, rarity};
use crate::state::{Reader, StateError, Writer};

/// Bins: forty octaves of eight.
const BINS: usize = 320;
/// Where the first value that is not zero goes; smaller ones have twenty octaves below it, larger ones twenty above.
const MIDDLE: i64 = 160;
/// The share of the history that lies in the tail.
const TAIL_SHARE: f64 = 0.02;
/// Before this many values nothing is rare.
const WARM_UP: f64 = 32.0;
/// From here on the past counts half, again and again: about the last ten thousand values matter.
const HISTORY: f64 = 16_000.0;
/// The tail is looked at again after so many values; in the beginning after each.
const REFRESH: usize = 16;
const ZERO: u16 = u16::MAX;
/// Further out than this many powers of ten beyond the tail's start there is nothing left to tell apart, and a tail of few values should not
/// drown what the others say.
const DECADES_MAX: f64 = 8.0;

#[derive(Debug, Clone)]
pub(crate) struct Tail {
    bins: Vec<f32>,
    zeros: f64,
    total: f64,
    base: Option<i64>,
    /// The bins of the values since the tail was last looked at; [`ZERO`] for a value without one.
    fresh: Vec<u16>,
    /// What follows is made from the bins: how many values lie above each, where the tail begins, its share and its mean excess.
    above: Vec<f32>,
    start: f64,
    share: f64,
    excess: f64,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self {
            bins: vec![0.0; BINS],
            zeros: 0.0,
            total: 0.0,
            base: None,
            fresh: Vec::with_capacity(REFRESH),
            above: vec![0.0; BINS],
            start: f64::INFINITY,
            share: 1.0,
            excess: 1.0,
        }
    }

    /// How rare `value` is; then it becomes part of the history. Not for negative values.
    pub(crate) fn score(&mut self, value: f64) -> f64 {
        let score = self.peek(value);
        self.take_in(value);
        score
    }

    pub(crate) fn peek(&self, value: f64) -> f64 {
        if self.total < WARM_UP || value <= 0.0 {
            return 0.0;
        }
        if value > self.start {
            let decades = (value - self.start) / (self.excess * LN_10);
            return rarity(self.share, 1.0) + decades.min(DECADES_MAX);
        }
        let Some(bin) = self.bin(value) else { return 0.0 };
        let (low, high) = self.edges(bin);
        let inside = f64::from(self.bins[bin]) * ((high - value) / (high - low)).clamp(0.0, 1.0);
        rarity(f64::from(self.above[bin]) + inside + 1.0, self.total + 1.0).max(0.0)
    }

    /// The value that is as rare as this. Infinite before there is a tail.
    pub(crate) fn value_at(&self, score: f64) -> f64 {
        self.start + (score - rarity(self.share, 1.0)).max(0.0) * self.excess * LN_10
    }

    fn take_in(&mut self, value: f64) {
        if self.total >= HISTORY {
            self.total /= 2.0;
            self.zeros /= 2.0;
            self.bins.iter_mut().for_each(|count| *count /= 2.0);
            self.refresh();
        }
        if value > 0.0 {
            self.base.get_or_insert(octave_eighth(value) - MIDDLE);
        }
        let bin = if value > 0.0 { self.bin(value) } else { None };
        self.count(bin, 1.0);
        self.fresh.push(bin.and_then(|bin| u16::try_from(bin).ok()).unwrap_or(ZERO));
        if self.fresh.len() >= REFRESH || self.total < 256.0 {
            self.refresh();
        }
    }

    fn count(&mut self, bin: Option<usize>, by: f32) {
        match bin {
            Some(bin) => self.bins[bin] += by,
            None => self.zeros += f64::from(by),
        }
        self.total += f64::from(by);
    }

    fn refresh(&mut self) {
        self.fresh.clear();
        let mut above = 0.0;
        for bin in (0..BINS).rev() {
            self.above[bin] = above;
            above += self.bins[bin];
        }
        let wanted = (self.total * TAIL_SHARE).floor() + 1.0;
        let (mut count, mut sum) = (0.0, 0.0);
        let mut bin = BINS;
        while bin > 0 && count < wanted {
            bin -= 1;
            let here = f64::from(self.bins[bin]);
            if here > 0.0 {
                let (low, high) = self.edges(bin);
                count += here;
                sum += here * (low + high) / 2.0;
            }
        }
        // Where fewer values than that are above zero, the tail begins at the smallest of them.
        let start = self.edges(bin).0;
        self.start = if count > 0.0 { start } else { 0.0 };
        self.share = (count.max(1.0) / self.total).min(1.0);
        self.excess = if count > 0.0 { (sum / count - start).max(start * 1e-3) } else { f64::MIN_POSITIVE };
    }

    fn bin(&self, value: f64) -> Option<usize> {
        usize::try_from((octave_eighth(value) - self.base?).clamp(0, BINS as i64 - 1)).ok()
    }

    fn edges(&self, bin: usize) -> (f64, f64) {
        let at = self.base.unwrap_or(0) + bin as i64;
        (from_octave_eighth(at), from_octave_eighth(at + 1))
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.f64(self.zeros);
        to.f64(self.total);
        to.i64(self.base.unwrap_or(i64::MIN));
        self.bins.iter().for_each(|count| to.f32(*count));
        to.u32(u32::try_from(self.fresh.len()).unwrap_or(u32::MAX));
        self.fresh.iter().for_each(|bin| to.u32(u32::from(*bin)));
    }

    /// What was made from the bins is made again, from the bins as they were then.
    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut tail = Self::new();
        (tail.zeros, tail.total) = (from.f64()?, from.f64()?);
        let base = from.i64()?;
        tail.base = (base != i64::MIN).then_some(base.clamp(-100_000, 100_000));
        for count in &mut tail.bins {
            *count = from.f32()?;
        }
        let fresh = (0..from.count(REFRESH)?).map(|_| from.u32()).collect::<Result<Vec<_>, _>>()?;
        let bin = |fresh: u32| usize::try_from(fresh).ok().filter(|bin| *bin < BINS);
        fresh.iter().for_each(|at| tail.count(bin(*at), -1.0));
        tail.refresh();
        for at in fresh {
            tail.count(bin(at), 1.0);
            tail.fresh.push(u16::try_from(at).unwrap_or(ZERO));
        }
        Ok(tail)
    }
}

/// Exponent and the first three bits of the mantissa: a logarithm to the base two in steps of about an eighth, without computing one.
fn octave_eighth(value: f64) -> i64 {
    (value.max(f64::MIN_POSITIVE).to_bits() >> 49) as i64
}

fn from_octave_eighth(at: i64) -> f64 {
    /// The largest finite value's.
    const MAX: i64 = (0x7FF << 3) - 1;
    f64::from_bits((at.clamp(0, MAX) as u64) << 49)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponentially distributed values by their quantiles, in a scattered order.
    fn filled(unit: f64) -> Tail {
        let mut tail = Tail::new();
        for i in 0..4000u32 {
            let share = f64::from((i * 1237) % 4000) / 4000.0;
            tail.score(-crate::math::ln(1.0 - share) * unit);
        }
        tail
    }

    #[test]
    fn one_in_a_thousand_scores_about_three() {
        for unit in [2.0, 1e-9, 1e12] {
            let tail = filled(unit);
            for (share, score) in [(0.1, 1.0), (0.01, 2.0), (1e-3, 3.0), (1e-5, 5.0)] {
                let found = tail.peek(-crate::math::ln(share) * unit);
                assert!((found - score).abs() < 0.12 * score, "{share}: {found}");
            }
            assert!((tail.peek(tail.value_at(3.0)) - 3.0).abs() < 1e-9);
        }
    }

    #[test]
    fn zeros_count_and_the_first_move_after_many_is_rare() {
        let mut tail = Tail::new();
        for _ in 0..999 {
            assert_eq!(tail.score(0.0), 0.0);
        }
        assert!(tail.score(5.0) >= 3.0);
        for _ in 0..50 {
            tail.score(5.0);
        }
        assert!(tail.peek(5.0) < 1.5, "{}", tail.peek(5.0));
    }

    #[test]
    fn a_saved_tail_goes_on_with_the_same_bits() {
        let mut tail = filled(3.0);
        tail.score(7.0);
        let mut to = Writer::begin();
        tail.save(&mut to);
        let bytes = to.finish();
        let mut back = Tail::load(&mut Reader::begin(&bytes).expect("a state")).expect("read back");
        for value in [0.0, 1.0, 30.0, 2.0, 90.0] {
            assert_eq!(tail.score(value).to_bits(), back.score(value).to_bits());
        }
    }
}
