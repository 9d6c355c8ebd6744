//! Alert once. The gate opens when the score reaches the boundary, and stays shut for some hours, whatever happens in them: what goes on
//! is the same incident. Each opening raises the boundary for a while, so that a restless series has to do more to be heard than a quiet
//! one; without this, one boundary cannot serve both.

use crate::math::exp;
use crate::state::{Reader, StateError, Writer};

/// The gate stays shut for this long: 0.4 of a day.
pub(crate) const SHUT_MS: i64 = 34_560_000;
/// By how much each opening raises the boundary, relative to itself.
const RAISE: f64 = 0.15;
/// The raise wears off by a factor of e over this many points.
const MEMORY_POINTS: f64 = 10_000.0;

#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    openings: f64,
    opened_ms: Option<i64>,
}

/// What the gate makes of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// The boundary that held for this point.
    pub(crate) boundary: f64,
    /// Whether an incident begins here.
    pub(crate) opens: bool,
}

impl Gate {
    pub(crate) fn judge(&mut self, time_ms: i64, score: f64, boundary: f64) -> Verdict {
        self.openings *= exp(-1.0 / MEMORY_POINTS);
        let boundary = boundary * (1.0 + RAISE * self.openings);
        let open_again = self.opened_ms.is_none_or(|opened| time_ms.saturating_sub(opened) >= SHUT_MS);
        let opens = score >= boundary && open_again;
        if opens {
            self.openings += 1.0;
            self.opened_ms = Some(time_ms);
        }
        Verdict { boundary, opens }
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        to.f64(self.openings);
        to.i64(self.opened_ms.unwrap_or(i64::MIN));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (openings, opened) = (from.f64()?, from.i64()?);
        Ok(Self { openings, opened_ms: (opened != i64::MIN).then_some(opened) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_alerts_once_and_many_incidents_raise_the_boundary() {
        let mut gate = Gate::default();
        let hour = 3_600_000;
        let opens: Vec<i64> = (0..48).filter(|at| gate.judge(at * hour, 9.0, 5.0).opens).collect();
        assert_eq!(opens, [0, 10, 20, 30, 40]);
        assert!(!gate.judge(60 * hour, 8.0, 5.0).opens, "the boundary is at {}", 5.0 * (1.0 + RAISE * gate.openings));
        assert!(gate.judge(61 * hour, 9.0, 5.0).opens);
    }
}
