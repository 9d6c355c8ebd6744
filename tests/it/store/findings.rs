//! Findings, on every backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use taskwarden::finding::{
    Acknowledgement, Change, Currency, Finding, FindingKind, FindingScope, FindingState, GrossValue, Observation, Report,
};
use taskwarden::store::{FindingFilter, Reported, Store};
use taskwarden::task::TaskId;

use super::support::at;

conformance!(findings_are_new_then_persist_then_are_resolved, findings_are_listed_in_pages_and_acknowledged, resolved_findings_are_pruned);

pub(crate) fn observation(kind: &str, about: &str) -> Observation {
    Observation {
        kind: FindingKind::new(kind).unwrap(),
        keys: BTreeMap::from([("about".to_owned(), about.to_owned())]),
        severity: 60,
        gross: None,
        explanation: format!("{about} is not as it should be."),
        detail: None,
    }
}

pub(crate) fn report(scope: &str, at_ms: i64, found: Vec<Observation>) -> Report {
    Report { scope: FindingScope::new(scope).unwrap(), source: TaskId::new(), at: at(at_ms), complete: true, found }
}

async fn apply(store: &Arc<dyn Store>, report: &Report) -> Vec<String> {
    match store.report_findings(report.clone()).await.unwrap() {
        Reported::Superseded => vec!["superseded".to_owned()],
        Reported::Applied(changes) => {
            let mut told: Vec<String> = changes
                .iter()
                .map(|change| {
                    let what = match change {
                        Change::Opened(_) => "opened",
                        Change::Persists(_) => "persists",
                        Change::Resolved(_) => "resolved",
                    };
                    format!("{what} {}", change.finding().keys["about"])
                })
                .collect();
            told.sort();
            told
        }
    }
}

async fn all(store: &Arc<dyn Store>) -> Vec<Finding> {
    store.findings(FindingFilter { limit: 100, ..FindingFilter::default() }).await.unwrap().findings
}

