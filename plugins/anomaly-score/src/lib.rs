//! Scores time series and rows: an expected band, a calibrated score and a severity for each point, and episodes that explain themselves.
//!
//! The algorithms are a plain library that knows nothing of the sandbox; `guest` is the thin plugin around it.

mod batch;
mod calendar;
mod changes;
#[cfg(test)]
mod complaints;
mod cost;
mod cycle;
#[cfg(test)]
mod dice;
mod episode;
mod explain;
mod fit;
mod form;
mod grid;
mod guest;
mod intraday;
mod kind;
mod math;
mod matrix;
mod model;
mod options;
#[cfg(test)]
mod properties;
mod rows;
mod scorer;
mod season;
mod series;
mod state;
mod stats;
mod time;
mod windows;
mod zone;

pub use changes::{ChangePoint, change_points};
pub use cost::{ROWS_FUEL_MAX, SERIES_FUEL_MAX, series_cost_fuel};
pub use episode::{Episode, Shape, Way, episodes};
pub use guest::AnomalyScore;
pub use kind::Kind;
pub use model::Direction;
pub use options::{ALERT_SCORE, Mode, Note, Options, Span};
pub use rows::{CELLS_MAX, COLUMNS_MAX, Reason, RowScore, Table, rows_cost_fuel, score_rows};
pub use scorer::{Learnt, Scored, Scorer, score};
pub use series::{POINTS_MAX, Pair, Point, Series, SeriesError, read_csv, read_pairs};
pub use state::StateError;
pub use zone::Zone;
