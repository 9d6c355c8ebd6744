//! Priority with ageing, and no background job to do the ageing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else waits.
    Background,
    /// Below ordinary work.
    Low,
    /// Ordinary work.
    #[default]
    Normal,
    /// Above ordinary work.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// Every priority, least urgent first.
    pub const ALL: [Priority; 5] = [Self::Background, Self::Low, Self::Normal, Self::High, Self::Critical];

    /// Whether tasks of this priority have slots of their own and do not wait behind what was claimed already.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self >= Self::High
    }

    /// 0 for background to 4 for critical.
    #[must_use]
    pub fn rank(self) -> i64 {
        self as i64
    }

    /// The name in the API and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::str::FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| format!("{text:?} is not a priority; they are critical, high, normal, low and background"))
    }
}

/// The key by which ready tasks are picked, smallest first. It is computed once and never rewritten: each rank is worth
/// `step` of waiting, so a task is passed only by tasks that become ready within `(their rank − its rank) × step` after it.
#[must_use]
pub fn run_key(ready_at: UnixMs, priority: Priority, step: Duration) -> i64 {
    let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    ready_at.0.saturating_sub(priority.rank().saturating_mul(step_ms))
}

/// The greatest run key of a task that is as urgent as a high one that becomes ready now.
#[must_use]
pub fn urgent_key(now: UnixMs, step: Duration) -> i64 {
    run_key(now, Priority::High, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_task_is_passed_only_within_the_printed_bound() {
        let step = Duration::from_secs(60);
        let low = run_key(UnixMs(0), Priority::Low, step);
        assert!(run_key(UnixMs(179_999), Priority::Critical, step) < low);
        assert!(run_key(UnixMs(180_001), Priority::Critical, step) > low);
    }
}
