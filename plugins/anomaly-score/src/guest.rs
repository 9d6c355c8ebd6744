//! The plugin: reads the series, calls the library, writes the answer.

use std::io::Write;

use serde::{Deserialize, Serialize};
use taskwarden_plugin::{Failure, OrFail, Plugin, Task, input, input_names, log, output, progress};

use crate::time::show;
use crate::{ALERT_SCORE, Direction, Episode, Mode, Options, Point, Scored, episodes, read_csv, read_pairs};

/// Series longer than this also leave their scores as the output `scores.csv`.
const CSV_FROM_POINTS: usize = 2_000;
/// Series longer than this have only their alerting points in the result; all of them are in `scores.csv`.
const RESULT_POINTS_MAX: usize = 20_000;

/// What the payload may say. Everything has a default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// `[[time, value], …]`, instead of the input `series`.
    series: Option<Vec<(serde_json::Value, Option<f64>)>>,
    /// `streaming` (causal) or `batch`.
    mode: Mode,
    /// `both`, `up` or `down`.
    direction: Direction,
    /// Where alerts begin.
    alert_score: Option<f64>,
    /// The last point is not complete yet (today, this hour) and is left out.
    last_point_partial: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    points: usize,
    scores: Vec<PointScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores_in: Option<&'static str>,
    episodes: Vec<Episode>,
    model: ModelSummary,
}

#[derive(Debug, Serialize)]
struct PointScore {
    t: String,
    value: f64,
    score: f64,
    severity: f64,
    expected: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Serialize)]
struct ModelSummary {
    mode: Mode,
    direction: Direction,
    alert_score: f64,
    season_points: Option<usize>,
    season: Option<&'static str>,
    season_strength: f64,
}

/// The plugin.
pub struct AnomalyScore;

impl Plugin for AnomalyScore {
    type Payload = Request;
    type Output = Answer;

    fn execute(_task: &Task, request: Request) -> Result<Answer, Failure> {
        let options = options(&request)?;
        let mut points = points(request.series.as_deref())?;
        if request.last_point_partial {
            points.pop();
        }
        progress(0.1, format!("{} points read", points.len()));
        let (scored, learnt) = crate::score(&points, &options);
        progress(0.9, "scored");
        let episodes = episodes(&scored, options.alert_score);
        log::info(format!("{} points, {} episodes, season: {}", points.len(), episodes.len(), learnt.season.map_or("none", |s| s.1)));
        let in_file = scored.len() > CSV_FROM_POINTS;
        if in_file {
            write_csv(&scored)?;
        }
        let all = scored.len() <= RESULT_POINTS_MAX;
        let scores = scored.iter().filter(|point| all || point.score >= options.alert_score).map(PointScore::from).collect();
        let model = ModelSummary {
            mode: options.mode,
            direction: options.direction,
            alert_score: options.alert_score,
            season_points: learnt.season.map(|s| s.0),
            season: learnt.season.map(|s| s.1),
            season_strength: learnt.season_strength,
        };
        Ok(Answer { points: points.len(), scores, scores_in: in_file.then_some("scores.csv"), episodes, model })
    }
}

taskwarden_plugin::export!(AnomalyScore);

fn options(request: &Request) -> Result<Options, Failure> {
    let alert_score = request.alert_score.unwrap_or(ALERT_SCORE);
    if !(0.5..=12.0).contains(&alert_score) {
        return Err(Failure::invalid(format!("alert_score is {alert_score}: choose 0.5 to 12, such as 2.5")));
    }
    Ok(Options { mode: request.mode, direction: request.direction, alert_score })
}

fn points(pairs: Option<&[(serde_json::Value, Option<f64>)]>) -> Result<Vec<Point>, Failure> {
    match pairs {
        Some(pairs) if !input_names().iter().any(|name| name == "series") => read_pairs(pairs).or_invalid("payload"),
        Some(_) => Err(Failure::invalid("there is a series in the payload and an input \"series\": send one of them")),
        None => read_csv(input("series")?).or_invalid("input \"series\""),
    }
}

