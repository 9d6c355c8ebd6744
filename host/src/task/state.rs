//! The life of a task: `scheduled → queued → running → succeeded | failed | cancelled`, and who decides what comes next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::clock::UnixMs;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its time.
    Scheduled,
    /// Waits for a slot.
    Queued,
    /// Runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended, not well.
    Failed,
    /// Was stopped.
    Cancelled,
}

impl TaskState {
    /// Every state.
    pub const ALL: [TaskState; 6] = [Self::Scheduled, Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in the API and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl std::str::FromStr for TaskState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| format!("{text:?} is not a state; they are scheduled, queued, running, succeeded, failed and cancelled"))
    }
}

/// How failures are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The back-off before the second attempt; it doubles with each one after.
    pub backoff_base: Duration,
    /// The back-off never exceeds this.
    pub backoff_cap: Duration,
    /// How often a task may be lost with its host before it counts as the cause.
    pub lost_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { backoff_base: Duration::from_secs(1), backoff_cap: Duration::from_secs(3600), lost_max: 3 }
    }
}

/// A plugin cannot put its task off for longer than this at a time; otherwise it could put it off for ever.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What happens to a task after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is over, in this state.
    Final(TaskState),
    /// It runs again, not before this.
    RetryAt(UnixMs),
    /// It runs again, not before this, and from now on with larger limits.
    RetryLarger(UnixMs),
}

impl Next {
    /// Not before when it runs again, if it does.
    #[must_use]
    pub fn retry_at(self) -> Option<UnixMs> {
        match self {
            Self::Final(_) => None,
            Self::RetryAt(at) | Self::RetryLarger(at) => Some(at),
        }
    }
}

/// Decides what happens after an attempt.
///
/// * `attempt`: its number, counting from 1 and including those that were lost with their host.
/// * `lost`: how many attempts were lost with their host, this one included.
/// * `retry_after`: what the plugin asked for; only heeded after `transient`.
/// * `larger`: whether this task may run once more with larger limits, and they are larger where this attempt ended.
/// * `jitter`: in `[0, 1)`. Full jitter, after <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[must_use]
pub fn next(
    outcome: Outcome,
    attempt: u32,
    max_attempts: u32,
    lost: u32,
    retry_after: Option<Duration>,
    larger: bool,
    policy: &RetryPolicy,
    now: UnixMs,
    jitter: f64,
) -> Next {
    match outcome {
        Outcome::Succeeded => Next::Final(TaskState::Succeeded),
        Outcome::Cancelled => Next::Final(TaskState::Cancelled),
        Outcome::Invalid | Outcome::Permanent => Next::Final(TaskState::Failed),
        // Deterministic: the same limits would be reached again. There is nothing to wait for either.
        Outcome::OutOfFuel | Outcome::OutOfMemory | Outcome::OutputTooLarge | Outcome::HostLimit => {
            if larger && attempt.saturating_sub(lost) < max_attempts { Next::RetryLarger(now) } else { Next::Final(TaskState::Failed) }
        }
        Outcome::Lost if lost <= policy.lost_max => Next::RetryAt(now),
        Outcome::Lost => Next::Final(TaskState::Failed),
        Outcome::Transient | Outcome::Trap | Outcome::Deadline => {
            let own_attempts = attempt.saturating_sub(lost);
            if own_attempts >= max_attempts {
                return Next::Final(TaskState::Failed);
            }
            let asked = retry_after.filter(|_| outcome == Outcome::Transient).map(|asked| asked.min(RETRY_AFTER_MAX));
            Next::RetryAt(now.plus(asked.unwrap_or_else(|| backoff(own_attempts, policy, jitter))))
        }
    }
}

/// How long to wait before the next attempt, after so many of one's own; `jitter` is in `[0, 1)`.
#[must_use]
pub fn backoff(own_attempts: u32, policy: &RetryPolicy, jitter: f64) -> Duration {
    let doublings = own_attempts.saturating_sub(1).min(32);
    let full = policy.backoff_base.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(policy.backoff_cap);
    full.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn after(outcome: Outcome, attempt: u32, lost: u32, asked: Option<u64>) -> Next {
        next(outcome, attempt, 3, lost, asked.map(Duration::from_millis), false, &RetryPolicy::default(), NOW, 0.5)
    }

    #[test]
    fn deterministic_outcomes_are_final_at_once() {
        for outcome in
            [Outcome::Invalid, Outcome::Permanent, Outcome::OutOfFuel, Outcome::OutOfMemory, Outcome::OutputTooLarge, Outcome::HostLimit]
        {
            assert_eq!(after(outcome, 1, 0, None), Next::Final(TaskState::Failed), "{outcome}");
        }
    }

    #[test]
    fn one_of_a_limit_is_retried_at_once_where_a_larger_one_is_allowed() {
        let after = |outcome, attempt, lost| next(outcome, attempt, 3, lost, None, true, &RetryPolicy::default(), NOW, 0.5);
        for outcome in Outcome::ALL {
            let larger = matches!(after(outcome, 1, 0), Next::RetryLarger(NOW));
            assert_eq!(larger, !outcome.limits().is_empty(), "{outcome}");
        }
        assert_eq!(after(Outcome::OutOfFuel, 3, 0), Next::Final(TaskState::Failed), "it counts like any attempt");
        assert_eq!(after(Outcome::OutOfFuel, 3, 1), Next::RetryLarger(NOW));
    }

    #[test]
    fn others_back_off_exponentially_until_the_attempts_are_used_up() {
        assert_eq!(after(Outcome::Trap, 1, 0, None), Next::RetryAt(UnixMs(1_000_500)));
        assert_eq!(after(Outcome::Deadline, 2, 0, Some(7)), Next::RetryAt(UnixMs(1_001_000)));
        assert_eq!(after(Outcome::Transient, 2, 0, Some(7)), Next::RetryAt(UnixMs(1_000_007)));
        assert_eq!(after(Outcome::Transient, 1, 0, Some(u64::MAX)), Next::RetryAt(NOW.plus(RETRY_AFTER_MAX)));
        assert_eq!(after(Outcome::Transient, 3, 0, Some(7)), Next::Final(TaskState::Failed));
    }

    #[test]
    fn being_lost_has_its_own_count() {
        assert_eq!(after(Outcome::Lost, 3, 3, None), Next::RetryAt(NOW));
        assert_eq!(after(Outcome::Lost, 4, 4, None), Next::Final(TaskState::Failed));
        assert_eq!(after(Outcome::Trap, 4, 2, None), Next::RetryAt(UnixMs(1_001_000)), "two own attempts of three were made");
    }
}
