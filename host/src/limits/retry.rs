//! One retry with larger limits, for tasks that ended at one: with the same limits the same would happen again.

use std::fmt;

use serde::Serialize;

use super::{Limit, LimitSet, Limits};

/// How large the limits of that retry are: percent of what they are otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RetryPercent(u16);

impl RetryPercent {
    /// The smallest that is larger than what holds otherwise.
    pub const MIN: u16 = 101;
    /// The largest; the ceilings hold all the same.
    pub const MAX: u16 = 10_000;

    /// A percentage from [`RetryPercent::MIN`] to [`RetryPercent::MAX`]; nothing for any other number.
    #[must_use]
    pub fn new(percent: u64) -> Option<Self> {
        u16::try_from(percent).ok().filter(|percent| (Self::MIN..=Self::MAX).contains(percent)).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// A limit at this percentage. What bounds a plugin's file is not a limit on a run, and stays.
    #[must_use]
    pub fn of(self, limit: Limit, value: u64) -> u64 {
        if limit == Limit::ArtifactBytes {
            return value;
        }
        u64::try_from(u128::from(value) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for RetryPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an operator set for one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitSetting {
    /// Limits of every run.
    pub limits: LimitSet,
    /// Of a task type: that a task which ended at a limit is tried once more with larger ones.
    pub retry_percent: Option<RetryPercent>,
}

impl LimitSetting {
    /// Whether the scope says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.retry_percent.is_none()
    }
}

impl From<LimitSet> for LimitSetting {
    fn from(limits: LimitSet) -> Self {
        Self { limits, retry_percent: None }
    }
}

impl Limits {
    /// Whether any of `those` limits is larger here than in `other`.
    #[must_use]
    pub fn exceed(&self, other: &Limits, those: &[Limit]) -> bool {
        those.iter().any(|limit| self.get(*limit) > other.get(*limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_enlarges_and_nothing_else() {
        assert_eq!(
            [0, 100, 101, 10_000, 10_001].map(|percent| RetryPercent::new(percent).map(RetryPercent::get)),
            [None, None, Some(101), Some(10_000), None]
        );
        let double = RetryPercent::new(200).unwrap();
        assert_eq!(double.of(Limit::Fuel, 7), 14);
        assert_eq!(double.of(Limit::Fuel, u64::MAX), u64::MAX);
        assert_eq!(double.of(Limit::ArtifactBytes, 7), 7);
    }
}
