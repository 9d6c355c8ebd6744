//! What nothing comes of any more: attempts of a lane, ratings, income. Every other check would call that a good day.

use crate::clock::UnixMs;

/// With fewer buckets in which something came there is no habit to break.
const BUCKETS_MIN: usize = 20;
/// A shorter silence is nothing to speak of.
const SILENCE_BUCKETS_MIN: i64 = 3;

/// That something fell silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silence {
    /// When the last bucket ended in which something came.
    pub(super) since: UnixMs,
    /// For how long nothing has come.
    pub(super) silent_ms: i64,
    /// The longest that it ever was before.
    pub(super) longest_before_ms: i64,
}

/// Whether nothing has come for half as long again as ever before. `busy` are the beginnings of the buckets in which something came. What
/// rests at weekends has done so before, once it was watched over one.
pub(super) fn silence(busy: impl Iterator<Item = UnixMs>, to: UnixMs, span_ms: i64) -> Option<Silence> {
    let busy: Vec<i64> = busy.map(|at| at.0).collect();
    let last = busy.last().filter(|_| busy.len() >= BUCKETS_MIN)?;
    let longest_before_ms = busy.iter().zip(busy.get(1..)?).map(|(one, next)| next - one - span_ms).max()?;
    let since = last + span_ms;
    let silent_ms = to.0 - since;
    let long =
        silent_ms >= SILENCE_BUCKETS_MIN.saturating_mul(span_ms) && silent_ms.saturating_mul(2) > longest_before_ms.saturating_mul(3);
    long.then_some(Silence { since: UnixMs(since), silent_ms, longest_before_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn busy(hours: impl IntoIterator<Item = i64>) -> Vec<UnixMs> {
        hours.into_iter().map(|hour| UnixMs(hour * HOUR)).collect()
    }

    fn silent_at(busy: &[UnixMs], hour: i64) -> bool {
        silence(busy.iter().copied(), UnixMs(hour * HOUR), HOUR).is_some()
    }

    #[test]
    fn a_lane_that_always_worked_is_missed_after_three_buckets() {
        let lane = busy(0..50);
        assert!(!silent_at(&lane, 50) && !silent_at(&lane, 52) && silent_at(&lane, 53));
        let found = silence(lane.iter().copied(), UnixMs(60 * HOUR), HOUR).expect("silent");
        assert_eq!(found, Silence { since: UnixMs(50 * HOUR), silent_ms: 10 * HOUR, longest_before_ms: 0 });
    }

    #[test]
    fn a_lane_that_rests_at_night_is_missed_only_after_more_than_a_night() {
        let lane = busy((0..10 * 24).filter(|hour| (8..18).contains(&(hour % 24))));
        // It ended at 18:00 on the tenth day; its nights have fourteen hours.
        let end = 9 * 24 + 18;
        assert!(!silent_at(&lane, end + 14) && !silent_at(&lane, end + 21) && silent_at(&lane, end + 22));
    }

    #[test]
    fn what_ran_only_now_and_then_is_never_missed() {
        assert!(!silent_at(&busy(0..19), 500));
        assert!(!silent_at(&[], 500));
    }
}
