//! What the payload may say, and what it comes to. Everything has a default; what is not known is an error.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use taskwarden_plugin::Failure;

use crate::time::{DAY_MS, is_date, parse_ms};
use crate::{ALERT_SCORE, Direction, Kind, Mode, Note, Options, Pair, Span, Zone};

/// The payload of `anomaly.score`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SeriesRequest {
    /// `[[time, value], …]`, instead of the input `series`.
    pub(crate) series: Option<Vec<Pair>>,
    /// `streaming` (causal) or `batch`.
    mode: Mode,
    /// `both`, `up` or `down`.
    direction: Direction,
    /// Where alerts begin.
    alert_score: Option<f64>,
    /// `value`, `count`, `ratio` or `duration`; told by the first values if left out.
    kind: Option<Kind>,
    /// A cycle of this many points instead of the calendar's.
    season_points: Option<usize>,
    /// A POSIX time zone, such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    time_zone: Option<String>,
    /// What a missing day (or hour) means.
    pub(crate) missing: Missing,
    /// The moment up to which rows should have come; what `missing` says holds for the steps between the last row and it.
    until: Option<String>,
    /// Holidays, planned events and stretches to leave out.
    events: Vec<Event>,
    /// What somebody who looked said of earlier alerts.
    labels: Vec<Label>,
    /// Smaller deviations are no alerts.
    min_effect: f64,
    /// The same, as a share of what was expected.
    min_effect_share: f64,
    /// Where less was expected, nothing is an alert.
    min_volume: f64,
    /// The last point is not complete yet (today, this hour) and is left out. That is so unless the payload says otherwise.
    pub(crate) last_point_partial: bool,
}

impl Default for SeriesRequest {
    fn default() -> Self {
        Self {
            series: None,
            mode: Mode::default(),
            direction: Direction::default(),
            alert_score: None,
            kind: None,
            season_points: None,
            time_zone: None,
            missing: Missing::default(),
            until: None,
            events: Vec::new(),
            labels: Vec::new(),
            min_effect: 0.0,
            min_effect_share: 0.0,
            min_volume: 0.0,
            last_point_partial: true,
        }
    }
}

/// What a step without a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    /// Nothing is known of it.
    #[default]
    Ignore,
    /// Nothing happened: a zero.
    Zero,
    /// The value before still holds.
    Previous,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    from: String,
    /// The last day of it, or the moment it ended; `from` if left out.
    to: Option<String>,
    /// What it is called; the same name next year is the same event.
    name: Option<String>,
    #[serde(default)]
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// What it did the last time is expected of it.
    #[default]
    Known,
    /// It is left out of everything.
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    from: String,
    to: Option<String>,
    label: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Anomaly,
    Normal,
}

/// The payload of `anomaly.rows`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RowsRequest {
    /// The rows, instead of the input `rows`; with `columns`.
    pub(crate) rows: Option<Vec<Vec<Option<f64>>>>,
    /// The columns' names.
    pub(crate) columns: Option<Vec<String>>,
}

pub(crate) fn read<T: DeserializeOwned>(payload: serde_json::Value) -> Result<T, Failure> {
    let payload = if payload.is_null() { serde_json::json!({}) } else { payload };
    serde_json::from_value(payload).map_err(|e| Failure::invalid(format!("payload: {e}")))
}

impl SeriesRequest {
    /// The moment up to which rows should have come, if it was said.
    pub(crate) fn until_ms(&self, zone: &Zone) -> Result<Option<i64>, Failure> {
        let Some(text) = &self.until else { return Ok(None) };
        let (until_ms, _) = moment("until", text, zone)?;
        if self.missing == Missing::Ignore {
            return Err(Failure::invalid("until without missing: say what steps without a row mean, zero or previous"));
        }
        Ok(Some(until_ms))
    }

    /// What the library is told. A series of dates is one of days as they are: no time zone moves them.
    pub(crate) fn options(&self, of_dates: bool) -> Result<Options, Failure> {
        let alert_score = self.alert_score.unwrap_or(ALERT_SCORE);
        within("alert_score", alert_score, 0.5, 12.0, "such as 1.5, or 3 for less alerts")?;
        for (name, least) in [("min_effect", self.min_effect), ("min_effect_share", self.min_effect_share), ("min_volume", self.min_volume)]
        {
            within(name, least, 0.0, 1e100, "0 for none")?;
        }
        if let Some(points) = self.season_points {
            within("season_points", points as f64, 2.0, crate::calendar::CYCLE_MAX as f64, "the points after which the series repeats")?;
        }
        let zone = match &self.time_zone {
            Some(text) => Zone::parse(text).ok_or_else(|| {
                Failure::invalid(format!(
                    "time_zone {text:?} is not a POSIX time zone such as CET-1CEST,M3.5.0,M10.5.0/3 (names such as Europe/Berlin are not known \
                     here; the last line of the file of that name in a system's zoneinfo folder is the POSIX time zone)"
                ))
            })?,
            None => Zone::default(),
        };
        let zone = if of_dates { Zone::default() } else { zone };
        let mut spans = Vec::with_capacity(self.labels.len() + self.events.len());
        for label in &self.labels {
            let note = if label.label == Verdict::Anomaly { Note::Incident } else { Note::Normal };
            spans.push(span("labels", &label.from, label.to.as_deref(), &zone, note)?);
        }
        for event in &self.events {
            let note = match event.effect {
                Effect::Known => Note::Event(event.name.clone().unwrap_or_default()),
                Effect::Ignore => Note::Ignore,
            };
            spans.push(span("events", &event.from, event.to.as_deref(), &zone, note)?);
        }
        Ok(Options {
            mode: self.mode,
            direction: self.direction,
            alert_score,
            kind: self.kind,
            season_points: self.season_points,
            zone,
            spans,
            min_effect: self.min_effect,
            min_effect_share: self.min_effect_share,
            min_volume: self.min_volume,
        })
    }
}

/// A moment, and whether it is that at which a date begins on the clocks of the series.
fn moment(field: &str, text: &str, zone: &Zone) -> Result<(i64, bool), Failure> {
    let parsed = parse_ms(text).ok_or_else(|| Failure::invalid(format!("{field}: {text:?} is not a date or a time")))?;
    let is_date = is_date(text);
    // What the clocks show for this moment, the other way round: close enough, as a date begins far from where clocks change.
    let shift = if is_date { zone.local_ms(parsed).saturating_sub(parsed) } else { 0 };
    Ok((parsed.saturating_sub(shift), is_date))
}

/// A date stands for its whole day.
fn span(field: &str, from: &str, to: Option<&str>, zone: &Zone, note: Note) -> Result<Span, Failure> {
    let (from_ms, _) = moment(field, from, zone)?;
    let (last_ms, is_date) = moment(field, to.unwrap_or(from), zone)?;
    let to_ms = last_ms.saturating_add(if is_date { DAY_MS } else { 1 });
    if to_ms <= from_ms {
        return Err(Failure::invalid(format!("{field}: {} is before {from}", to.unwrap_or(from))));
    }
    Ok(Span { from_ms, to_ms, note })
}

fn within(name: &str, value: f64, least: f64, most: f64, hint: &str) -> Result<(), Failure> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Failure::invalid(format!("{name} is {value}: choose {least} to {most}, {hint}")))
}
