//! Reading a series: CSV of `timestamp,value`, or pairs in the payload.

use std::io::BufRead;

use crate::time::{is_date, parse_ms, unix_ms_f64};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// Finite.
    pub value: f64,
    /// Of a ratio: how many it is the share of, if that is known.
    pub total: Option<f64>,
}

impl Point {
    /// A measurement without a denominator.
    #[must_use]
    pub fn new(time_ms: i64, value: f64) -> Self {
        Self { time_ms, value, total: None }
    }
}

/// A series in the order of time, and where each row of what was read has gone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// In the order of time; several for one moment stay in the order they came in.
    pub points: Vec<Point>,
    /// For each row, as it was read: its place among the points, or nothing for a row without a value.
    pub rows: Vec<Option<usize>>,
    /// Whether every time is a date: days of somebody's calendar already, which no time zone moves.
    pub dates: bool,
}

impl Series {
    fn new(read: Vec<Option<Point>>, dates: bool) -> Self {
        let mut order: Vec<(usize, Point)> = read.iter().enumerate().filter_map(|(row, point)| Some((row, (*point)?))).collect();
        order.sort_by_key(|(_, point)| point.time_ms);
        let mut rows = vec![None; read.len()];
        for (place, (row, _)) in order.iter().enumerate() {
            if let Some(slot) = rows.get_mut(*row) {
                *slot = Some(place);
            }
        }
        Self { points: order.into_iter().map(|(_, point)| point).collect(), rows, dates }
    }
}

/// A series beyond this is refused up front rather than stopped half way.
pub const POINTS_MAX: usize = 1_000_000;
/// Values beyond this overflow when they are squared.
const VALUE_MAX: f64 = 1e100;

/// Why a series cannot be read, with the line it happened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesError(pub String);

impl std::fmt::Display for SeriesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SeriesError {}

/// Reads CSV of `time,value` or `time,value,total`, the total being the denominator of a ratio. A first line that is no measurement is
/// a header. Lines without a value (empty, `NaN`, `null`) are gaps and are passed over; anything else that is no measurement is an error.
///
/// # Errors
/// Which line is wrong and why.
pub fn read_csv(from: impl BufRead) -> Result<Series, SeriesError> {
    let (mut read, mut dates) = (Vec::new(), true);
    for (at, line) in from.lines().enumerate() {
        let number = at + 1;
        let line = line.map_err(|e| SeriesError(format!("line {number}: {e}")))?;
        let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            continue;
        }
        match parse_line(line, &mut dates) {
            Ok(row) => read.push(row),
            // A header names its columns: its second cell does not look like a measurement at all.
            Err(_) if number == 1 && is_header(line) => {}
            Err(reason) => return Err(SeriesError(format!("line {number}: {reason}"))),
        }
        if read.len() > POINTS_MAX {
            return Err(SeriesError(format!(
                "line {number}: more than {POINTS_MAX} points; split the series or sum it up to longer steps"
            )));
        }
    }
    Ok(Series::new(read, dates))
}

/// One measurement as JSON: time, value, and the denominator of a ratio where there is one.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
pub enum Pair {
    /// Time and value.
    Plain(serde_json::Value, Option<f64>),
    /// Time, value and total.
    WithTotal(serde_json::Value, Option<f64>, Option<f64>),
}

/// Reads `[[time, value], …]` or `[[time, value, total], …]`; times are RFC 3339, dates, or Unix seconds (milliseconds, …); a value may be null.
///
/// # Errors
/// Which pair is wrong and why.
pub fn read_pairs(pairs: &[Pair]) -> Result<Series, SeriesError> {
    if pairs.len() > POINTS_MAX {
        return Err(SeriesError(format!("series: {} points, and at most {POINTS_MAX} are taken", pairs.len())));
    }
    let (mut read, mut dates) = (Vec::with_capacity(pairs.len()), true);
    for (at, pair) in pairs.iter().enumerate() {
        let (time, value, total) = match pair {
            Pair::Plain(time, value) => (time, *value, None),
            Pair::WithTotal(time, value, total) => (time, *value, *total),
        };
        let time_ms = match time {
            serde_json::Value::String(text) => parse_ms(text),
            serde_json::Value::Number(number) => number.as_f64().and_then(unix_ms_f64),
            _ => None,
        };
        let Some(time_ms) = time_ms else { return Err(SeriesError(format!("series[{at}]: {} is not a time", short(&time.to_string())))) };
        for number in [value, total].into_iter().flatten() {
            check(number).map_err(|reason| SeriesError(format!("series[{at}]: {reason}")))?;
        }
        dates &= time.as_str().is_some_and(is_date);
        read.push(value.map(|value| Point { time_ms, value, total }));
    }
    Ok(Series::new(read, dates))
}

