//! From the scorer's episodes to findings: which of them still concern anybody, and what to say about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::request::Plan;
use super::series::{History, Metric, Sums, Version};
use super::silence::Silence;
use crate::clock::UnixMs;
use crate::finding::{FindingKind, Observation};
use crate::task::{AiModel, LaneKey, NameError};

/// How bad it is that a lane fell silent.
const SILENCE_SEVERITY: u8 = 70;

/// What the scorer answers, as far as it is needed here.
#[derive(Debug, Deserialize)]
pub(super) struct Scored {
    scores: Vec<Point>,
    episodes: Vec<Episode>,
}

#[derive(Debug, Deserialize)]
struct Point {
    t: String,
    value: f64,
    expected: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Deserialize)]
struct Episode {
    onset: String,
    peak: String,
    end: String,
    ongoing: bool,
    severity: f64,
}

/// What a finding is about.
pub(super) struct Subject<'a> {
    pub(super) lane: &'a LaneKey,
    /// One version alone, where the lane had several.
    pub(super) version: Option<&'a Version>,
}

impl Subject<'_> {
    fn keys(&self, metric: &str) -> BTreeMap<String, String> {
        let mut keys =
            BTreeMap::from([("metric".to_owned(), metric.to_owned()), ("task_type".to_owned(), self.lane.task_type.to_string())]);
        keys.extend(self.lane.ai_model.as_ref().map(|model| ("ai_model".to_owned(), model.to_string())));
        if let Some((plugin, version)) = self.version {
            keys.insert("plugin".to_owned(), plugin.clone());
            keys.insert("plugin_version".to_owned(), version.clone());
        }
        keys
    }

    fn shown(&self) -> String {
        let model = self.lane.ai_model.as_ref().map(AiModel::as_str);
        let of_model = model.map_or_else(String::new, |model| format!(" for model {model}"));
        let of_version = self.version.map_or_else(String::new, |(plugin, version)| format!(" by {plugin} {version}"));
        format!("{}{of_model}{of_version}", self.lane.task_type)
    }
}

/// What programs get beside the sentence. A ratio comes with what it is made of.
#[derive(Debug, Serialize)]
struct Detail {
    onset: String,
    peak: String,
    end: String,
    ongoing: bool,
    value: f64,
    expected: f64,
    low: f64,
    high: f64,
    /// Of the bucket at the peak.
    attempts: u64,
    succeeded: u64,
    bucket_minutes: u64,
    /// Plugins and versions that ran in the episode and not in the same time before it.
    new_versions: Vec<String>,
}

/// An episode with what is known about it.
struct Case<'a> {
    metric: Metric,
    subject: &'a Subject<'a>,
    point: &'a Point,
    /// What the attempts in the bucket at the peak came to.
    sums: Sums,
    onset: UnixMs,
    peak: UnixMs,
    /// When the last bucket ended that is part of it.
    end: UnixMs,
    ongoing: bool,
    new_versions: Vec<String>,
}

/// The worst episode of a series that is not long over, and what it is about.
///
/// # Errors
/// Never in practice: the kinds are valid names.
pub(super) fn observation(
    metric: Metric,
    subject: &Subject<'_>,
    buckets: &BTreeMap<UnixMs, Sums>,
    history: &History,
    scored: &Scored,
    plan: &Plan,
) -> Result<Option<Observation>, NameError> {
    let cases = scored.episodes.iter().filter_map(|episode| {
        let (onset, peak, last) = (time(&episode.onset)?, time(&episode.peak)?, time(&episode.end)?);
        let point = scored.scores.iter().find(|point| point.t == episode.peak)?;
        let end = last.plus(plan.span);
        // Not by `ongoing`: the scorer keeps an episode open for a while after the last point that was off, in case there is another.
        let speaks = end > plan.recent_from && metric.matters(point.value, point.expected);
        let sums = buckets.get(&peak).copied().unwrap_or_default();
        let case = Case { metric, subject, point, sums, onset, peak, end, ongoing: episode.ongoing, new_versions: Vec::new() };
        speaks.then_some((episode.severity, case))
    });
    let Some((severity, mut case)) = cases.max_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(None) };
    case.new_versions = history.new_versions(case.onset, case.end).into_iter().map(shown_version).collect();
    Ok(Some(Observation {
        kind: FindingKind::new(&format!("watch.{}", metric.name()))?,
        keys: subject.keys(metric.name()),
        // A saturating cast, after which it is bounded above too.
        severity: (severity.round() as u8).min(100),
        gross: None,
        explanation: case.explain(plan),
        // Numbers that JSON cannot hold would leave it out; the sentence says the same.
        detail: serde_json::value::to_raw_value(&case.detail(plan)).ok(),
    }))
}

