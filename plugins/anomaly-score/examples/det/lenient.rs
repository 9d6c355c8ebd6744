//! Files as they are found: whatever cannot be read is a gap, and every row gets a score. The library itself is strict, because whoever submits a
//! series wants to hear what is wrong with it; a benchmark wants a number for each row.

use taskwarden_anomaly_score::read_csv;

/// Larger values are taken for this.
const VALUE_MAX: f64 = 1e100;
/// Files of fewer rows whose times nobody can read are taken for days, longer ones for steps of five minutes.
const DAYS_MAX: usize = 1_500;
/// What a first column of times is called.
const TIME_NAMES: [&str; 16] = [
    "timestamp",
    "time",
    "date",
    "day",
    "datetime",
    "date_time",
    "t",
    "ts",
    "ds",
    "epoch",
    "unix",
    "index",
    "period",
    "hour",
    "month",
    "week",
];
/// What a third column with denominators is called. Any other third column is passed over.
const TOTAL_NAMES: [&str; 5] = ["total", "totals", "denominator", "n", "attempts"];

/// How people write that there is no number.
const GAPS: [&str; 9] = ["nan", "na", "n/a", "#n/a", "null", "none", "inf", "-inf", "?"];

/// The lines of a file that are not empty.
pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.trim_start_matches('\u{feff}').split(['\n', '\r']);
    lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn cells(line: &str) -> Vec<&str> {
    let commas = line.contains(',');
    let separator = if !commas && line.contains(';') {
        ';'
    } else if !commas && line.contains('\t') {
        '\t'
    } else {
        ','
    };
    line.split(separator).map(|cell| cell.trim().trim_matches('"').trim()).collect()
}

fn number(cell: &str) -> Option<f64> {
    cell.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.clamp(-VALUE_MAX, VALUE_MAX))
}

fn is_time(cell: &str) -> bool {
    !cell.is_empty() && read_csv(format!("{cell},0\n").as_bytes()).is_ok_and(|series| series.points.len() == 1)
}

/// Whether a file is a series, by its first lines: one column of times and one of values.
pub(crate) fn is_series(lines: &[String]) -> bool {
    let Some(first) = lines.first() else { return true };
    let header = cells(first);
    let name = header.first().copied().unwrap_or_default().to_ascii_lowercase();
    let few = header.len() <= 3;
    TIME_NAMES.contains(&name.as_str())
        || name.starts_with(|c: char| c.is_ascii_digit())
        // A name that says nothing, above what can only be a time.
        || few && lines.get(1).and_then(|line| cells(line).first().map(|cell| number(cell).is_none() && is_time(cell))).unwrap_or(false)
}

/// A series as the library reads it: a line for each row of the file.
pub(crate) fn series(lines: &[String]) -> String {
    let header = lines.first().map(|line| cells(line)).unwrap_or_default();
    // A header names both columns.
    let has_header = header.first().is_some_and(|cell| number(cell).is_none() && !is_time(cell))
        && header.get(1).is_none_or(|cell| number(cell).is_none());
    let with_total = has_header && header.get(2).is_some_and(|name| TOTAL_NAMES.contains(&name.to_ascii_lowercase().as_str()));
    let rows = lines.get(usize::from(has_header)..).unwrap_or_default();
    let nameless = !rows.is_empty() && !rows.iter().any(|line| cells(line).first().is_some_and(|cell| is_time(cell)));
    let step_s = if rows.len() < DAYS_MAX { 86_400 } else { 300 };
    let mut text = String::new();
    for (at, line) in rows.iter().enumerate() {
        let cells = cells(line);
        let time = cells.first().copied().unwrap_or_default();
        // A single column is one of values.
        let value = if cells.len() == 1 { cells.first() } else { cells.get(1) };
        let value = value.and_then(|cell| number(cell));
        let total = cells.get(2).filter(|_| with_total).and_then(|cell| number(cell));
        let time = match (nameless || cells.len() == 1, is_time(time)) {
            (true, _) => (1_577_836_800 + at * step_s).to_string(),
            (false, true) => time.to_owned(),
            // A row at no time is a gap, wherever it stands.
            (false, false) => {
                text.push_str("0,\n");
                continue;
            }
        };
        let shown = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        text += &if with_total { format!("{time},{},{}\n", shown(value), shown(total)) } else { format!("{time},{}\n", shown(value)) };
    }
    text
}

/// A table as the library reads it: a line for each row of the file.
pub(crate) fn table(lines: &[String]) -> String {
    let header = lines.first().map(|line| cells(line)).unwrap_or_default();
    // A first line with a number is a row, and one with a gap too; the name of a column may be left out, as that of row numbers often is.
    let gap = |cell: &&str| GAPS.iter().any(|gap| cell.eq_ignore_ascii_case(gap));
    let has_header = header.iter().any(|cell| !cell.is_empty()) && header.iter().all(|cell| number(cell).is_none() && !gap(cell));
    let names: Vec<String> = (0..header.len()).map(|at| format!("c{at}")).collect();
    let mut text = format!("{}\n", names.join(","));
    for line in lines.get(usize::from(has_header)..).unwrap_or_default() {
        let cells = cells(line);
        let shown = (0..names.len())
            .map(|at| cells.get(at).and_then(|cell| number(cell)).map_or_else(|| "nan".to_owned(), |cell| cell.to_string()));
        text += &shown.collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    text
}
