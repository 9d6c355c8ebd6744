//! Scores a series point by point, remembering what it needs and nothing of what comes.

use std::collections::BTreeMap;

use crate::calendar::{CYCLE_MAX, Calendar, Day};
use crate::grid::Grid;
use crate::intraday::{Intraday, Lens};
use crate::kind::Kind;
use crate::model::{Heed, Judged};
use crate::options::{Mode, Note, Options};
use crate::series::Point;
use crate::state::{Reader, StateError, Writer};

/// One point and what was found of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// As it was given.
    pub value: f64,
    /// −log10 of the share of points that are as unusual.
    pub score: f64,
    /// 0 to 100; 50 is the alert boundary.
    pub severity: f64,
    /// How unusual the last points were together; rises and falls more slowly than the score.
    pub lately: f64,
    /// How unusual it is in the model's own unit, before calibration.
    pub evidence: f64,
    /// Whether an incident begins here: once for each.
    pub opens: bool,
    /// What was expected.
    pub expected: f64,
    /// Lower end of the band of what would not alert by itself.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// How far off it is, in units of what is usual; signed.
    pub deviation: f64,
}

/// What was learnt of a series as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learnt {
    /// What kind of quantity it was taken for.
    pub kind: Option<Kind>,
    /// The usual time between two points.
    pub step_ms: Option<i64>,
    /// Whether it was looked at within the day.
    pub intraday: bool,
    /// Points in the cycle and its name, if there is one.
    pub season: Option<(usize, &'static str)>,
}

/// So many points are looked at before the series is known well enough to say anything: two weeks of days.
pub(crate) const WARM_UP_POINTS: usize = 14;
/// Events with a name that are remembered.
const EVENTS_MAX: usize = 64;
/// The longest name of an event that is remembered.
const EVENT_NAME_BYTES_MAX: usize = 64;
/// What a cycle is called that no calendar knows.
pub(crate) const FOUND: &str = "found in the series";
/// The number of the addition to a state that holds the last point.
const LATEST: u8 = 1;

/// The streaming scorer.
#[derive(Debug, Clone)]
pub struct Scorer {
    options: Options,
    engine: Engine,
    /// What each event with a name did, on the model's scale: how often it was seen and the mean.
    events: BTreeMap<String, (f64, f64)>,
    /// What somebody called normal does not alert again: the ratio to the boundary that it had.
    forgiven: f64,
    /// The last point that was scored.
    latest: Option<Point>,
}

#[derive(Debug, Clone)]
enum Engine {
    Warming(Vec<Point>),
    Calendar(Grid, Kind, Box<Calendar>),
    Intraday(Grid, Box<Intraday>),
}

/// Scores a series in streaming mode. The same input gives the same bits on every machine.
pub(crate) fn stream(points: &[Point], options: &Options) -> (Vec<Scored>, Learnt) {
    let mut scorer = Scorer::new(options.clone());
    let scored = points.iter().map(|point| scorer.push(*point)).collect();
    (scored, scorer.learnt())
}

