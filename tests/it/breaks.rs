//! What reconciliations leave behind becomes findings, also when the host that ran them died before it could say so.

use std::sync::Arc;
use std::time::Duration;

use taskwarden::finding::FindingState;
use taskwarden::store::{FindingFilter, Store};
use taskwarden::task::{Output, Priority, TaskId};

use crate::schedules::World;
use crate::store::support::{claim, lane, new_task, succeed};

const HEAD: &str = "id,lifecycle,first_seen,age_days,priority,outcome,leg,class,rule,currency,left_currency,left_amount,right_amount,\
    difference,gross_value,becomes_break_on,kind,status,created,order_id,payment_intent,left_source,right_source,balance_transaction,suggestions\n";

fn row(id: &str) -> String {
    format!("{id},new,2026-11-25,3,2,break,order_charge,missing_in_stripe,no_partner,eur,eur,1999,,-1999,1999,,charge,paid,,A1,,,,,\n")
}

/// A reconciliation that has ended, on record.
async fn reconciled(store: &Arc<dyn Store>, as_of: &str, breaks: &[&str]) -> TaskId {
    let now = taskwarden::clock::UnixMs::parse_rfc3339(as_of).expect("a time");
    store.heartbeat("host-a", now, now.plus(Duration::from_secs(60))).await.expect("alive");
    let new = new_task(lane("stripe.reconcile", None), Priority::Normal);
    store.submit(vec![new], now).await.expect("submitted");
    let task = claim(store, 1, now).await.tasks.remove(0);
    let mut done = succeed(&task, now);
    let verdict = if breaks.is_empty() { "RECONCILED" } else { "BREAKS" };
    done.result = Some(format!(r#"{{"verdict":"{verdict}","as_of":"{as_of}"}}"#).into());
    let rows: String = breaks.iter().map(|id| row(id)).collect();
    let bytes = format!("{HEAD}{rows}").into_bytes().into();
    done.outputs = vec![Output { name: "breaks.csv".to_owned(), media_type: "text/csv".to_owned(), bytes }];
    store.finish(vec![done]).await.expect("recorded");
    task.id
}

/// The states of the breaks, once there are as many findings as expected.
async fn states(store: &Arc<dyn Store>, until: impl Fn(&[(String, FindingState)]) -> bool) -> Vec<(String, FindingState)> {
    for _ in 0..100_000 {
        let page = store.findings(FindingFilter { limit: 10, ..FindingFilter::default() }).await.expect("a page");
        let mut found: Vec<_> = page.findings.iter().map(|finding| (finding.keys["break"].clone(), finding.state)).collect();
        found.sort();
        if until(&found) {
            return found;
        }
        tokio::task::yield_now().await;
    }
    panic!("the findings did not come");
}

#[tokio::test]
async fn breaks_are_found_at_the_start_of_a_host_in_the_order_of_the_runs() {
    let world = World::at("2026-11-25T12:00:00Z").await;
    let store = world.store();
    reconciled(&store, "2026-11-24T00:00:00Z", &["brk_1", "brk_2"]).await;
    let last = reconciled(&store, "2026-11-25T00:00:00Z", &["brk_2"]).await;
    let host = world.host("a");
    let found = states(&store, |found| found.iter().any(|(_, state)| *state == FindingState::Resolved)).await;
    assert_eq!(found, [("brk_1".to_owned(), FindingState::Resolved), ("brk_2".to_owned(), FindingState::Persisting)]);
    let page = store.findings(FindingFilter { limit: 10, ..FindingFilter::default() }).await.expect("a page");
    assert!(page.findings.iter().all(|finding| finding.source == last && finding.gross.as_ref().is_some_and(|gross| gross.minor == 1_999)));
    host.stop().await;
    // Told again at the next start, nothing changes; a run without breaks resolves what is left.
    reconciled(&store, "2026-11-25T06:00:00Z", &[]).await;
    let host = world.host("a");
    let found = states(&store, |found| found.iter().all(|(_, state)| *state == FindingState::Resolved)).await;
    assert_eq!(found.len(), 2);
    host.stop().await;
}
