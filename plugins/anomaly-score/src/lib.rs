//! Scores time series: an expected band, a calibrated score and a severity for each point, and episodes that explain themselves.
//!
//! The algorithm is a plain library ([`score`], [`episodes`]) that knows nothing of the sandbox; `guest` is the thin plugin around it.

mod episode;
mod guest;
mod model;
#[cfg(test)]
mod properties;
mod scorer;
mod season;
mod series;
mod stats;
mod tail;
mod time;

pub use episode::{Episode, Way, episodes};
pub use guest::AnomalyScore;
pub use model::Direction;
pub use scorer::{ALERT_SCORE, Learnt, Mode, Options, Scored, Scorer, score};
pub use series::{POINTS_MAX, Point, SeriesError, read_csv, read_pairs};
