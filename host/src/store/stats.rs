//! The host's own figures: what attempts came to, by quarter of an hour. Kept by delta in the transaction that records the attempt, so
//! that reading them never means going through tasks.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::task::LaneKey;

/// How long one row covers.
pub const STATS_BUCKET: Duration = Duration::from_secs(15 * 60);

/// What the attempts of one lane by one version of a plugin came to in some time. Attempts that somebody cancelled or that were lost
/// with their host say nothing about the plugin and are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStats {
    /// When the time begins.
    pub from: UnixMs,
    /// Type and model.
    pub lane: LaneKey,
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that did not.
    pub failed: u64,
    /// How long all of them waited after they were ready, together.
    pub queue_ms: u64,
    /// How long they ran.
    pub run_ms: u64,
    /// What they used.
    pub fuel: u64,
}

/// Figures of some time.
#[derive(Debug, Clone, Default)]
pub struct StatsPage {
    /// In the order of time.
    pub rows: Vec<TaskStats>,
    /// Whether there are more rows than were asked for.
    pub cut_off: bool,
}

/// The host's own figures.
#[async_trait]
pub trait StatsStore: Send + Sync + 'static {
    /// The figures of attempts that ended from `from` to before `to`, summed over spans of `span` (a multiple of [`STATS_BUCKET`]),
    /// which begin at multiples of it. The latest `limit_rows`.
    async fn task_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<StatsPage>;
    /// Deletes at most `limit_rows` rows from before `before`. Returns how many.
    async fn prune_task_stats(&self, before: UnixMs, limit_rows: u32) -> Result<u64>;
}
