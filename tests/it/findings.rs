//! What holds for findings whatever is reported, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use taskwarden::clock::UnixMs;
use taskwarden::finding::{Acknowledgement, Finding, FindingId, FindingKind, FindingScope, FindingState, Observation, Report, settle};
use taskwarden::task::TaskId;

fn observation(about: u8, severity: u8) -> Observation {
    Observation {
        kind: FindingKind::new(if about.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
        keys: BTreeMap::from([("about".to_owned(), (about / 2).to_string())]),
        severity,
        gross: None,
        explanation: format!("{about} at {severity}"),
        detail: None,
    }
}

fn scope() -> FindingScope {
    FindingScope::new("a check").unwrap()
}

fn id(about: u8) -> FindingId {
    let of = observation(about, 0);
    FindingId::of(&scope(), &of.kind, &of.keys)
}

/// What one run found, and whether it found all there is.
#[derive(Debug, Clone)]
struct Run {
    found: Vec<(u8, u8)>,
    complete: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (prop::collection::vec((0..8_u8, 0..=255_u8), 0..12), prop::bool::weighted(0.8));
    prop::collection::vec(run.prop_map(|(found, complete)| Run { found, complete }), 1..12)
}

fn report(run: &Run, at: usize) -> Report {
    Report {
        scope: scope(),
        source: TaskId::new(),
        at: UnixMs(1_000 + i64::try_from(at).unwrap()),
        complete: run.complete,
        found: run.found.iter().map(|(about, severity)| observation(*about, *severity)).collect(),
    }
}

fn take_over(known: &mut BTreeMap<FindingId, Finding>, report: &Report) {
    // As a store does: all that is open, and all that the report speaks of.
    let spoken: BTreeSet<FindingId> = report.found.iter().map(|o| FindingId::of(&report.scope, &o.kind, &o.keys)).collect();
    let relevant = known.values().filter(|finding| finding.state.is_open() || spoken.contains(&finding.id)).cloned().collect();
    for change in settle(relevant, report) {
        known.insert(change.finding().id, change.finding().clone());
    }
}

proptest! {
    #[test]
    fn what_is_open_is_what_was_found_last(runs in runs()) {
        let mut known = BTreeMap::new();
        for (at, run) in runs.iter().enumerate() {
            let before = known.clone();
            let report = report(run, at);
            take_over(&mut known, &report);
            let found: BTreeSet<FindingId> = run.found.iter().map(|(about, _)| id(*about)).collect();
            for (id, finding) in &known {
                let old: Option<&Finding> = before.get(id);
                let was_open = old.is_some_and(|old| old.state.is_open());
                let expected = match (found.contains(id), was_open, run.complete) {
                    (true, true, _) => FindingState::Persisting,
                    (true, false, _) => FindingState::New,
                    (false, true, false) => old.unwrap().state,
                    (false, _, _) => FindingState::Resolved,
                };
                prop_assert_eq!(finding.state, expected);
                prop_assert_eq!(finding.resolved.is_some(), finding.state == FindingState::Resolved);
                prop_assert_eq!(finding.first_seen, old.map_or(report.at, |old| old.first_seen));
                prop_assert_eq!(finding.last_seen == report.at, found.contains(id));
                prop_assert!(finding.first_seen <= finding.opened && finding.opened <= finding.last_seen);
                prop_assert!(finding.severity <= 100);
            }
            prop_assert!(found.iter().all(|id| known.contains_key(id)), "nothing that was found is lost");
        }
        // Each of the eight things has a count of its own.
        for about in 0..8 {
            let seen = runs.iter().filter(|run| run.found.iter().any(|(other, _)| *other == about)).count();
            prop_assert_eq!(known.get(&id(about)).map_or(0, |finding| finding.times_seen as usize), seen);
        }
    }

    #[test]
    fn the_order_within_a_report_does_not_matter(runs in runs(), seed in any::<u64>()) {
        use rand::SeedableRng as _;
        use rand::seq::SliceRandom as _;
        let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
        let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
        for (at, run) in runs.iter().enumerate() {
            let first = report(run, at);
            let mut second = first.clone();
            second.found.shuffle(&mut random);
            take_over(&mut one, &first);
            take_over(&mut other, &second);
        }
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
}

#[test]
fn what_comes_back_has_been_seen_by_nobody() {
    let run = |found: &[u8]| Run { found: found.iter().map(|about| (*about, 50)).collect(), complete: true };
    let mut known = BTreeMap::new();
    take_over(&mut known, &report(&run(&[1]), 0));
    known.get_mut(&id(1)).unwrap().acknowledged = Some(Acknowledgement { at: UnixMs(1_000), note: "mine".to_owned() });
    take_over(&mut known, &report(&run(&[1]), 1));
    assert!(known[&id(1)].acknowledged.is_some(), "it persists, and so does that somebody has seen it");
    take_over(&mut known, &report(&run(&[]), 2));
    assert!(known[&id(1)].acknowledged.is_some());
    take_over(&mut known, &report(&run(&[1]), 3));
    let back = &known[&id(1)];
    assert_eq!((back.state, back.times_reopened, back.first_seen, back.opened), (FindingState::New, 1, UnixMs(1_000), UnixMs(1_003)));
    assert_eq!(back.acknowledged, None);
}

#[test]
fn ids_differ_where_anything_they_are_made_of_does() {
    let keys = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
    let all: BTreeSet<String> = [
        ("s", "k", keys(&[])),
        ("t", "k", keys(&[])),
        ("s", "l", keys(&[])),
        ("s", "k", keys(&[("a", "b")])),
        ("s", "k", keys(&[("a", ""), ("b", "")])),
        ("s", "k", keys(&[("ab", "")])),
        ("sk", "k", keys(&[])),
    ]
    .into_iter()
    .map(|(scope, kind, keys)| FindingId::of(&FindingScope::new(scope).unwrap(), &FindingKind::new(kind).unwrap(), &keys).to_string())
    .collect();
    assert_eq!(all.len(), 7);
    // What is printed here is in databases already.
    assert_eq!(id(0).to_string(), "ee811d9933eafff06551730e79d30334");
    assert_eq!(id(0).to_string().parse(), Ok(id(0)));
    assert!("ee811d".parse::<FindingId>().is_err());
}
