//! Limits on one task: their names, defaults and ceilings, and how the scopes that speak are composed into the effective values.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::retry::{LimitSetting, RetryPercent};

mod retry;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal default $default:expr, ceiling $ceiling:expr;)+) => {
        /// One limit, by its name in the API. The unit is in the name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit { $($(#[doc = $doc])+ $variant,)+ }

        impl Limit {
            /// Every limit there is.
            pub const ALL: &'static [Limit] = &[$(Limit::$variant,)+];

            /// The name in the API, in configuration and in receipts.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Limit::$variant => $name,)+ }
            }

            /// What holds when no scope says anything.
            #[must_use]
            pub fn default_value(self) -> u64 {
                match self { $(Limit::$variant => $default,)+ }
            }

            /// What no scope can exceed unless the operator moves the ceiling.
            #[must_use]
            pub fn default_ceiling(self) -> u64 {
                match self { $(Limit::$variant => $ceiling,)+ }
            }

            /// What it bounds, in one sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Limit::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

limits! {
    /// Wasmtime fuel, about one unit per executed instruction; host calls are charged too.
    Fuel "fuel" default 10_000_000_000, ceiling 1_000_000_000_000;
    /// Bytes of all linear memories and tables of the instance together.
    MemoryBytes "memory_bytes" default 256 * MIB, ceiling 1024 * MIB;
    /// Wall time from the start of instantiation to the end of the call, in milliseconds.
    WallMs "wall_ms" default 60_000, ceiling 3_600_000;
    /// Elements of all tables of the instance together.
    TableElements "table_elements" default 100_000, ceiling 1_000_000;
    /// Bytes of the payload and of everything read from inputs.
    InputBytes "input_bytes" default 256 * MIB, ceiling 4096 * MIB;
    /// Bytes of the result and of all outputs together.
    OutputBytes "output_bytes" default 16 * MIB, ceiling 256 * MIB;
    /// Bytes of a plugin's `.wasm`.
    ArtifactBytes "artifact_bytes" default 64 * MIB, ceiling 256 * MIB;
    /// Bytes of log messages, their fields, and what the guest prints.
    LogBytes "log_bytes" default MIB, ceiling 16 * MIB;
    /// Calls from the guest into the host.
    HostCalls "host_calls" default 1_000_000, ceiling 100_000_000;
    /// Bytes kept in the journal of one task, over all its attempts.
    JournalBytes "journal_bytes" default 256 * KIB, ceiling 16 * MIB;
    /// Requests that one run sends over HTTP.
    HttpRequests "http_requests" default 100, ceiling 100_000;
    /// Bytes of all HTTP requests and answers of one run together, heads included.
    HttpBytes "http_bytes" default 16 * MIB, ceiling 4096 * MIB;
    /// Tasks that one run submits.
    ChildTasks "child_tasks" default 100, ceiling 10_000;
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Limit::ALL.iter().copied().find(|limit| limit.name() == text).ok_or_else(|| {
            let names: Vec<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
            format!("there is no limit {text:?}; the limits are {}", names.join(", "))
        })
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What one scope says: a value for some limits, silence on the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitSet(pub BTreeMap<Limit, u64>);

impl LimitSet {
    /// Whether this scope says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What this scope says of one limit.
    #[must_use]
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).copied()
    }

    /// The same set with one value replaced.
    #[must_use]
    pub fn with(mut self, limit: Limit, value: u64) -> Self {
        self.0.insert(limit, value);
        self
    }
}

/// The effective limits of one run: a value for every limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

impl Limits {
    /// The shipped defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self::from_fn(Limit::default_value)
    }

    /// The shipped ceilings.
    #[must_use]
    pub fn ceilings() -> Self {
        Self::from_fn(Limit::default_ceiling)
    }

    /// One value per limit, made by `value`.
    #[must_use]
    pub fn from_fn(value: impl Fn(Limit) -> u64) -> Self {
        let mut values = [0; Limit::ALL.len()];
        for (slot, limit) in values.iter_mut().zip(Limit::ALL) {
            *slot = value(*limit);
        }
        Self(values)
    }

    /// One effective value.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or(0)
    }

    /// The same limits with what `set` says put in place of what was there.
    #[must_use]
    pub fn overridden_by(&self, set: &LimitSet) -> Self {
        Self::from_fn(|limit| set.get(limit).unwrap_or_else(|| self.get(limit)))
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Limit::ALL.iter().map(|limit| (limit.name(), self.get(*limit))))
    }
}

