//! The task type `anomaly.score`.

use std::borrow::Cow;
use std::io::{Read, Write};

use serde::Serialize;
use taskwarden_plugin::{Failure, OrFail, input, input_names, log, output, progress};

use super::SeriesRequest;
use super::request::Missing;
use crate::cost::{SERIES_FUEL_MAX, series_cost_fuel};
use crate::time::show;
use crate::{
    ChangePoint, Direction, Episode, Kind, Mode, Options, Point, Scored, Scorer, Series, change_points, episodes, read_csv, read_pairs,
    score,
};

/// Series longer than this have only their alerting points in the result; all of them are in `scores.csv`.
const RESULT_POINTS_MAX: usize = 2_000;
/// A state is never larger.
const STATE_BYTES_MAX: u64 = 64 * 1024;
/// The name of the state, as input and as output.
const STATE: &str = "state";

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    points: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dropped_last_point: bool,
    scores: Vec<PointScore>,
    scores_in: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_in: Option<&'static str>,
    episodes: Vec<Episode>,
    /// Only in batch mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_points: Option<Vec<ChangePoint>>,
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
    kind: Option<Kind>,
    season_points: Option<usize>,
    season: Option<&'static str>,
    continued: bool,
}

pub(super) fn run(request: SeriesRequest) -> Result<Answer, Failure> {
    let options = request.options()?;
    let mut series = series(request.series.as_deref())?;
    let dropped = request.last_point_partial && series.points.pop().is_some();
    let points = filled(&series.points, request.missing, request.until_ms()?)?;
    refuse_if_too_large(points.len(), &options)?;
    progress(0.1, format!("{} points read", points.len()));

    let state = state()?;
    let continued = state.is_some();
    let (scored, learnt, state) = match (options.mode, state) {
        (Mode::Batch, Some(_)) => {
            return Err(Failure::invalid("a state goes on with streaming: leave the input \"state\" or the batch mode out"));
        }
        (Mode::Batch, None) => {
            let (scored, learnt) = score(&points, &options);
            (scored, learnt, None)
        }
        (Mode::Streaming, state) => {
            let mut scorer = match state {
                Some(bytes) => Scorer::resume(options.clone(), &bytes).or_invalid("input \"state\"")?,
                None => Scorer::new(options.clone()),
            };
            let scored: Vec<Scored> = points.iter().map(|point| scorer.push(*point)).collect();
            (scored, scorer.learnt(), Some(scorer.save()))
        }
    };
    progress(0.9, "scored");
    let episodes = episodes(&scored);
    log::info(format!("{} points, {} episodes, season: {}", scored.len(), episodes.len(), learnt.season.map_or("none", |s| s.1)));
    write_scores(&series, &points, &scored)?;
    if let Some(state) = &state {
        let mut file = output(STATE, "application/octet-stream")?;
        file.write_all(state)?;
        file.finish()?;
    }
    let change_points = (options.mode == Mode::Batch).then(|| change_points(&scored, learnt.step_ms.unwrap_or(0)));
    let all = scored.len() <= RESULT_POINTS_MAX;
    let scores = scored.iter().filter(|point| all || point.severity >= 50.0).map(PointScore::from).collect();
    let model = summary(&options, &learnt, continued);
    Ok(Answer {
        points: scored.len(),
        dropped_last_point: dropped,
        scores,
        scores_in: "scores.csv",
        state_in: state.map(|_| STATE),
        episodes,
        change_points,
        model,
    })
}

fn summary(options: &Options, learnt: &crate::Learnt, continued: bool) -> ModelSummary {
    ModelSummary {
        mode: options.mode,
        direction: options.direction,
        alert_score: options.alert_score,
        kind: learnt.kind,
        season_points: learnt.season.map(|season| season.0),
        season: learnt.season.map(|season| season.1),
        continued,
    }
}

fn series(pairs: Option<&[crate::Pair]>) -> Result<Series, Failure> {
    match pairs {
        Some(pairs) if !input_names().iter().any(|name| name == "series") => read_pairs(pairs).or_invalid("payload"),
        Some(_) => Err(Failure::invalid("there is a series in the payload and an input \"series\": send one of them")),
        None => read_csv(input("series")?).or_invalid("input \"series\""),
    }
}

