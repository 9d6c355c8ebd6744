//! How good episodes are: for changes whose truth is known, whether an episode was found, and whether its kind, direction, onset and end are
//! right.
//!
//! `episodes` draws series with known changes from a fixed seed; `episodes FOLDER` takes labelled series: `labels.json` with `ranges` of rows
//! for each `NAME.csv`. `--batch` scores with the whole series in view.

mod labelled;
mod synthetic;
mod table;

use taskwarden_anomaly_score::{Mode, Options, Shape, Way};

/// What is known of one change.
pub(crate) struct Truth {
    /// The kinds that are right for it; the first one names it.
    pub(crate) shapes: Vec<Shape>,
    /// Which way it went, where that can be said.
    pub(crate) way: Option<Way>,
    /// Its first row.
    pub(crate) start: usize,
    /// Its last row, where it has an end.
    pub(crate) end: Option<usize>,
    /// What belongs to it to the last: an episode that reaches into this is its own.
    pub(crate) until: usize,
}

/// A series and what is known of it.
pub(crate) struct Case {
    /// Its points.
    pub(crate) points: Vec<taskwarden_anomaly_score::Point>,
    /// Its changes.
    pub(crate) truths: Vec<Truth>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, folders): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mode = if flags.iter().any(|flag| flag == "--batch") { Mode::Batch } else { Mode::Streaming };
    let cases = match folders.first() {
        Some(folder) => labelled::cases(std::path::Path::new(folder))?,
        None => synthetic::cases(),
    };
    let options = Options { mode, ..Options::default() };
    let mut table = table::Table::default();
    for case in &cases {
        table.add(case, &options);
    }
    println!("{table}");
    Ok(())
}
