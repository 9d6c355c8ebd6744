//! From the scorer's episodes to findings: which of them still concern anybody, and what to say about them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::request::Plan;
use super::scoring::{Episode, Scored, severity};
use super::series::{History, Metric, Sums, Version};
use super::silence::Silence;
use super::words::{amount, hours, milliseconds, percent, shown_time, time};
use crate::clock::UnixMs;
use crate::finding::{FindingKind, Observation};
use crate::task::{AiModel, LaneKey, NameError};

/// How bad it is that something does not come any more.
const SILENCE_SEVERITY: u8 = 70;

/// What a finding is about.
pub(super) struct Subject<'a> {
    pub(super) lane: &'a LaneKey,
    /// One version alone, where the lane had several.
    pub(super) version: Option<&'a Version>,
}

impl Subject<'_> {
    pub(super) fn keys(&self, metric: &str) -> BTreeMap<String, String> {
        let mut keys =
            BTreeMap::from([("metric".to_owned(), metric.to_owned()), ("task_type".to_owned(), self.lane.task_type.to_string())]);
        keys.extend(self.lane.ai_model.as_ref().map(|model| ("ai_model".to_owned(), model.to_string())));
        if let Some((plugin, version)) = self.version {
            keys.insert("plugin".to_owned(), plugin.clone());
            keys.insert("plugin_version".to_owned(), version.clone());
        }
        keys
    }

    pub(super) fn shown(&self) -> String {
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
    #[serde(rename = "type")]
    shape: String,
    value: f64,
    expected: f64,
    low: f64,
    high: f64,
    /// Of the bucket at the peak.
    attempts: u64,
    succeeded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratings: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satisfied: Option<u64>,
    bucket_minutes: u64,
    /// Plugins and versions that ran in the episode and not in the same time before it.
    new_versions: Vec<String>,
}

/// An episode with what is known about it.
struct Case<'a> {
    metric: Metric,
    subject: &'a Subject<'a>,
    episode: &'a Episode,
    /// What the attempts in the bucket at the peak came to.
    sums: Sums,
    onset: UnixMs,
    peak: UnixMs,
    /// When the last bucket ended that is part of it.
    end: UnixMs,
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
        // Whatever plugin scores: an episode that ends before it begins is none.
        let end = Some(last.plus(plan.span)).filter(|end| onset < *end)?;
        let mut whole = Sums::default();
        buckets.range(onset..end).for_each(|(_, sums)| whole += *sums);
        // Not by `ongoing`: the scorer keeps an episode open for a while after the last point that was off, in case there is another.
        let speaks = end > plan.recent_from && metric.matters(episode.value, episode.expected, &whole);
        let sums = buckets.get(&peak).copied().unwrap_or_default();
        speaks.then_some(Case { metric, subject, episode, sums, onset, peak, end, new_versions: Vec::new() })
    });
    let Some(mut case) = cases.max_by(|a, b| a.episode.severity.total_cmp(&b.episode.severity)) else { return Ok(None) };
    case.new_versions = history.new_versions(case.onset, case.end).into_iter().map(shown_version).collect();
    Ok(Some(Observation {
        kind: FindingKind::new(&format!("watch.{}", metric.name()))?,
        keys: subject.keys(metric.name()),
        severity: severity(case.episode),
        gross: None,
        explanation: case.explain(plan),
        // Numbers that JSON cannot hold would leave it out; the sentence says the same.
        detail: serde_json::value::to_raw_value(&case.detail(plan)).ok(),
    }))
}

/// What may come from a lane and then not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Attempts,
    Ratings,
}

impl Stream {
    pub(super) const ALL: [Self; 2] = [Self::Attempts, Self::Ratings];

    /// Whether something came in a bucket.
    pub(super) fn came(self, sums: &Sums) -> bool {
        match self {
            Self::Attempts => sums.attempts() > 0,
            Self::Ratings => sums.ratings > 0,
        }
    }
}

