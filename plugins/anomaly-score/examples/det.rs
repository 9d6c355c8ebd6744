//! Prints one score for each row of a CSV file, natively: what the sandbox computes, without the sandbox, for scoring benchmarks.
//!
//! `det [--mode alert|score|batch|rows] FILE`. Without a mode the columns decide: rows for a table, the score for a series with a point
//! a day or fewer, and for denser ones alerts above everything else.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

use taskwarden_anomaly_score::{Mode, Options, Scored, Series, Table, read_csv, score, score_rows};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    /// The severity of a point at which an incident begins, else nothing.
    Alert,
    /// How unusual, streaming.
    Score,
    /// How unusual, with the whole series in view.
    Batch,
    /// How far rows stand apart.
    Rows,
    /// Alerts first, then how unusual.
    Both,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mode, file) = arguments(std::env::args().skip(1)).ok_or("usage: det [--mode alert|score|batch|rows] FILE")?;
    let header = BufReader::new(File::open(&file)?).lines().next().transpose()?.unwrap_or_default();
    let open = || File::open(&file).map(BufReader::new);
    let mode = match mode.unwrap_or_default().as_str() {
        "alert" => Print::Alert,
        "score" => Print::Score,
        "batch" => Print::Batch,
        "rows" => Print::Rows,
        "" if is_series(&header) => Print::Both,
        "" => Print::Rows,
        other => return Err(format!("there is no mode {other}: alert, score, batch or rows").into()),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    if mode == Print::Rows {
        for row in score_rows(&Table::read_csv(open()?)?) {
            writeln!(out, "{}", row.score)?;
        }
        return Ok(out.flush()?);
    }
    let series = read_csv(open()?)?;
    for score in series_scores(&series, mode) {
        writeln!(out, "{score}")?;
    }
    Ok(out.flush()?)
}

fn series_scores(series: &Series, mode: Print) -> Vec<f64> {
    let mut options = Options::default();
    if mode == Print::Batch {
        options.mode = Mode::Batch;
    }
    let (scored, learnt) = score(&series.points, &options);
    // A series with a point a day or fewer: each point is news, and alerts are few enough as they are.
    let daily = learnt.step_ms.is_none_or(|step| step >= 6 * 3_600_000);
    let of = |point: &Scored| match mode {
        Print::Alert if point.opens => point.severity,
        Print::Alert => 0.0,
        Print::Both if point.opens && !daily => 50.0 + point.severity,
        // Half way to the alert boundary and below, in the same order.
        Print::Both if !daily => 50.0 * point.lately / (1.0 + point.lately),
        _ => point.lately,
    };
    series.rows.iter().map(|place| place.and_then(|place| scored.get(place)).map_or(0.0, of)).collect()
}

fn is_series(header: &str) -> bool {
    let first = header.split([',', ';']).next().unwrap_or_default().trim().trim_matches(['"', '\u{feff}']).to_ascii_lowercase();
    ["timestamp", "time", "date", "day", "datetime", "t", "ts"].contains(&first.as_str()) || first.starts_with(|c: char| c.is_ascii_digit())
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<(Option<String>, String)> {
    let (mut mode, mut file) = (None, None);
    while let Some(argument) = given.next() {
        match argument.strip_prefix("--mode") {
            Some("") => mode = Some(given.next()?),
            Some(rest) => mode = Some(rest.strip_prefix('=')?.to_owned()),
            None if file.is_none() && !argument.starts_with("--") => file = Some(argument),
            None => return None,
        }
    }
    Some((mode, file?))
}
