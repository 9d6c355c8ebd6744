//! What users of other queues complain of, and what is not to happen here.

use std::sync::Arc;

use taskwarden::store::{LanePatch, Store};
use taskwarden::task::{NewTask, Priority, Tenant};

use super::support::{NOW, claim, lane, new_task, on_each_store, submit, succeed};

on_each_store!(what_a_full_lane_held_up_comes_out_by_priority, a_full_lane_of_one_tenant_holds_up_nobody_else);

fn capped(number: u32) -> LanePatch {
    LanePatch { concurrency_cap: Some(Some(number)), ..LanePatch::default() }
}

async fn what_a_full_lane_held_up_comes_out_by_priority(store: Arc<dyn Store>) {
    let narrow = lane("narrow", None);
    store.set_lane(&narrow, capped(1)).await.unwrap();
    submit(&store, (0..3).map(|_| new_task(narrow.clone(), Priority::Low)).collect()).await;
    let first = claim(&store, 5, NOW).await.tasks;
    assert_eq!(first.len(), 1);
    submit(&store, vec![new_task(narrow.clone(), Priority::Critical), new_task(narrow.clone(), Priority::High)]).await;
    assert!(claim(&store, 5, NOW).await.tasks.is_empty(), "the lane is full");
    let (mut held, mut order) = (first, Vec::new());
    while let Some(task) = held.pop() {
        store.finish(vec![succeed(&task, NOW)]).await.unwrap();
        held = claim(&store, 5, NOW).await.tasks;
        order.extend(held.iter().map(|task| task.priority));
    }
    assert_eq!(order, [Priority::Critical, Priority::High, Priority::Low, Priority::Low]);
}

async fn a_full_lane_of_one_tenant_holds_up_nobody_else(store: Arc<dyn Store>) {
    let (narrow, wide) = (lane("narrow", None), lane("wide", None));
    let of = |tenant: &str, lane: &taskwarden::task::LaneKey, priority| NewTask {
        tenant: Some(Tenant::new(tenant).unwrap()),
        ..new_task(lane.clone(), priority)
    };
    store.set_lane(&narrow, capped(2)).await.unwrap();
    submit(&store, (0..200).map(|_| of("busy", &narrow, Priority::Critical)).collect()).await;
    submit(&store, (0..20).map(|_| of("calm", &wide, Priority::Background)).collect()).await;
    let tasks = claim(&store, 30, NOW).await.tasks;
    let count = |name: &str| tasks.iter().filter(|task| task.tenant.as_ref().map(Tenant::as_str) == Some(name)).count();
    assert_eq!((count("busy"), count("calm")), (2, 20));
}