impl<'de> Deserialize<'de> for Limits {
    /// A limit that an older host did not write reads as its default.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set = LimitSet::deserialize(deserializer)?;
        Ok(Self::defaults().overridden_by(&set))
    }
}

/// The effective limits of a task: for each limit the smallest value among the operator's and the plugin's scopes that speak,
/// or the default when none does; a submission can only lower that; the ceiling holds above all.
#[must_use]
pub fn compose<'a>(
    defaults: &Limits,
    ceilings: &Limits,
    scopes: impl IntoIterator<Item = &'a LimitSet> + Clone,
    submission: &LimitSet,
) -> Limits {
    compose_at(None, defaults, ceilings, scopes, submission)
}

/// The same for a retry at `percent` of what the operator and the plugin say. What the submission asked not to exceed and the ceilings hold
/// as they are.
#[must_use]
pub fn compose_at<'a>(
    percent: Option<RetryPercent>,
    defaults: &Limits,
    ceilings: &Limits,
    scopes: impl IntoIterator<Item = &'a LimitSet> + Clone,
    submission: &LimitSet,
) -> Limits {
    Limits::from_fn(|limit| {
        let spoken = scopes.clone().into_iter().filter_map(|scope| scope.get(limit)).min();
        let base = spoken.unwrap_or_else(|| defaults.get(limit));
        let base = percent.map_or(base, |percent| percent.of(limit, base));
        base.min(submission.get(limit).unwrap_or(u64::MAX)).min(ceilings.get(limit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fuel(value: u64) -> LimitSet {
        LimitSet::default().with(Limit::Fuel, value)
    }

    fn composed(scopes: &[LimitSet], submission: &LimitSet) -> u64 {
        compose(&Limits::defaults(), &Limits::ceilings(), scopes, submission).get(Limit::Fuel)
    }

    #[test]
    fn the_smallest_scope_wins_and_silence_means_the_default() {
        assert_eq!(composed(&[], &LimitSet::default()), Limit::Fuel.default_value());
        assert_eq!(composed(&[fuel(70), fuel(50), LimitSet::default()], &LimitSet::default()), 50);
    }

    #[test]
    fn a_scope_may_raise_the_default_up_to_the_ceiling_and_a_submission_may_not() {
        let high = Limit::Fuel.default_value() * 2;
        assert_eq!(composed(&[fuel(high)], &LimitSet::default()), high);
        assert_eq!(composed(&[fuel(u64::MAX)], &LimitSet::default()), Limit::Fuel.default_ceiling());
        assert_eq!(composed(&[], &fuel(high)), Limit::Fuel.default_value());
        assert_eq!(composed(&[fuel(70)], &fuel(60)), 60);
    }

    #[test]
    fn a_retry_at_a_percentage_exceeds_neither_the_ceiling_nor_the_submission() {
        let double = RetryPercent::new(200);
        let at = |scope: u64, submission: &LimitSet| {
            compose_at(double, &Limits::defaults(), &Limits::ceilings(), &[fuel(scope)], submission).get(Limit::Fuel)
        };
        assert_eq!(at(70, &LimitSet::default()), 140);
        assert_eq!(at(70, &fuel(90)), 90);
        assert_eq!(at(Limit::Fuel.default_ceiling() - 1, &LimitSet::default()), Limit::Fuel.default_ceiling());
    }

    #[test]
    fn names_are_parsed_back_and_unknown_ones_are_refused_with_the_list() {
        for limit in Limit::ALL {
            assert_eq!(limit.name().parse::<Limit>().as_ref(), Ok(limit));
            assert!(limit.default_value() <= limit.default_ceiling());
        }
        assert!("feul".parse::<Limit>().is_err_and(|e| e.contains("memory_bytes")));
    }
}
