//! Prints one score for each row of a CSV file, natively: what the sandbox computes, without the sandbox, for scoring benchmarks.
//!
//! `det [--mode alert|score|batch|rows] FILE`. Without a mode the columns decide: rows for a table, the score for a series with a point
//! a day or fewer, and for denser ones alerts above everything else. Rows that cannot be read score nothing; none is left out.

mod lenient;

use std::io::{BufWriter, Write};

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
    let mut out = BufWriter::new(std::io::stdout().lock());
    for score in scores(&std::fs::read(&file)?, &mode.unwrap_or_default())? {
        writeln!(out, "{score}")?;
    }
    Ok(out.flush()?)
}

/// One score for each row of a file; by its columns if no mode is named.
fn scores(bytes: &[u8], mode: &str) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let lines = lenient::lines(bytes);
    let mode = match mode {
        "alert" => Print::Alert,
        "score" => Print::Score,
        "batch" => Print::Batch,
        "rows" => Print::Rows,
        "" if lenient::is_series(&lines) => Print::Both,
        "" => Print::Rows,
        other => return Err(format!("there is no mode {other}: alert, score, batch or rows").into()),
    };
    if mode == Print::Rows {
        let rows = score_rows(&Table::read_csv(lenient::table(&lines).as_bytes())?);
        return Ok(rows.iter().map(|row| row.score).collect());
    }
    Ok(series_scores(&read_csv(lenient::series(&lines).as_bytes())?, mode))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the rows of a file say when they are.
    #[derive(Debug, Clone, Copy)]
    enum Clock {
        Seconds,
        Milliseconds,
        Microseconds,
        Iso,
        Offset,
        Date,
    }

    fn moment(clock: Clock, seconds: i64) -> String {
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days since 1970 as dates: whole months of 28 days do for a file of odd things.
        let date = format!("{}-{:02}-{:02}", 1970 + day / 336, day % 336 / 28 + 1, day % 28 + 1);
        let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        match clock {
            Clock::Seconds => seconds.to_string(),
            Clock::Milliseconds => (seconds * 1000).to_string(),
            Clock::Microseconds => (seconds * 1_000_000).to_string(),
            Clock::Iso => format!("{date} {time}"),
            Clock::Offset => format!("{date}T{time}+02:00"),
            Clock::Date => date,
        }
    }

    /// A file of odd rows in the order of their times: steps that are even, that are not, and that are none.
    fn odd_files() -> impl Strategy<Value = Vec<String>> {
        let clock = prop_oneof![
            Just(Clock::Seconds),
            Just(Clock::Milliseconds),
            Just(Clock::Microseconds),
            Just(Clock::Iso),
            Just(Clock::Offset),
            Just(Clock::Date)
        ];
        let value = prop_oneof![
            8 => (0..1000i32).prop_map(|value| value.to_string()),
            3 => (-1e6..1e6f64).prop_map(|value| value.to_string()),
            1 => prop_oneof![Just("1e300"), Just("-1e308"), Just("1e-308"), Just("0"), Just("-0.0")].prop_map(str::to_owned),
            1 => prop_oneof![Just(""), Just("NaN"), Just("inf"), Just("-Infinity"), Just("null"), Just("?"), Just("1,2")].prop_map(str::to_owned),
        ];
        let step = prop_oneof![Just(300i64), Just(3600), Just(23 * 3600), Just(86_400), Just(7 * 86_400), Just(30 * 86_400)];
        let jitter = prop_oneof![6 => Just(1i64), 1 => Just(0), 1 => 2..400i64];
        (clock, step, prop::collection::vec((value, jitter), 0..120)).prop_map(|(clock, step, rows)| {
            let mut seconds = 1_600_000_000;
            let row = |(value, jumps): (String, i64)| {
                seconds += step * jumps;
                format!("{},{value}", moment(clock, seconds))
            };
            rows.into_iter().map(row).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn odd_files_get_a_score_a_row_and_what_follows_changes_none(
            rows in odd_files(),
            head in prop_oneof![Just("timestamp,value\n"), Just("\u{feff}Date,VALUE\r\n"), Just("ds,y\n\n")],
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")],
            cut in 0.0..1.0f64,
        ) {
            let file = |rows: &[String]| format!("{head}{}{end}", rows.join(end));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
            let some = (rows.len() as f64 * cut) as usize;
            for mode in ["", "alert", "score", "batch"] {
                let all = scores(file(&rows).as_bytes(), mode).map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(all.len(), rows.len(), "mode {}", mode);
                prop_assert!(all.iter().all(|score| score.is_finite()), "mode {}", mode);
                if mode != "batch" {
                    let first = scores(file(&rows[..some]).as_bytes(), mode).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    prop_assert_eq!(&all[..some], first.as_slice(), "mode {}", mode);
                }
            }
        }

        #[test]
        fn no_bytes_at_all_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[0-9a-z,;.:\"\t\r\n+-]{0,300}") {
            for mode in ["", "alert", "score", "batch", "rows"] {
                for file in [bytes.as_slice(), text.as_bytes()] {
                    let found = scores(file, mode).map_err(|error| TestCaseError::fail(format!("mode {mode}: {error}")))?;
                    prop_assert!(found.iter().all(|score| score.is_finite()));
                }
            }
        }
    }

    /// Every row has a finite score, in every mode.
    fn scored(name: &str, file: &[u8], rows: usize, modes: &[&str]) {
        for mode in modes {
            let found = scores(file, mode).unwrap_or_else(|error| panic!("{name}, mode {mode:?}: {error}"));
            assert_eq!(found.len(), rows, "{name}, mode {mode:?}");
            assert!(found.iter().all(|score| score.is_finite()), "{name}, mode {mode:?}");
        }
    }

    fn series(name: &str, file: &[u8], rows: usize) {
        scored(name, file, rows, &["", "alert", "score", "batch"]);
    }

    fn body(count: i64, row: impl Fn(i64, i64, f64) -> String) -> String {
        (0..count).map(|at| row(at, 1_700_000_000 + at * 300, 50.0 + (at * 37 % 23) as f64)).collect()
    }

    #[test]
    fn a_series_gets_a_score_a_row_however_it_was_written() {
        let plain = body(400, |_, time, value| format!("{time},{value}\n"));
        for (name, head) in
            [("plain", "timestamp,value\n"), ("mark", "\u{feff}Date,VALUE\n"), ("quoted", "\"ds\",\"y\"\n"), ("no header", "")]
        {
            series(name, format!("{head}{plain}").as_bytes(), 400);
            series(name, format!("{head}{plain}").replace('\n', "\r\n").as_bytes(), 400);
        }
        series("semicolons", plain.replace(',', ";").as_bytes(), 400);
        series("milliseconds", body(400, |_, time, value| format!("{},{value}\n", time * 1000)).as_bytes(), 400);
        series("backwards", body(400, |at, time, value| format!("{},{value}\n", time - 600 * at)).as_bytes(), 400);
        series("one moment", body(400, |_, _, value| format!("2026-01-01,{value}\n")).as_bytes(), 400);
        series("irregular", body(400, |at, time, value| format!("{},{value}\n", time + at * at * 7919 % 1_000_003)).as_bytes(), 400);
        series(
            "far apart",
            body(400, |at, _, value| format!("{},{value}\n", if at % 2 == 0 { i64::MAX } else { i64::MIN })).as_bytes(),
            400,
        );
        series("times nobody reads", body(400, |at, _, value| format!("{}/{}/2025,{value}\n", at % 12, at % 28)).as_bytes(), 400);
        series(
            "labels",
            format!("timestamp,value,label\n{}", body(400, |at, time, value| format!("{time},{value},{}\n", at % 2))).as_bytes(),
            400,
        );
        series("no text", b"timestamp,value\n2026-01-01,\xff\n2026-01-02,3\n", 2);
    }

    #[test]
    fn gaps_extremes_and_very_short_series_get_one_too() {
        let gaps = ["", "NaN", "null", "n/a", "inf", "-inf", "1e999", "x"];
        let at_gap = |at: i64| gaps[usize::try_from(at / 7 % 8).expect("small")];
        let with_gaps =
            |at: i64, time: i64, value: f64| if at % 7 == 0 { format!("{time},{}\n", at_gap(at)) } else { format!("{time},{value}\n") };
        series("gaps", body(400, with_gaps).as_bytes(), 400);
        series("only gaps", body(40, |_, time, _| format!("{time},\n")).as_bytes(), 40);
        series(
            "huge",
            body(400, |at, time, value| format!("{time},{:e}\n", if at == 200 { -1e308 } else { value * 1e90 })).as_bytes(),
            400,
        );
        series("tiny", body(400, |_, time, value| format!("{time},{:e}\n", value * 1e-306)).as_bytes(), 400);
        series("constant", body(400, |_, time, _| format!("{time},5\n")).as_bytes(), 400);
        for count in [0, 1, 2, 13, 14, 15, 27, 28, 29] {
            let rows = body(count, |at, _, value| format!("{},{value}\n", at * 86_400));
            series("short", format!("date,value\n{rows}").as_bytes(), usize::try_from(count).expect("small"));
        }
    }

    #[test]
    fn so_do_rows_of_tables() {
        let table = |name: &str, file: &str, rows: usize| scored(name, file.as_bytes(), rows, &["", "rows"]);
        let cells = body(60, |at, _, value| format!("{value},{},{}\n", at % 5, at * 7919 % 101));
        table("plain", &format!("f0,f1,f2\n{cells}"), 60);
        table("marked", &format!("\u{feff}f0,f1,f2\r\n{}", cells.replace('\n', "\r\n")), 60);
        table("names", &format!("id,f1,f2\n{}", body(60, |at, _, value| format!("row {at},{value},{at}\n"))), 60);
        table("row numbers", ",f1,f2\n0,1,2\n1,3,4\n2,5,6\n", 3);
        table("a gap first", "1,nan\n2,3\n4,5\n", 3);
        table("odd cells", "f0,f1,f2\n1,inf,\n1e300,x,3\n\n2,2\n1,2,3,4\n", 4);
        for rows in 0..5 {
            table("short", &format!("f0,f1\n{}", "1,2\n".repeat(rows)), rows);
        }
    }
}