fn write_csv(scored: &[Scored]) -> Result<(), Failure> {
    let mut file = output("scores.csv", "text/csv")?;
    writeln!(file, "timestamp,value,score,severity,expected,low,high")?;
    for p in scored {
        writeln!(file, "{},{},{},{},{},{},{}", show(p.time_ms), p.value, p.score, p.severity, p.expected, p.low, p.high)?;
    }
    Ok(file.finish()?)
}

impl From<&Scored> for PointScore {
    fn from(p: &Scored) -> Self {
        Self { t: show(p.time_ms), value: p.value, score: p.score, severity: p.severity, expected: p.expected, low: p.low, high: p.high }
    }
}

#[cfg(test)]
mod tests {
    use taskwarden_plugin::double::HostDouble;

    use super::*;

    fn daily_csv(days: i64, value: impl Fn(i64) -> f64) -> String {
        let rows = (0..days).map(|day| format!("{},{}\n", show(day * 86_400_000), value(day)));
        format!("date,value\n{}", rows.collect::<String>())
    }

    fn steady(day: i64) -> f64 {
        100.0 + ((day * 37) % 11) as f64 - if day % 7 > 4 { 30.0 } else { 0.0 }
    }

    #[test]
    fn a_doubled_value_is_an_episode_that_explains_itself() {
        let csv = daily_csv(90, |day| if day == 70 { 2.0 * steady(day) } else { steady(day) });
        let answer = HostDouble::new().input("series", csv).run::<AnomalyScore>().json().expect("succeeds");
        assert_eq!(answer["points"], 90);
        assert_eq!(answer["model"]["season"], "day of the week");
        let episodes = answer["episodes"].as_array().expect("a list");
        assert_eq!(episodes.len(), 1, "{episodes:?}");
        assert_eq!((episodes[0]["peak"].as_str(), episodes[0]["direction"].as_str()), (Some("1970-03-12"), Some("up")));
        assert!(answer["scores"][70]["severity"].as_f64() > Some(50.0) && answer["scores"][69]["severity"].as_f64() < Some(50.0));
        assert!(answer["scores"][70]["high"].as_f64() < Some(2.0 * steady(70)));
    }

    #[test]
    fn the_payload_may_carry_the_series_and_not_both() {
        let host = || HostDouble::new().payload(r#"{"series": [["2026-01-01", 1.0], ["2026-01-02", null]], "mode": "batch"}"#);
        assert_eq!(host().run::<AnomalyScore>().json().expect("succeeds")["points"], 1);
        let both = host().input("series", "1,1\n").run::<AnomalyScore>();
        assert!(matches!(both.result, Err(Failure::Invalid(_))));
    }

    #[test]
    fn mistakes_are_the_submitters_and_say_where() {
        let run = |payload: &str, csv: &str| HostDouble::new().payload(payload).input("series", csv).run::<AnomalyScore>().result;
        assert!(matches!(run("{}", "1,2\n2,x\n"), Err(Failure::Invalid(why)) if why.contains("line 2")));
        assert!(matches!(run(r#"{"alert": 3}"#, ""), Err(Failure::Invalid(why)) if why.contains("alert")));
        assert!(matches!(run(r#"{"alert_score": 0}"#, ""), Err(Failure::Invalid(why)) if why.contains("alert_score")));
        assert!(matches!(HostDouble::new().run::<AnomalyScore>().result, Err(Failure::Invalid(why)) if why.contains("series")));
    }

    #[test]
    fn long_series_leave_a_file_and_an_unfinished_day_is_left_out() {
        let ran =
            HostDouble::new().payload(r#"{"last_point_partial": true}"#).input("series", daily_csv(2_501, steady)).run::<AnomalyScore>();
        assert_eq!(ran.json().expect("succeeds")["points"], 2_500);
        assert_eq!(ran.outputs["scores.csv"].bytes.iter().filter(|b| **b == b'\n').count(), 2_501);
        let empty = HostDouble::new().payload("null").input("series", "").run::<AnomalyScore>();
        assert_eq!(empty.json().expect("succeeds")["points"], 0);
    }
}