/// The measurement of a line, if it has a value. Where its time is no date, not all of them are `dates`.
fn parse_line(line: &str, dates: &mut bool) -> Result<Option<Point>, String> {
    let separator = if line.contains(';') && !line.contains(',') { ';' } else { ',' };
    let mut cells = line.split(separator).map(|cell| cell.trim().trim_matches('"').trim());
    let (Some(time), Some(value), total, None) = (cells.next(), cells.next(), cells.next(), cells.next()) else {
        return Err(format!("{} cells where timestamp,value was expected", line.split(separator).count()));
    };
    let time_ms =
        parse_ms(time).ok_or_else(|| format!("{} is not a time (RFC 3339, a date, Unix seconds or milliseconds)", short(time)))?;
    let total = total.map_or(Ok(None), number)?;
    *dates = *dates && is_date(time);
    Ok(number(value)?.map(|value| Point { time_ms, value, total }))
}

fn number(cell: &str) -> Result<Option<f64>, String> {
    if cell.is_empty() || ["nan", "null", "na"].iter().any(|gap| cell.eq_ignore_ascii_case(gap)) {
        return Ok(None);
    }
    let value: f64 = cell.parse().map_err(|_| format!("{} is not a number", short(cell)))?;
    check(value)?;
    Ok(Some(value))
}

fn check(value: f64) -> Result<(), String> {
    if value.abs() <= VALUE_MAX { Ok(()) } else { Err(format!("{value} is not a finite number of at most {VALUE_MAX:e}")) }
}

fn is_header(line: &str) -> bool {
    let mut cells = line.split([',', ';']);
    let names = |cell: &str| cell.trim().trim_matches('"').starts_with(|c: char| c.is_alphabetic() || c == '_');
    (2..=3).contains(&cells.clone().count()) && cells.all(names)
}

fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Vec<(i64, f64)>, String> {
        read_csv(text.as_bytes()).map(|series| series.points.iter().map(|p| (p.time_ms, p.value)).collect()).map_err(|e| e.0)
    }

    #[test]
    fn headers_gaps_order_and_repeats() {
        let text = "\u{feff}timestamp,value\r\n2,5\n1,4\n\n3,NaN\n4,\n2,6\n";
        assert_eq!(csv(text), Ok(vec![(1000, 4.0), (2000, 5.0), (2000, 6.0)]));
        assert_eq!(csv("1,4\n"), Ok(vec![(1000, 4.0)]));
        assert_eq!(csv("date;value\n2026-01-01;\"1e3\"\n"), Ok(vec![(1_767_225_600_000, 1000.0)]));
        assert_eq!(csv(""), Ok(vec![]));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, words) in [
            ("t,v\n1,2\n2,x\n", ["line 3", "\"x\" is not a number"]),
            ("1,2\nsoon,3\n", ["line 2", "\"soon\" is not a time"]),
            ("1,2,3,4\n", ["line 1", "4 cells"]),
            ("1\n", ["line 1", "1 cells"]),
            ("1,inf\n", ["line 1", "finite"]),
            ("1,1e300\n", ["line 1", "finite"]),
        ] {
            let error = csv(text).expect_err(text);
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert!(read_csv(&b"1,2\n2,\xff\n"[..]).is_err_and(|e| e.0.starts_with("line 2")));
    }

    #[test]
    fn pairs_from_the_payload() {
        let read = |json: &str| read_pairs(&serde_json::from_str::<Vec<_>>(json).expect("pairs")).map_err(|e| e.0);
        assert_eq!(read(r#"[["2026-01-01", 1], [1767312000, null], [1767312000000, 2.5]]"#).map(|p| p.points.len()), Ok(2));
        assert!(read(r#"[[1, 1], ["x", 1]]"#).is_err_and(|e| e.starts_with("series[1]")));
        assert!(read(r#"[[true, 1]]"#).is_err());
    }
}