/// That a stream of a lane has stopped.
///
/// # Errors
/// Never in practice: the kind is a valid name.
pub(super) fn silent(subject: &Subject<'_>, stream: Stream, silence: &Silence) -> Result<Observation, NameError> {
    let name = subject.shown();
    match stream {
        Stream::Attempts => stopped(subject.keys("attempts"), &format!("No task of {name} has ended"), silence),
        Stream::Ratings => stopped(subject.keys("ratings"), &format!("Nobody has rated a task of {name}"), silence),
    }
}

/// That something does not come any more.
///
/// # Errors
/// Never in practice: the kind is a valid name.
pub(super) fn stopped(keys: BTreeMap<String, String>, what: &str, silence: &Silence) -> Result<Observation, NameError> {
    let before = match silence.longest_before_ms {
        ..=0 => "there was no such pause at all".to_owned(),
        longest => format!("no pause was longer than {}", hours(longest)),
    };
    let explanation = format!("{what} since {}, for {}; before that {before}.", shown_time(silence.since), hours(silence.silent_ms));
    Ok(Observation { kind: FindingKind::new("watch.stopped")?, keys, severity: SILENCE_SEVERITY, gross: None, explanation, detail: None })
}

impl Case<'_> {
    fn detail(&self, plan: &Plan) -> Detail {
        Detail {
            onset: self.onset.to_rfc3339(),
            peak: self.peak.to_rfc3339(),
            end: self.end.to_rfc3339(),
            ongoing: self.episode.ongoing,
            shape: self.episode.shape.clone(),
            value: self.episode.value,
            expected: self.episode.expected,
            low: self.episode.low,
            high: self.episode.high,
            attempts: self.sums.attempts(),
            succeeded: self.sums.succeeded,
            ratings: (self.metric == Metric::Satisfaction).then_some(self.sums.ratings),
            satisfied: (self.metric == Metric::Satisfaction).then_some(self.sums.satisfied),
            bucket_minutes: plan.span.as_secs() / 60,
            new_versions: self.new_versions.clone(),
        }
    }

    fn explain(&self, plan: &Plan) -> String {
        let Episode { value, expected, low, high, .. } = self.episode;
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
            Metric::Satisfaction => format!(
                "{} of {} ratings of {name} were good (4 or 5 of 5) {when}: {}, where {} was expected ({} to {})",
                self.sums.satisfied,
                self.sums.ratings,
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
        // What is read when the finding is long resolved has to be true then too.
        let lasts = if self.episode.ongoing {
            format!("was not over at {}", shown_time(plan.to))
        } else {
            format!("was over at {}", shown_time(self.end))
        };
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
            "episodes": [{"onset": "2026-11-25", "peak": "2026-11-25", "end": "2026-11-25T08:00:00Z", "ongoing": ongoing, "points": 9,
                          "type": "level_shift", "direction": "down", "score": 9.0, "severity": 81.6, "explanation": "…",
                          "value": value, "expected": 0.97, "low": 0.92, "high": 1.04}],
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
             expected (92 % to 100 %); it began at 2026-11-25 00:00 UTC and was not over at 2026-11-25 10:00 UTC. idea 1.2.0 did not run before."
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
        assert!(
            judged(&scored(false, 0.62), r#"{"recent_hours": 2}"#)
                .is_some_and(|found| found.explanation.contains("was over at 2026-11-25 09:00 UTC"))
        );
        assert!(judged(&scored(true, 0.95), "{}").is_none());
    }

    #[test]
    fn a_silence_says_how_long_and_how_unusual_it_is() {
        let lane = lane();
        let version = ("idea".to_owned(), "1.2.0".to_owned());
        let subject = Subject { lane: &lane, version: Some(&version) };
        let silence = Silence { since: UnixMs::parse_rfc3339(NOW).expect("a time"), silent_ms: 9_000_000, longest_before_ms: 3_600_000 };
        let found = silent(&subject, Stream::Attempts, &silence).expect("a valid kind");
        assert_eq!(
            found.explanation,
            "No task of implement_idea for model m/1 by idea 1.2.0 has ended since 2026-11-25 10:20 UTC, for 2.5 hours; before that no \
             pause was longer than 1 hour."
        );
        assert_eq!((found.keys["plugin"].as_str(), found.keys["plugin_version"].as_str()), ("idea", "1.2.0"));
    }
}
