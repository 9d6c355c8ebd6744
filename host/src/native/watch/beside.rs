//! A version beside the others of its lane at the same time. One that was bad from its first attempt has no better past to be compared with,
//! and while it runs beside a good one the lane as a whole may show nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::Subject;
use super::request::Plan;
use super::series::{History, Metric, Sums, Version};
use super::words::{percent, shown_time};
use crate::clock::UnixMs;
use crate::finding::{FindingKind, Observation};
use crate::task::{LaneKey, NameError};

/// So many standard errors lower is chance once in ten thousand looks; looks are many.
const ERRORS_MIN: f64 = 3.7;
/// With fewer cases than this on either side nothing is told.
const CASES_MIN: f64 = 10.0;
/// A finding at the boundary is this bad, ...
const SEVERITY_MIN: f64 = 50.0;
/// ... and worse by this for each standard error more.
const SEVERITY_EACH: f64 = 5.0;

/// What programs get beside the sentence.
#[derive(Debug, Serialize)]
struct Detail {
    from: String,
    to: String,
    good: u64,
    cases: u64,
    good_of_others: u64,
    cases_of_others: u64,
    standard_errors: f64,
}

/// Shares of good cases: of a version, and of the others in the buckets in which it ran.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    own: Sums,
    others: Sums,
    first: UnixMs,
}

/// A version whose share is lower than that of the others at the same time, if it is.
///
/// # Errors
/// Never in practice: the kind is a valid name.
pub(super) fn observation(
    metric: Metric,
    lane: &LaneKey,
    version: &Version,
    history: &History,
    plan: &Plan,
) -> Result<Option<Observation>, NameError> {
    let Some(shares) = history.by_version.get(version).and_then(|buckets| shares(buckets, &history.all, plan)) else { return Ok(None) };
    let ((good, cases), (good_of_others, cases_of_others)) = (metric.parts(&shares.own), metric.parts(&shares.others));
    let Some(errors) = errors_lower((good, cases), (good_of_others, cases_of_others)) else { return Ok(None) };
    let (share, of_others) = (good as f64 / cases as f64, good_of_others as f64 / cases_of_others as f64);
    if errors < ERRORS_MIN || !metric.matters(share, of_others, &shares.own) {
        return Ok(None);
    }
    let subject = Subject { lane, version: Some(version) };
    let what = if metric == Metric::Satisfaction { "ratings" } else { "attempts" };
    let were = if metric == Metric::Satisfaction { "were good (4 or 5 of 5)" } else { "succeeded" };
    let detail = Detail {
        from: shares.first.to_rfc3339(),
        to: plan.to.to_rfc3339(),
        good,
        cases,
        good_of_others,
        cases_of_others,
        standard_errors: errors,
    };
    Ok(Some(Observation {
        kind: FindingKind::new("watch.version")?,
        keys: subject.keys(metric.name()),
        // A saturating cast of what is bounded above.
        severity: (SEVERITY_MIN + SEVERITY_EACH * (errors - ERRORS_MIN)).min(100.0) as u8,
        gross: None,
        explanation: format!(
            "{good} of {cases} {what} of {} {were} from {} on: {}, where other versions at the same time had {} ({good_of_others} of {cases_of_others}).",
            subject.shown(),
            shown_time(shares.first),
            percent(share),
            percent(of_others),
        ),
        detail: serde_json::value::to_raw_value(&detail).ok(),
    }))
}

/// Sums over what is recent.
fn shares(own: &BTreeMap<UnixMs, Sums>, all: &BTreeMap<UnixMs, Sums>, plan: &Plan) -> Option<Shares> {
    let recent = plan.recent_from..plan.to;
    if recent.is_empty() {
        return None;
    }
    let mut shares: Option<Shares> = None;
    for (at, sums) in own.range(recent) {
        let shares = shares.get_or_insert(Shares { own: Sums::default(), others: Sums::default(), first: *at });
        shares.own += *sums;
        shares.others += all.get(at).copied().unwrap_or_default().without(sums);
    }
    shares
}

/// By how many standard errors the first share is lower than the second, if both are of enough cases to tell.
fn errors_lower((good, cases): (u64, u64), (good_of_others, cases_of_others): (u64, u64)) -> Option<f64> {
    let (cases, others) = (cases as f64, cases_of_others as f64);
    let together = (good + good_of_others) as f64 / (cases + others);
    if cases.min(others) < CASES_MIN {
        return None;
    }
    let error = (together * (1.0 - together) * (1.0 / cases + 1.0 / others)).sqrt();
    let lower = good_of_others as f64 / others - good as f64 / cases;
    (error > 0.0).then(|| lower / error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskType;

    fn seen(own: (u64, u64), others: (u64, u64)) -> Option<Observation> {
        let plan = Plan::read("{}", UnixMs(1_800_000_000_000)).expect("good");
        let at = UnixMs(plan.to.0 - plan.span_ms());
        let version = |text: &str| ("idea".to_owned(), text.to_owned());
        let sums = |(succeeded, failed): (u64, u64)| Sums { succeeded, failed, ..Sums::default() };
        let mut history = History::default();
        let mut all = sums(own);
        all += sums(others);
        history.all.insert(at, all);
        history.by_version.insert(version("1.2.0"), BTreeMap::from([(at, sums(own))]));
        let lane = LaneKey { task_type: TaskType::new("implement_idea").expect("a type"), ai_model: None };
        observation(Metric::SuccessRate, &lane, &version("1.2.0"), &history, &plan).expect("a valid kind")
    }

    #[test]
    fn a_version_that_was_never_good_is_seen_beside_one_that_is() {
        let found = seen((20, 20), (480, 20)).expect("a finding");
        assert!(
            found.explanation.starts_with("20 of 40 attempts of implement_idea by idea 1.2.0 succeeded from ")
                && found.explanation.ends_with(": 50 %, where other versions at the same time had 96 % (480 of 500)."),
            "{}",
            found.explanation
        );
        assert_eq!((found.kind.as_str(), found.keys["plugin_version"].as_str(), found.severity), ("watch.version", "1.2.0", 84));
    }

    #[test]
    fn chance_few_cases_and_small_differences_are_no_findings() {
        for (own, others) in [
            ((38, 2), (480, 20)),
            ((1, 2), (480, 20)),
            ((0, 0), (480, 20)),
            ((40, 40), (0, 0)),
            ((9_700, 300), (99_000, 1_000)),
            ((40, 0), (480, 20)),
        ] {
            assert!(seen(own, others).is_none(), "{own:?} beside {others:?}");
        }
    }
}