impl Scorer {
    /// A scorer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, engine: Engine::Warming(Vec::new()), events: BTreeMap::new(), forgiven: 0.0, latest: None }
    }

    /// Learns from a whole series backwards, before it is scored forwards.
    pub(crate) fn study(&mut self, points: &[Point]) {
        self.begin(points.get(..WARM_UP_POINTS.min(points.len())).unwrap_or_default());
        if let Engine::Calendar(grid, _, calendar) = &mut self.engine {
            calendar.forget();
            for point in points.iter().rev() {
                let heed = match self.options.note(point.time_ms) {
                    Some(Note::Normal) => Heed::Trust,
                    Some(Note::Ignore | Note::Event(_) | Note::Incident) => Heed::Ignore,
                    None => Heed::Normal,
                };
                let place = grid.place(self.options.zone.local_ms(point.time_ms), self.options.season_points).mirrored();
                let day = Day { place, value: point.value, total: point.total, heed, known_effect: 0.0 };
                calendar.push(day, &self.options);
            }
            calendar.turn();
            self.events.clear();
        }
    }

    /// Scores the next point, then learns from it. Points have to come in the order of time.
    pub fn push(&mut self, point: Point) -> Scored {
        self.latest = Some(point);
        if let Engine::Warming(seen) = &mut self.engine {
            seen.push(point);
            if seen.len() >= WARM_UP_POINTS {
                let seen = std::mem::take(seen);
                self.begin(&seen);
            }
            return finished(point, Judged::quiet(point.value));
        }
        self.judge(point)
    }

    /// Decides what the series is, and lets the model for that learn from what was seen.
    fn begin(&mut self, seen: &[Point]) {
        let local: Vec<i64> = seen.iter().map(|point| self.options.zone.local_ms(point.time_ms)).collect();
        let values: Vec<f64> = seen.iter().map(|point| point.value).collect();
        let grid = Grid::fit(&local);
        let of_totals = seen.iter().all(|point| point.total.is_some()).then_some(Kind::Ratio);
        let told = self.options.kind.or(of_totals);
        self.engine = match grid.intraday_step_ms() {
            Some(step_ms) => Engine::Intraday(grid, Box::new(Intraday::new(step_ms, Lens::new(told, seen)))),
            None => {
                let kind = told.unwrap_or_else(|| Kind::guess(&values));
                let cycle = self.options.season_points.map_or(grid.cycle().0, |points| points.min(CYCLE_MAX));
                let calendar = Calendar::new(kind.scale(&values), cycle, grid.by_month());
                // A series that is known as a whole is searched as a whole.
                let alone = self.options.mode == Mode::Streaming && self.options.season_points.is_none();
                Engine::Calendar(grid, kind, Box::new(if alone { calendar.searching() } else { calendar }))
            }
        };
        for point in seen {
            self.judge(*point);
        }
    }

    fn judge(&mut self, point: Point) -> Scored {
        let note = self.options.note(point.time_ms).cloned();
        let event = match &note {
            Some(Note::Event(name)) => Some((name.clone(), self.events.get(name).copied().unwrap_or((0.0, 0.0)))),
            _ => None,
        };
        let heed = match &note {
            Some(Note::Ignore) => Heed::Ignore,
            Some(Note::Incident) => Heed::Distrust,
            Some(Note::Normal) => Heed::Trust,
            // An event is scored once it is known what it does; the baseline is of days without events.
            Some(Note::Event(_)) if event.as_ref().is_some_and(|(_, seen)| seen.0 > 0.0) => Heed::Distrust,
            Some(Note::Event(_)) => Heed::Ignore,
            None => Heed::Normal,
        };
        let local_ms = self.options.zone.local_ms(point.time_ms);
        let (judged, off) = match &mut self.engine {
            Engine::Calendar(grid, _, calendar) => {
                let place = grid.place(local_ms, self.options.season_points);
                // One sighting is half believed.
                let known_effect = event.as_ref().map_or(0.0, |(_, (count, mean))| mean * count / (count + 1.0));
                let day = Day { place, value: point.value, total: point.total, heed, known_effect };
                let (judged, off) = calendar.push(day, &self.options);
                (judged, off + known_effect)
            }
            Engine::Intraday(_, intraday) => (intraday.push(point, local_ms, heed, &self.options), 0.0),
            Engine::Warming(_) => (Judged::quiet(point.value), 0.0),
        };
        if let Some((name, (count, mean))) = event {
            self.learn_event(name, count, mean, off);
        }
        finished(point, self.heard(point, judged, note.as_ref()))
    }

    fn learn_event(&mut self, name: String, count: f64, mean: f64, off: f64) {
        let room = self.events.len() < EVENTS_MAX && name.len() <= EVENT_NAME_BYTES_MAX;
        if room || self.events.contains_key(&name) {
            self.events.insert(name, (count + 1.0, mean + (off - mean) / (count + 1.0)));
        }
    }

    /// What is left of a judgement after the submitter's own rules: too little volume, too small an effect, called normal before.
    fn heard(&mut self, point: Point, judged: Judged, note: Option<&Note>) -> Judged {
        if note == Some(&Note::Normal) && judged.ratio >= 1.0 {
            self.forgiven = self.forgiven.max(judged.ratio);
        }
        let effect = (point.value - judged.expected).abs();
        let volume = point.total.unwrap_or(judged.expected.abs());
        let small = effect < self.options.min_effect || effect < self.options.min_effect_share * judged.expected.abs();
        let quiet = small || volume < self.options.min_volume || note == Some(&Note::Normal);
        if quiet || (judged.ratio >= 1.0 && judged.ratio <= self.forgiven) {
            return Judged { ratio: judged.ratio.min(0.999), evidence: 0.0, opens: false, ..judged };
        }
        judged
    }

    /// The last point that was scored: what a run that goes on has seen already, and where a gap before its first point begins.
    #[must_use]
    pub fn latest(&self) -> Option<Point> {
        self.latest
    }

    /// What is known of the series so far.
    #[must_use]
    pub fn learnt(&self) -> Learnt {
        let (grid, kind) = match &self.engine {
            Engine::Warming(_) => return Learnt { kind: self.options.kind, step_ms: None, intraday: false, season: None },
            Engine::Calendar(grid, kind, _) => (grid, Some(*kind)),
            Engine::Intraday(grid, intraday) => (grid, intraday.kind()),
        };
        let intraday = matches!(self.engine, Engine::Intraday(..));
        let found = if let Engine::Calendar(_, _, calendar) = &self.engine { calendar.found() } else { None };
        let season = match (self.options.season_points, grid.cycle()) {
            _ if found.is_some() => found.map(|points| (points, FOUND)),
            _ if intraday => Some((grid.points_a_day(), "time of day and week")),
            (Some(points), _) => Some((points, "given")),
            (None, (points, Some(name))) => Some((points, name)),
            _ => None,
        };
        let step_ms = match grid {
            Grid::Even { step_ms, .. } => Some(*step_ms),
            Grid::Monthly => None,
        };
        Learnt { kind, step_ms, intraday, season }
    }

    /// Everything that is needed to go on with the series in another run, at most 64 KiB.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut to = Writer::begin();
        to.f64(self.forgiven);
        to.u32(u32::try_from(self.events.len()).unwrap_or(0));
        for (name, (count, mean)) in &self.events {
            to.u32(u32::try_from(name.len()).unwrap_or(0));
            name.bytes().for_each(|byte| to.u8(byte));
            to.f64(*count);
            to.f64(*mean);
        }
        match &self.engine {
            Engine::Warming(seen) => {
                to.u8(0);
                to.u32(u32::try_from(seen.len()).unwrap_or(0));
                seen.iter().for_each(|point| save_point(*point, &mut to));
            }
            Engine::Calendar(grid, kind, calendar) => {
                to.u8(1);
                grid.save(&mut to);
                to.u8(kind.code());
                calendar.save(&mut to);
            }
            Engine::Intraday(grid, intraday) => {
                to.u8(2);
                grid.save(&mut to);
                intraday.save(&mut to);
            }
        }
        if let Some(latest) = self.latest {
            to.addition(LATEST, |to| save_point(latest, to));
        }
        to.finish()
    }

    /// Goes on where another scorer was saved. The options may be others than then.
    ///
    /// # Errors
    /// When the bytes are no state of this format, and what to do then.
    pub fn resume(options: Options, state: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::begin(state)?;
        let forgiven = from.f64()?;
        let mut events = BTreeMap::new();
        for _ in 0..from.count(EVENTS_MAX)? {
            let length = from.count(EVENT_NAME_BYTES_MAX)?;
            let name = (0..length).map(|_| from.u8()).collect::<Result<Vec<_>, _>>()?;
            let seen = (from.f64()?, from.f64()?);
            events.insert(String::from_utf8(name).map_err(|_| StateError::Damaged)?, seen);
        }
        let engine = match from.u8()? {
            0 => Engine::Warming(warming(&mut from)?),
            1 => {
                let (grid, kind) = (Grid::load(&mut from)?, Kind::of_code(from.u8()?).ok_or(StateError::Damaged)?);
                Engine::Calendar(grid, kind, Box::new(Calendar::load(&mut from)?))
            }
            2 => Engine::Intraday(Grid::load(&mut from)?, Box::new(Intraday::load(&mut from)?)),
            _ => return Err(StateError::Damaged),
        };
        let mut additions = from.additions()?;
        let latest = additions.get_mut(&LATEST).map(load_point).transpose()?;
        Ok(Self { options, engine, events, forgiven, latest })
    }
}

