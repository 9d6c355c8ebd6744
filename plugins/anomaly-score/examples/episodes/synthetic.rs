//! Series with known changes, drawn from a fixed seed: days of a shop, and a load every five minutes and every hour.

use taskwarden_anomaly_score::{Point, Shape, Way};

use super::{Case, Truth};

const DAY_MS: i64 = 86_400_000;
/// Series of each kind of change.
const EACH: u64 = 20;

/// Numbers that look random and are the same on every machine (SplitMix64).
struct Dice(u64);

impl Dice {
    /// Evenly from 0 to 1.
    fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, with a standard deviation of one.
    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.even()).sum::<f64>() - 6.0
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.even()
    }
}

#[derive(Clone, Copy)]
struct Rhythm {
    step_ms: i64,
    /// Points in a cycle.
    cycle: usize,
    points: usize,
    /// Points that a short change lasts, and a long one.
    short: usize,
    long: usize,
}

const RHYTHMS: [Rhythm; 3] = [
    Rhythm { step_ms: DAY_MS, cycle: 7, points: 240, short: 1, long: 14 },
    Rhythm { step_ms: 3_600_000, cycle: 24, points: 24 * 40, short: 2, long: 48 },
    Rhythm { step_ms: 300_000, cycle: 288, points: 288 * 14, short: 6, long: 288 },
];

const SHAPES: [Shape; 7] =
    [Shape::Spike, Shape::Dip, Shape::Outage, Shape::LevelShift, Shape::TrendChange, Shape::SeasonBreak, Shape::Variance];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for rhythm in RHYTHMS {
        for shape in SHAPES {
            for seed in 0..EACH {
                cases.push(case(rhythm, shape, seed * 1_000_003 + shape as u64 * 101 + rhythm.cycle as u64));
            }
        }
    }
    cases
}

fn usual(rhythm: Rhythm, at: usize, swing: f64) -> f64 {
    let of_cycle = (at % rhythm.cycle) as f64 / rhythm.cycle as f64;
    if rhythm.cycle == 7 {
        if of_cycle > 0.65 { 1.0 - swing } else { 1.0 }
    } else {
        1.0 - swing / 2.0 + 2.0 * swing * of_cycle * (1.0 - of_cycle)
    }
}

fn case(rhythm: Rhythm, shape: Shape, seed: u64) -> Case {
    let mut dice = Dice(seed);
    let (level, swing, spread) = (dice.between(50.0, 5_000.0), dice.between(0.2, 0.5), dice.between(0.02, 0.05));
    let middle = rhythm.points * 2 / 3;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small part of the series")]
    let start = middle + (dice.even() * rhythm.cycle as f64 * 2.0) as usize;
    let up = dice.even() < 0.5;
    let size = dice.between(8.0, 14.0) * spread;
    let size = if up { size } else { -size };
    let lasts = match shape {
        Shape::Spike | Shape::Dip => rhythm.short,
        Shape::Outage => rhythm.short * 3,
        Shape::SeasonBreak | Shape::Variance => rhythm.long,
        Shape::LevelShift | Shape::TrendChange => rhythm.points - start,
    };
    let value = |at: usize, dice: &mut Dice| {
        let (calm, noise) = (usual(rhythm, at, swing), spread * dice.noise());
        let inside = (start..start + lasts).contains(&at);
        let factor = match shape {
            _ if !inside => calm + noise,
            Shape::Spike => calm + noise + size.abs(),
            Shape::Dip => calm + noise - size.abs(),
            Shape::Outage => 0.0,
            Shape::LevelShift => calm + noise + size / 2.0,
            // As far as a shift after a long while.
            Shape::TrendChange => calm + noise + size * ((at - start) as f64 / rhythm.long as f64).min(1.5),
            Shape::SeasonBreak => usual(rhythm, at + rhythm.cycle / 2, swing) + noise,
            Shape::Variance => calm + 4.0 * noise,
        };
        level * factor
    };
    let points = (0..rhythm.points).map(|at| Point::new(at as i64 * rhythm.step_ms, value(at, &mut dice))).collect();
    let way = match shape {
        Shape::Spike => Some(Way::Up),
        Shape::Dip | Shape::Outage => Some(Way::Down),
        Shape::LevelShift | Shape::TrendChange => Some(if up { Way::Up } else { Way::Down }),
        Shape::SeasonBreak | Shape::Variance => None,
    };
    let ends = !matches!(shape, Shape::LevelShift | Shape::TrendChange);
    let last = start + lasts - 1;
    let until = if ends { last } else { (start + 2 * rhythm.long).min(rhythm.points) };
    let truth = Truth { shapes: vec![shape], way, start, end: ends.then_some(last), until };
    Case { points, truths: vec![truth] }
}