fn state() -> Result<Option<Vec<u8>>, Failure> {
    if !input_names().iter().any(|name| name == STATE) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    input(STATE)?.take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STATE_BYTES_MAX {
        return Err(Failure::invalid(format!("input \"state\": more than {STATE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// Before anything is computed: what cannot end well is refused with what it would take.
fn refuse_if_too_large(points: usize, options: &Options) -> Result<(), Failure> {
    let fuel = series_cost_fuel(points, options.mode, options.season_points);
    if fuel <= SERIES_FUEL_MAX {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "{points} points would take about {fuel} fuel and at most {SERIES_FUEL_MAX} are spent on one series: split it, and carry the state from part to part"
    )))
}

/// Steps without a row, as the policy has it, those at the end up to `until_ms` too. A gap is a gap once more than half of another step fits
/// into it.
fn filled(points: &[Point], missing: Missing, until_ms: Option<i64>) -> Result<Cow<'_, [Point]>, Failure> {
    let mut gaps: Vec<f64> = points.windows(2).filter_map(|pair| Some((pair.last()?.time_ms - pair.first()?.time_ms) as f64)).collect();
    #[expect(clippy::cast_possible_truncation, reason = "it was an integer of milliseconds, or the middle of two")]
    let step = crate::stats::median(&mut gaps) as i64;
    if missing == Missing::Ignore || step <= 0 {
        return Ok(Cow::Borrowed(points));
    }
    let mut filled: Vec<Point> = Vec::with_capacity(points.len());
    let fill = |filled: &mut Vec<Point>, next_ms: i64| {
        let Some(mut last) = filled.last().copied() else { return Ok(()) };
        // Counted before anything is filled: a date far off should cost nothing.
        let missing_steps = next_ms.saturating_sub(last.time_ms) / step;
        if filled.len() as i64 + missing_steps > crate::POINTS_MAX as i64 {
            return Err(Failure::invalid(format!("with its gaps filled the series has more than {} points", crate::POINTS_MAX)));
        }
        while next_ms.saturating_sub(last.time_ms) > step.saturating_add(step / 2) {
            let value = if missing == Missing::Zero { 0.0 } else { last.value };
            last = Point { time_ms: last.time_ms + step, value, total: last.total };
            filled.push(last);
        }
        Ok(())
    };
    for point in points {
        fill(&mut filled, point.time_ms)?;
        filled.push(*point);
    }
    // The step that begins at that moment has not come yet.
    if let Some(until_ms) = until_ms {
        fill(&mut filled, until_ms.saturating_add(step / 2))?;
    }
    Ok(Cow::Owned(filled))
}

/// One line for each row as it was read, in its order, so that they can be laid side by side; a row without a value has no score.
fn write_scores(series: &Series, points: &[Point], scored: &[Scored]) -> Result<(), Failure> {
    let mut file = output("scores.csv", "text/csv")?;
    writeln!(file, "timestamp,value,score,severity,expected,low,high,lately,opens")?;
    // Filled gaps have no row. Points and rows keep their order, so one pass finds them.
    let mut at = 0;
    let mut place_of = Vec::with_capacity(series.points.len());
    for point in &series.points {
        while points.get(at).is_some_and(|other| other.time_ms != point.time_ms || other.value.to_bits() != point.value.to_bits()) {
            at += 1;
        }
        place_of.push(at);
        at += 1;
    }
    for row in &series.rows {
        match row.and_then(|row| place_of.get(row)).and_then(|place| scored.get(*place)) {
            Some(p) => writeln!(
                file,
                "{},{},{},{},{},{},{},{},{}",
                show(p.time_ms),
                p.value,
                p.score,
                p.severity,
                p.expected,
                p.low,
                p.high,
                p.lately,
                u8::from(p.opens)
            )?,
            None => writeln!(file, ",,0,0,,,,0,0")?,
        }
    }
    Ok(file.finish()?)
}

impl From<&Scored> for PointScore {
    fn from(p: &Scored) -> Self {
        Self { t: show(p.time_ms), value: p.value, score: p.score, severity: p.severity, expected: p.expected, low: p.low, high: p.high }
    }
}
