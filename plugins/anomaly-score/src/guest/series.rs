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
    /// Rows that the state had seen.
    #[serde(skip_serializing_if = "is_zero")]
    already_seen: usize,
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
    let mut series = series(request.series.as_deref())?;
    let options = request.options(series.dates)?;
    let dropped = request.last_point_partial && series.points.pop().is_some();
    let resumed = resumed(&options)?;
    let latest = resumed.as_ref().and_then(Scorer::latest);
    // Whoever sends the last weeks every day sends most of them again.
    let seen = latest.map_or(0, |latest| series.points.partition_point(|point| point.time_ms <= latest.time_ms));
    let new = series.points.get(seen..).unwrap_or_default();
    let step_ms = resumed.as_ref().and_then(|scorer| scorer.learnt().step_ms);
    let gaps = Gaps { missing: request.missing, until_ms: request.until_ms(&options.zone)?, latest, step_ms };
    let points = gaps.filled(new)?;
    refuse_if_too_large(points.len(), &options)?;
    progress(0.1, format!("{} points read", points.len()));

    let continued = resumed.is_some();
    let (scored, learnt, state) = match options.mode {
        Mode::Batch => {
            let (scored, learnt) = score(&points, &options);
            (scored, learnt, None)
        }
        Mode::Streaming => {
            let mut scorer = resumed.unwrap_or_else(|| Scorer::new(options.clone()));
            let scored: Vec<Scored> = points.iter().map(|point| scorer.push(*point)).collect();
            (scored, scorer.learnt(), Some(scorer.save()))
        }
    };
    progress(0.9, "scored");
    let episodes = episodes(&scored);
    log::info(format!("{} points, {} episodes, season: {}", scored.len(), episodes.len(), learnt.season.map_or("none", |s| s.1)));
    write_scores(&series, seen, &points, &scored)?;
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
        already_seen: seen,
        scores,
        scores_in: "scores.csv",
        state_in: state.map(|_| STATE),
        episodes,
        change_points,
        model,
    })
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The scorer that the input `state` was saved from, if there is one.
fn resumed(options: &Options) -> Result<Option<Scorer>, Failure> {
    let Some(bytes) = state()? else { return Ok(None) };
    if options.mode == Mode::Batch {
        return Err(Failure::invalid("a state goes on with streaming: leave the input \"state\" or the batch mode out"));
    }
    Scorer::resume(options.clone(), &bytes).map(Some).or_invalid("input \"state\"")
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
    let instead = match options.mode {
        Mode::Streaming => "split it, and carry the state from part to part",
        Mode::Batch => "send a shorter stretch, sum it up to longer steps, or score it in streaming mode, which takes half",
    };
    Err(Failure::invalid(format!(
        "{points} points would take about {fuel} fuel and at most {SERIES_FUEL_MAX} are spent on one series: {instead}"
    )))
}

/// What steps without a row mean, and between which moments they are looked for.
struct Gaps {
    missing: Missing,
    /// The moment up to which rows should have come.
    until_ms: Option<i64>,
    /// The last point of the run before.
    latest: Option<Point>,
    /// Its usual step, where it knew one.
    step_ms: Option<i64>,
}

impl Gaps {
    /// The points with their gaps filled, also that before the first and that after the last. A gap is a gap once more than half of another step
    /// fits into it.
    fn filled<'a>(&self, points: &'a [Point]) -> Result<Cow<'a, [Point]>, Failure> {
        let step_ms = self.step_ms.unwrap_or_else(|| usual_step_ms(points));
        if self.missing == Missing::Ignore || step_ms <= 0 {
            return Ok(Cow::Borrowed(points));
        }
        let mut filled: Vec<Point> = Vec::with_capacity(points.len() + 1);
        filled.extend(self.latest);
        for point in points {
            self.fill(&mut filled, point.time_ms, step_ms)?;
            filled.push(*point);
        }
        // The step that begins at that moment has not come yet.
        if let Some(until_ms) = self.until_ms {
            self.fill(&mut filled, until_ms.saturating_add(step_ms / 2), step_ms)?;
        }
        filled.drain(..usize::from(self.latest.is_some()));
        Ok(Cow::Owned(filled))
    }

    fn fill(&self, filled: &mut Vec<Point>, next_ms: i64, step_ms: i64) -> Result<(), Failure> {
        let Some(mut last) = filled.last().copied() else { return Ok(()) };
        // Counted before anything is filled: a date far off should cost nothing.
        let missing_steps = next_ms.saturating_sub(last.time_ms) / step_ms;
        if filled.len() as i64 + missing_steps > crate::POINTS_MAX as i64 {
            return Err(Failure::invalid(format!("with its gaps filled the series has more than {} points", crate::POINTS_MAX)));
        }
        while next_ms.saturating_sub(last.time_ms) > step_ms.saturating_add(step_ms / 2) {
            let value = if self.missing == Missing::Zero { 0.0 } else { last.value };
            last = Point { time_ms: last.time_ms + step_ms, value, total: last.total };
            filled.push(last);
        }
        Ok(())
    }
}

/// The median time between two points.
fn usual_step_ms(points: &[Point]) -> i64 {
    let mut gaps: Vec<f64> = points.windows(2).filter_map(|pair| Some((pair.last()?.time_ms - pair.first()?.time_ms) as f64)).collect();
    #[expect(clippy::cast_possible_truncation, reason = "it was an integer of milliseconds, or the middle of two")]
    let step_ms = crate::stats::median(&mut gaps) as i64;
    step_ms
}

/// One line for each row as it was read, in its order, so that they can be laid side by side; a row without a value, and one of the first
/// `seen` points, which were scored by a run before, has no score.
fn write_scores(series: &Series, seen: usize, points: &[Point], scored: &[Scored]) -> Result<(), Failure> {
    let mut file = output("scores.csv", "text/csv")?;
    writeln!(file, "timestamp,value,score,severity,expected,low,high,lately,opens")?;
    // Filled gaps have no row. Points and rows keep their order, so one pass finds them.
    let mut at = 0;
    let mut place_of = vec![None; seen];
    for point in series.points.iter().skip(seen) {
        while points.get(at).is_some_and(|other| other.time_ms != point.time_ms || other.value.to_bits() != point.value.to_bits()) {
            at += 1;
        }
        place_of.push(Some(at));
        at += 1;
    }
    for row in &series.rows {
        match row.and_then(|row| *place_of.get(row)?).and_then(|place| scored.get(place)) {
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