/// That a lane fell silent.
///
/// # Errors
/// Never in practice: the kind is a valid name.
pub(super) fn silent(subject: &Subject<'_>, silence: &Silence) -> Result<Observation, NameError> {
    let hours = |ms: i64| amount(ms as f64 / 3_600_000.0);
    let explanation = format!(
        "No task of {} has ended since {}, for {} hours; before that it was never longer than {} hours.",
        subject.shown(),
        shown_time(silence.since),
        hours(silence.silent_ms),
        hours(silence.longest_before_ms),
    );
    Ok(Observation {
        kind: FindingKind::new("watch.stopped")?,
        keys: subject.keys("attempts"),
        severity: SILENCE_SEVERITY,
        gross: None,
        explanation,
        detail: None,
    })
}

impl Case<'_> {
    fn detail(&self, plan: &Plan) -> Detail {
        Detail {
            onset: self.onset.to_rfc3339(),
            peak: self.peak.to_rfc3339(),
            end: self.end.to_rfc3339(),
            ongoing: self.ongoing,
            value: self.point.value,
            expected: self.point.expected,
            low: self.point.low,
            high: self.point.high,
            attempts: self.sums.attempts(),
            succeeded: self.sums.succeeded,
            bucket_minutes: plan.span.as_secs() / 60,
            new_versions: self.new_versions.clone(),
        }
    }

    fn explain(&self, plan: &Plan) -> String {
        let Point { value, expected, low, high, .. } = self.point;
        let (name, attempts) = (self.subject.shown(), self.sums.attempts());
        let minutes = plan.span.as_secs() / 60;
        let when = format!("in the {minutes} minutes from {}", shown_time(self.peak));
        let said = match self.metric {
            Metric::SuccessRate => format!(
                "{} of {attempts} attempts of {name} succeeded {when}: {}, where {} was expected ({} to {})",
                self.sums.succeeded,
                percent(*value),
                percent(*expected),
                percent(low.max(0.0)),
                percent(high.min(1.0)),
            ),
            Metric::Duration => {
                let [value, expected, low, high] = [value, expected, low, high].map(|ms| milliseconds(*ms));
                format!(
                    "{attempts} attempts of {name} ran for {value} each on average {when}, where {expected} was expected ({low} to {high})"
                )
            }
            Metric::QueueWait => {
                let [value, expected, low, high] = [value, expected, low, high].map(|ms| milliseconds(*ms));
                format!(
                    "{attempts} tasks of {name} waited for {value} each on average {when}, where {expected} was expected ({low} to {high})"
                )
            }
            Metric::Fuel => {
                let [value, expected, low, high] = [value, expected, low, high].map(|fuel| amount(fuel.max(0.0)));
                format!(
                    "{attempts} attempts of {name} used {value} fuel each on average {when}, where {expected} was expected ({low} to {high})"
                )
            }
        };
        let lasts = if self.ongoing { "it goes on" } else { "it is over" };
        let versions = match self.new_versions.as_slice() {
            [] => String::new(),
            new => format!(" {} did not run before.", new.join(" and ")),
        };
        format!("{said}; it began at {} and {lasts}.{versions}", shown_time(self.onset))
    }
}

fn shown_version((plugin, version): &Version) -> String {
    format!("{plugin} {version}")
}

/// The scorer shows midnight as a date alone.
fn time(text: &str) -> Option<UnixMs> {
    UnixMs::parse_rfc3339(text).or_else(|_| UnixMs::parse_rfc3339(&format!("{text}T00:00:00Z"))).ok()
}

fn shown_time(at: UnixMs) -> String {
    let text = at.to_rfc3339();
    // Buckets begin at whole minutes.
    text.get(..16).map_or_else(|| text.clone(), |minute| format!("{} UTC", minute.replace('T', " ")))
}

fn percent(ratio: f64) -> String {
    format!("{} %", amount(ratio * 100.0))
}

fn milliseconds(ms: f64) -> String {
    let ms = ms.max(0.0);
    if ms < 10_000.0 { format!("{} ms", amount(ms)) } else { format!("{} s", amount(ms / 1_000.0)) }
}

