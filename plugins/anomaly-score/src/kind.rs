//! What kind of quantity a series is, and the scale on which its noise is about the same everywhere.

use crate::math::{asin, exp, ln, sin};
use crate::state::{Reader, StateError, Writer};
use crate::stats::median;

/// What kind of quantity a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Any number; taken as it is.
    Value,
    /// How often something happened: noise grows with the square root.
    Count,
    /// A share between 0 and 1, such as a success rate; its denominator may come with it.
    Ratio,
    /// Money or time: never negative, and its noise is a share of it.
    Duration,
}

impl Kind {
    /// Every kind.
    const ALL: [Self; 4] = [Self::Value, Self::Count, Self::Ratio, Self::Duration];

    /// As it is written into a state.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a code.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// What the first values look like.
    pub(crate) fn guess(values: &[f64]) -> Self {
        let all = |test: fn(f64) -> bool| values.iter().all(|value| test(*value));
        if all(|x| (0.0..=1.0).contains(&x)) && !all(|x| x == 0.0 || x == 1.0) {
            Self::Ratio
        } else if all(|x| x >= 0.0 && x == x.floor()) {
            Self::Count
        } else if all(|x| x > 0.0) {
            Self::Duration
        } else {
            Self::Value
        }
    }

    /// The scale for a series that began like this.
    pub(crate) fn scale(self, first: &[f64]) -> Scale {
        match self {
            Self::Value => Scale::Linear,
            Self::Count => Scale::Root,
            Self::Ratio => Scale::Arc,
            Self::Duration => {
                // An outage is a zero, and a zero has no logarithm: two per cent of the usual stand in for it.
                let usual = median(&mut first.iter().map(|x| x.abs()).collect::<Vec<_>>());
                if usual > 0.0 { Scale::Log { offset: usual * 0.02 } } else { Scale::Linear }
            }
        }
    }
}

/// A monotone map to where noise is about as large at every level, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// Anscombe's transform of a Poisson count, whose standard deviation is one.
    Root,
    /// Arcsine of the root of a share, whose standard deviation is half of one over the root of its denominator.
    Arc,
    Log {
        offset: f64,
    },
}

impl Scale {
    pub(crate) fn forth(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::Root => 2.0 * (x.max(0.0) + 0.375).sqrt(),
            Self::Arc => asin(x.clamp(0.0, 1.0).sqrt()),
            Self::Log { offset } => ln(x.max(0.0) + offset),
        }
    }

    pub(crate) fn back(self, y: f64) -> f64 {
        match self {
            Self::Linear => y,
            Self::Root => (y.max(0.0) * y.max(0.0) / 4.0 - 0.375).max(0.0),
            Self::Arc => {
                let root = sin(y.clamp(0.0, std::f64::consts::FRAC_PI_2));
                root * root
            }
            Self::Log { offset } => (exp(y.min(700.0)) - offset).max(0.0),
        }
    }

    pub(crate) fn save(self, to: &mut Writer) {
        let (code, offset) = match self {
            Self::Linear => (0, 0.0),
            Self::Root => (1, 0.0),
            Self::Arc => (2, 0.0),
            Self::Log { offset } => (3, offset),
        };
        to.u8(code);
        to.f64(offset);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match (from.u8()?, from.f64()?) {
            (0, _) => Ok(Self::Linear),
            (1, _) => Ok(Self::Root),
            (2, _) => Ok(Self::Arc),
            (3, offset) => Ok(Self::Log { offset }),
            _ => Err(StateError::Damaged),
        }
    }

    /// The least variance that a value can have on this scale, if its denominator is `total`.
    pub(crate) fn noise_floor(self, total: Option<f64>) -> f64 {
        match (self, total) {
            (Self::Root, _) => 1.0,
            (Self::Arc, Some(total)) if total > 0.0 => 0.25 / total,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_first_values() {
        assert_eq!(Kind::guess(&[0.95, 1.0]), Kind::Ratio);
        assert_eq!(Kind::guess(&[1.0, 0.0]), Kind::Count);
        assert_eq!(Kind::guess(&[12.5, 13.0]), Kind::Duration);
        assert_eq!(Kind::guess(&[12.5, 0.0]), Kind::Value);
        assert_eq!(Kind::guess(&[-1.0, 3.0]), Kind::Value);
    }

    #[test]
    fn scales_lead_there_and_back() {
        for (kind, values) in
            [(Kind::Value, [-3.0, 7.5]), (Kind::Count, [0.0, 250.0]), (Kind::Ratio, [0.25, 1.0]), (Kind::Duration, [0.0, 99.5])]
        {
            let scale = kind.scale(&[100.0, 120.0]);
            for value in values {
                assert!((scale.back(scale.forth(value)) - value).abs() < 1e-9, "{kind:?} {value}");
            }
        }
    }
}
