//! What is said of the findings: sums, two CSV files and a report.

mod cells;
mod csv;
mod fx;
mod lines;
mod order;
mod summary;

pub use csv::Lifecycle;
pub(crate) use csv::{measure_breaks, write_breaks, write_matches, write_quarantine};
pub use fx::FxLine;
pub use lines::LineKey;
pub(crate) use summary::{Facts, Said, summarise};
pub use summary::{Report, Summary, Verdict};
