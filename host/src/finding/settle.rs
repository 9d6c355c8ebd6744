//! What a report makes of what was known.

use std::collections::BTreeMap;

use super::{DETAIL_BYTES_MAX, EXPLANATION_CHARS_MAX, Finding, FindingId, FindingState, Observation, Report};

/// What became of a finding.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is new, or back.
    Opened(Finding),
    /// It is still there.
    Persists(Finding),
    /// It is gone.
    Resolved(Finding),
}

impl Change {
    /// The finding as it is now.
    #[must_use]
    pub fn finding(&self) -> &Finding {
        match self {
            Self::Opened(finding) | Self::Persists(finding) | Self::Resolved(finding) => finding,
        }
    }
}

/// What a report makes of what is known of its scope: everything open, and everything resolved that the report speaks of. In the
/// order of ids; what stays as it was is left out.
#[must_use]
pub fn settle(known: Vec<Finding>, report: &Report) -> Vec<Change> {
    let mut known: BTreeMap<FindingId, Finding> = known.into_iter().map(|finding| (finding.id, finding)).collect();
    let mut changes: BTreeMap<FindingId, Change> = BTreeMap::new();
    for (id, observation) in distinct(report) {
        let change = match known.remove(&id) {
            None => Change::Opened(first(id, observation, report)),
            Some(finding) if finding.state.is_open() => Change::Persists(seen(finding, FindingState::Persisting, observation, report)),
            Some(finding) => {
                let back = Finding {
                    opened: report.at,
                    resolved: None,
                    times_reopened: finding.times_reopened.saturating_add(1),
                    // Whoever saw it then has not seen that it is back.
                    acknowledged: None,
                    ..finding
                };
                Change::Opened(seen(back, FindingState::New, observation, report))
            }
        };
        changes.insert(id, change);
    }
    if report.complete {
        for (id, finding) in known.into_iter().filter(|(_, finding)| finding.state.is_open()) {
            let gone = Finding { state: FindingState::Resolved, resolved: Some(report.at), source: report.source, ..finding };
            changes.insert(id, Change::Resolved(gone));
        }
    }
    changes.into_values().collect()
}

/// The observations by identity. Of two about the same thing the worse one speaks, so that their order does not matter.
fn distinct(report: &Report) -> BTreeMap<FindingId, &Observation> {
    let rank = |o: &Observation| (o.severity, o.gross.as_ref().map_or(0, |gross| gross.minor));
    let mut distinct: BTreeMap<FindingId, &Observation> = BTreeMap::new();
    for observation in &report.found {
        let id = FindingId::of(&report.scope, &observation.kind, &observation.keys);
        let worst = distinct.entry(id).or_insert(observation);
        if (rank(observation), &observation.explanation) > (rank(worst), &worst.explanation) {
            *worst = observation;
        }
    }
    distinct
}

fn first(id: FindingId, observation: &Observation, report: &Report) -> Finding {
    let finding = Finding {
        id,
        scope: report.scope.clone(),
        kind: observation.kind.clone(),
        keys: observation.keys.clone(),
        state: FindingState::New,
        severity: 0,
        gross: None,
        explanation: String::new(),
        detail: None,
        source: report.source,
        first_seen: report.at,
        opened: report.at,
        last_seen: report.at,
        resolved: None,
        times_seen: 0,
        times_reopened: 0,
        acknowledged: None,
    };
    seen(finding, FindingState::New, observation, report)
}

fn seen(finding: Finding, state: FindingState, observation: &Observation, report: &Report) -> Finding {
    Finding {
        state,
        severity: observation.severity.min(100),
        gross: observation.gross.clone(),
        explanation: observation.explanation.chars().take(EXPLANATION_CHARS_MAX).collect(),
        detail: observation.detail.clone().filter(|detail| detail.get().len() <= DETAIL_BYTES_MAX),
        source: report.source,
        last_seen: report.at,
        times_seen: finding.times_seen.saturating_add(1),
        ..finding
    }
}