async fn findings_are_new_then_persist_then_are_resolved(store: Arc<dyn Store>) {
    let money = Observation {
        gross: Some(GrossValue { minor: 12_345, currency: "EUR".parse::<Currency>().unwrap() }),
        detail: Some(RawValue::from_string(r#"{"rows": [1, 2]}"#.to_owned()).unwrap()),
        ..observation("break.amount", "a")
    };
    let first = report("books", 10, vec![money.clone(), observation("break.missing", "b")]);
    assert_eq!(apply(&store, &first).await, ["opened a", "opened b"]);
    assert_eq!(apply(&store, &first).await, ["superseded"], "the same task again");
    assert_eq!(apply(&store, &report("other", 11, vec![observation("x", "a")])).await, ["opened a"], "another scope, another finding");
    let kept = store.finding(all(&store).await.into_iter().find(|finding| finding.gross.is_some()).unwrap().id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.severity, kept.first_seen, kept.source), (FindingState::New, 60, at(10), first.source));
    assert_eq!((kept.gross.clone(), kept.explanation), (money.gross.clone(), money.explanation.clone()));
    assert_eq!(
        (kept.kind, kept.keys, kept.detail.unwrap().get().to_owned()),
        (money.kind.clone(), money.keys.clone(), r#"{"rows": [1, 2]}"#.to_owned())
    );

    let worse = Observation { severity: 90, ..money };
    assert_eq!(apply(&store, &report("books", 20, vec![worse.clone()])).await, ["persists a", "resolved b"]);
    assert_eq!(apply(&store, &report("books", 15, Vec::new())).await, ["superseded"], "about an earlier moment");
    let half = Report { complete: false, ..report("books", 30, vec![observation("break.missing", "b")]) };
    assert_eq!(apply(&store, &half).await, ["opened b"], "half a set resolves nothing");
    let a = store.finding(kept.id).await.unwrap().unwrap();
    assert_eq!((a.state, a.severity, a.times_seen, a.first_seen, a.last_seen), (FindingState::Persisting, 90, 2, at(10), at(20)));
    let last = report("books", 40, Vec::new());
    assert_eq!(apply(&store, &last).await, ["resolved a", "resolved b"]);
    let a = store.finding(kept.id).await.unwrap().unwrap();
    assert_eq!(
        (a.state, a.resolved, a.source, a.gross.map(|gross| gross.minor)),
        (FindingState::Resolved, Some(at(40)), last.source, Some(12_345))
    );
    let b = all(&store).await.into_iter().find(|finding| finding.keys["about"] == "b").unwrap();
    assert_eq!((b.times_reopened, b.first_seen, b.opened), (1, at(10), at(30)));
    assert_eq!(all(&store).await.len(), 3);
}

async fn findings_are_listed_in_pages_and_acknowledged(store: Arc<dyn Store>) {
    let found = (0..25).map(|number| observation(if number % 5 == 0 { "rare" } else { "common" }, &format!("{number:02}"))).collect();
    apply(&store, &report("one", 10, found)).await;
    let kept = (0..20).map(|number| observation(if number % 5 == 0 { "rare" } else { "common" }, &format!("{number:02}"))).collect();
    apply(&store, &report("one", 20, kept)).await;
    apply(&store, &report("two", 10, vec![observation("rare", "x")])).await;
    let list = async |filter: FindingFilter| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = store.findings(FindingFilter { before, limit: 4, ..filter.clone() }).await.unwrap();
            assert!(page.findings.len() <= 4);
            found.extend(page.findings);
            before = page.next;
            if before.is_none() {
                return found;
            }
        }
    };
    let any = FindingFilter::default();
    assert_eq!(list(any.clone()).await.len(), 26);
    assert_eq!(list(any.clone()).await[0].keys["about"], "x", "the latest first");
    let count = async |filter: FindingFilter| list(filter).await.len();
    let state = |state| FindingFilter { state: Some(state), ..any.clone() };
    assert_eq!(
        [count(state(FindingState::New)).await, count(state(FindingState::Persisting)).await, count(state(FindingState::Resolved)).await],
        [1, 20, 5]
    );
    let rare = FindingFilter { kind: Some(FindingKind::new("rare").unwrap()), ..any.clone() };
    assert_eq!(count(rare.clone()).await, 6);
    let rare_of_two = FindingFilter { scope: Some(FindingScope::new("two").unwrap()), ..rare };
    let only = list(rare_of_two).await.remove(0);
    let seen = Acknowledgement { at: at(50), note: "known".to_owned() };
    let noted = store.acknowledge_finding(only.id, Some(seen.clone())).await.unwrap().unwrap();
    assert_eq!(noted.acknowledged, Some(seen.clone()));
    let acknowledged = |yes| FindingFilter { acknowledged: Some(yes), ..any.clone() };
    assert_eq!((count(acknowledged(true)).await, count(acknowledged(false)).await), (1, 25));
    apply(&store, &report("two", 60, vec![observation("rare", "x")])).await;
    assert_eq!(store.finding(only.id).await.unwrap().unwrap().acknowledged, Some(seen));
    assert_eq!(store.acknowledge_finding(only.id, None).await.unwrap().unwrap().acknowledged, None);
    let stranger = taskwarden::finding::FindingId::of(&only.scope, &only.kind, &BTreeMap::new());
    assert!(store.acknowledge_finding(stranger, None).await.unwrap().is_none() && store.finding(stranger).await.unwrap().is_none());
}

async fn resolved_findings_are_pruned(store: Arc<dyn Store>) {
    apply(&store, &report("one", 10, (0..300).map(|number| observation("k", &number.to_string())).collect())).await;
    apply(&store, &report("one", 20, vec![observation("k", "0")])).await;
    assert_eq!(store.prune_findings(at(20), 1_000).await.unwrap(), 0);
    assert_eq!(store.prune_findings(at(21), 100).await.unwrap(), 100);
    assert_eq!(store.prune_findings(at(21), 1_000).await.unwrap(), 199);
    let left = all(&store).await;
    assert_eq!((left.len(), left[0].state), (1, FindingState::Persisting));
    assert_eq!(apply(&store, &report("one", 30, vec![observation("k", "7")])).await, ["opened 7", "resolved 0"]);
}
