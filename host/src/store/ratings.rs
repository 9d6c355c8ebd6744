//! What people thought of tasks' results: one rating for each task, and the sums of them by time.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::task::{LaneKey, Rating, TaskId, TaskState};

/// A rating that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rated {
    /// What it is.
    pub rating: Rating,
    /// When it was given, or changed last.
    pub at: UnixMs,
}

/// What became of rating a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateAnswer {
    /// It is kept. The same rating given again keeps its time; another one replaces it.
    Kept(Rated),
    /// There is no result to rate yet.
    NotEnded(TaskState),
    /// There is no such task.
    NotFound,
}

/// What the ratings of one lane, by version of its plugin, came to in some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingStats {
    /// When the time begins.
    pub from: UnixMs,
    /// Type and model.
    pub lane: LaneKey,
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// How many ratings there were.
    pub ratings: u64,
    /// How many of them were [`Rating::SATISFIED_FROM`] or better.
    pub satisfied: u64,
}

/// Ratings.
#[async_trait]
pub trait RatingStore: Send + Sync + 'static {
    /// Rates a task that has ended.
    async fn rate(&self, id: TaskId, rating: Rating, now: UnixMs) -> Result<RateAnswer>;
    /// A task's rating.
    async fn rating(&self, id: TaskId) -> Result<Option<Rated>>;
    /// The ratings given from `from` to before `to`, summed over spans of `span` that begin at multiples of it, in the order of time:
    /// the latest `limit_rows`, and whether there are more.
    async fn rating_stats(&self, from: UnixMs, to: UnixMs, span: Duration, limit_rows: u32) -> Result<(Vec<RatingStats>, bool)>;
    /// Deletes at most `limit_rows` ratings from before `before`. Returns how many.
    async fn prune_ratings(&self, before: UnixMs, limit_rows: u32) -> Result<u64>;
}