/// Three digits or so: enough to compare.
fn amount(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskType;

    const NOW: &str = "2026-11-25T10:20:00Z";

    fn lane() -> LaneKey {
        LaneKey { task_type: TaskType::new("implement_idea").expect("a type"), ai_model: Some(AiModel::new("m/1").expect("a model")) }
    }

    fn scored(ongoing: bool, value: f64) -> Scored {
        serde_json::from_value(serde_json::json!({
            "points": 48, "model": {"season": null},
            "scores": [{"t": "2026-11-25", "value": value, "score": 9.0, "severity": 81.6, "expected": 0.97, "low": 0.92, "high": 1.04}],
            "episodes": [{"onset": "2026-11-25", "peak": "2026-11-25", "end": "2026-11-25T08:00:00Z", "ongoing": ongoing, "points": 9,
                          "direction": "down", "score": 9.0, "severity": 81.6, "explanation": "…"}],
        }))
        .expect("as the scorer answers")
    }

    fn judged(scored: &Scored, payload: &str) -> Option<Observation> {
        let plan = Plan::read(payload, UnixMs::parse_rfc3339(NOW).expect("a time")).expect("good");
        let midnight = UnixMs::parse_rfc3339("2026-11-25T00:00:00Z").expect("a time");
        let bad = Sums { succeeded: 31, failed: 19, ..Sums::default() };
        let mut history = History::default();
        history.all.insert(midnight, bad);
        let version = |text: &str| ("idea".to_owned(), text.to_owned());
        history.by_version.insert(version("1.1.0"), BTreeMap::from([(midnight.minus(plan.span), bad), (midnight, bad)]));
        history.by_version.insert(version("1.2.0"), BTreeMap::from([(midnight, bad)]));
        let lane = lane();
        let subject = Subject { lane: &lane, version: None };
        observation(Metric::SuccessRate, &subject, &history.all, &history, scored, &plan).expect("a valid kind")
    }

    #[test]
    fn an_episode_becomes_a_sentence_with_its_denominator() {
        let found = judged(&scored(true, 0.62), "{}").expect("a finding");
        assert_eq!(
            found.explanation,
            "31 of 50 attempts of implement_idea for model m/1 succeeded in the 60 minutes from 2026-11-25 00:00 UTC: 62 %, where 97 % was \
             expected (92 % to 100 %); it began at 2026-11-25 00:00 UTC and it goes on. idea 1.2.0 did not run before."
        );
        assert_eq!((found.severity, found.kind.as_str()), (82, "watch.success_rate"));
        assert_eq!(found.keys.values().map(String::as_str).collect::<Vec<_>>(), ["m/1", "success_rate", "implement_idea"]);
        let detail: serde_json::Value = serde_json::from_str(found.detail.expect("detail").get()).expect("JSON");
        assert_eq!(
            (&detail["attempts"], &detail["succeeded"], &detail["end"]),
            (&50.into(), &31.into(), &"2026-11-25T09:00:00.000Z".into())
        );
        assert_eq!(detail["new_versions"], serde_json::json!(["idea 1.2.0"]));
    }

    #[test]
    fn what_is_long_over_or_small_is_left_out() {
        assert!(judged(&scored(false, 0.62), r#"{"recent_hours": 1}"#).is_none(), "it ended at nine");
        assert!(judged(&scored(false, 0.62), r#"{"recent_hours": 2}"#).is_some_and(|found| found.explanation.contains("it is over")));
        assert!(judged(&scored(true, 0.95), "{}").is_none());
    }

    #[test]
    fn a_silence_says_how_long_and_how_unusual_it_is() {
        let lane = lane();
        let version = ("idea".to_owned(), "1.2.0".to_owned());
        let subject = Subject { lane: &lane, version: Some(&version) };
        let silence = Silence { since: UnixMs::parse_rfc3339(NOW).expect("a time"), silent_ms: 9_000_000, longest_before_ms: 3_600_000 };
        let found = silent(&subject, &silence).expect("a valid kind");
        assert_eq!(
            found.explanation,
            "No task of implement_idea for model m/1 by idea 1.2.0 has ended since 2026-11-25 10:20 UTC, for 2.5 hours; before that it was \
             never longer than 1 hours."
        );
        assert_eq!((found.keys["plugin"].as_str(), found.keys["plugin_version"].as_str()), ("idea", "1.2.0"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [milliseconds(12.345), milliseconds(98_765.0), percent(0.9999), amount(123_456.7)],
            ["12.3 ms", "98.8 s", "100 %", "123457"]
        );
    }
}
