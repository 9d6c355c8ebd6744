//! The scale on which a series with several points a day is looked at. Without a word about its kind it is taken as it is; a kind that was
//! named has the scale on which its noise is even.
//!
//! A ratio that comes with its denominators is looked at in standard deviations of chance: the arcsine of the root of the share, less that
//! of the usual share, times twice the root of the denominator. One failure of two and a hundred of two hundred are the same share, and
//! only the second is far from the usual one. How far is far is learnt from the series itself, as for any other.

use crate::kind::{Kind, Scale};
use crate::math::{asin, sin};
use crate::series::Point;
use crate::state::{Reader, StateError, Writer};

/// The usual share forgets by a factor of e over this many points: twelve weeks of hours.
const SHARE_POINTS: f64 = 2_000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lens {
    /// As it is.
    Plain,
    /// A kind that was named.
    Even(Kind, Scale),
    /// A ratio with its denominators: cases that count and all cases so far, the later ones more.
    Share { hits: f64, cases: f64 },
}

/// What a lens needs to know of a point before it is looked at: for a ratio, where its usual share lies and how sharp it is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Focus {
    centre: f64,
    per_unit: f64,
}

impl Lens {
    /// The lens for a series of a kind that was named, if it was, which began like this.
    pub(crate) fn new(kind: Option<Kind>, first: &[Point]) -> Self {
        let Some(kind) = kind else { return Self::Plain };
        if kind == Kind::Ratio && first.iter().any(|point| cases(point.total) > 0.0) {
            return Self::Share { hits: 0.0, cases: 0.0 };
        }
        Self::Even(kind, kind.scale(&first.iter().map(|point| point.value).collect::<Vec<_>>()))
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Plain => None,
            Self::Even(kind, _) => Some(kind),
            Self::Share { .. } => Some(Kind::Ratio),
        }
    }

    /// Before the point is learnt from.
    pub(crate) fn focus(self, total: Option<f64>) -> Focus {
        match self {
            Self::Share { hits, cases: known } if known > 0.0 => {
                Focus { centre: angle(hits / known), per_unit: 2.0 * cases(total).max(f64::MIN_POSITIVE).sqrt() }
            }
            // Of the first point everything is usual.
            _ => Focus { centre: f64::NAN, per_unit: 1.0 },
        }
    }

    pub(crate) fn forth(self, focus: Focus, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Even(_, scale) => scale.forth(value),
            Self::Share { .. } if focus.centre.is_nan() => 0.0,
            Self::Share { .. } => (angle(value) - focus.centre) * focus.per_unit,
        }
    }

    pub(crate) fn back(self, focus: Focus, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Even(_, scale) => scale.back(value),
            Self::Share { .. } if focus.centre.is_nan() => 0.0,
            Self::Share { .. } => {
                let root = sin((focus.centre + value / focus.per_unit).clamp(0.0, std::f64::consts::FRAC_PI_2));
                root * root
            }
        }
    }

    pub(crate) fn learn(&mut self, point: &Point) {
        if let Self::Share { hits, cases: known } = self {
            let (keep, new) = (1.0 - 1.0 / SHARE_POINTS, cases(point.total));
            *hits = *hits * keep + point.value.clamp(0.0, 1.0) * new;
            *known = *known * keep + new;
        }
    }

    pub(crate) fn save(self, to: &mut Writer) {
        match self {
            Self::Plain => to.u8(0),
            Self::Even(kind, scale) => {
                to.u8(1);
                to.u8(kind.code());
                scale.save(to);
            }
            Self::Share { hits, cases } => {
                to.u8(2);
                to.f64(hits);
                to.f64(cases);
            }
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match from.u8()? {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Even(Kind::of_code(from.u8()?).ok_or(StateError::Damaged)?, Scale::load(from)?)),
            2 => Ok(Self::Share { hits: from.f64()?, cases: from.f64()? }),
            _ => Err(StateError::Damaged),
        }
    }
}

/// The denominator of a point; a point without one counts as one case.
fn cases(total: Option<f64>) -> f64 {
    total.unwrap_or(1.0).max(0.0)
}

fn angle(share: f64) -> f64 {
    asin(share.clamp(0.0, 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: f64, total: f64) -> Point {
        Point { time_ms: 0, value, total: Some(total) }
    }

    #[test]
    fn a_share_is_as_far_off_as_its_denominator_lets_it_be() {
        let mut lens = Lens::new(Some(Kind::Ratio), &[of(0.95, 100.0)]);
        lens.learn(&of(0.95, 100.0));
        let off = |total: f64, value: f64| lens.forth(lens.focus(Some(total)), value);
        assert!(off(2.0, 0.5).abs() < 2.0 && off(200.0, 0.5) < -15.0, "{} {}", off(2.0, 0.5), off(200.0, 0.5));
        assert!((off(200.0, 0.95)).abs() < 1e-9);
        for (total, value) in [(2.0, 0.5), (200.0, 0.93), (0.0, 0.95)] {
            let focus = lens.focus(Some(total));
            assert!((lens.back(focus, lens.forth(focus, value)) - value).abs() < 1e-9, "{total} {value}");
        }
    }

    #[test]
    fn what_is_not_named_is_left_as_it_is() {
        let lens = Lens::new(None, &[of(0.5, 10.0)]);
        assert_eq!((lens, lens.forth(lens.focus(None), 7.5), lens.back(lens.focus(None), 7.5)), (Lens::Plain, 7.5, 7.5));
        assert_eq!(Lens::new(Some(Kind::Count), &[of(3.0, 0.0)]).kind(), Some(Kind::Count));
    }
}