fn warming(from: &mut Reader<'_>) -> Result<Vec<Point>, StateError> {
    let count = from.count(WARM_UP_POINTS)?;
    (0..count).map(|_| load_point(from)).collect()
}

fn save_point(point: Point, to: &mut Writer) {
    to.i64(point.time_ms);
    to.f64(point.value);
    to.f64(point.total.unwrap_or(f64::NAN));
}

fn load_point(from: &mut Reader<'_>) -> Result<Point, StateError> {
    let (time_ms, value, total) = (from.i64()?, from.f64()?, from.f64()?);
    Ok(Point { time_ms, value, total: Some(total).filter(|total| !total.is_nan()) })
}

fn finished(point: Point, judged: Judged) -> Scored {
    Scored {
        time_ms: point.time_ms,
        value: point.value,
        score: judged.score,
        severity: 100.0 * judged.ratio / (1.0 + judged.ratio),
        lately: judged.lately,
        evidence: judged.evidence,
        opens: judged.opens,
        expected: judged.expected,
        low: judged.low,
        high: judged.high,
        deviation: judged.deviation,
    }
}

/// Scores a series. The same input gives the same bits on every machine.
#[must_use]
pub fn score(points: &[Point], options: &Options) -> (Vec<Scored>, Learnt) {
    match options.mode {
        Mode::Streaming => stream(points, options),
        Mode::Batch => crate::batch::score(points, options),
    }
}
