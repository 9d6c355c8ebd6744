//! Part of the conformance suite: how tenants share a store, and what is shown of the hosts.

use std::sync::Arc;

use taskwarden::store::{ClaimedTask, Finish, LanePatch, Store};
use taskwarden::task::fair::Service;
use taskwarden::task::{NewTask, Priority, Tenant};

use super::support::{NOW, at, claim, lane, new_task, simple, submit, succeed};

fn of_tenant(name: &str, priority: Priority) -> NewTask {
    NewTask { tenant: Some(Tenant::new(name).unwrap()), ..new_task(lane("echo", None), priority) }
}

fn whose(task: &ClaimedTask) -> &str {
    task.tenant.as_ref().map_or("", Tenant::as_str)
}

pub(super) async fn a_noisy_tenant_does_not_delay_a_quiet_one(store: Arc<dyn Store>) {
    submit(&store, (0..500).map(|_| of_tenant("noisy", Priority::High)).collect()).await;
    for _ in 0..10 {
        let claimed = claim(&store, 10, NOW).await.tasks;
        store.finish(claimed.iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
    }
    // It comes last and is less urgent, and still gets every second slot, but no more than that.
    submit(&store, (0..10).map(|_| of_tenant("quiet", Priority::Low)).collect()).await;
    let claimed = claim(&store, 10, NOW).await.tasks;
    let quiet = claimed.iter().filter(|task| whose(task) == "quiet").count();
    assert!((4..=6).contains(&quiet), "{quiet} of ten");
    let shares = store.tenants().await.unwrap();
    let share = |name: Option<&str>| shares.iter().find(|share| share.tenant.as_ref().map(Tenant::as_str) == name).unwrap();
    let (noisy, quiet) = (share(Some("noisy")), share(Some("quiet")));
    assert_eq!((noisy.queued + noisy.running, quiet.queued + quiet.running), (400, 10));
    assert_eq!(noisy.weight, taskwarden::task::fair::WEIGHT_DEFAULT);
}

pub(super) async fn tenants_are_served_by_weight_and_not_by_count(store: Arc<dyn Store>) {
    let (large, small) = (Tenant::new("large").unwrap(), Tenant::new("small").unwrap());
    assert_eq!(store.set_tenant(Some(&large), 300).await.unwrap().weight, 300);
    assert_eq!(store.set_tenant(Some(&small), 100).await.unwrap().weight, 100);
    let tasks = |name: &'static str| (0..1_500).map(move |_| of_tenant(name, Priority::Normal));
    submit(&store, tasks("large").chain(tasks("small")).collect()).await;
    // The tasks of the small one are ten times cheaper, so it should run more of them, for a third of the service.
    let (mut large_us, mut small_us) = (0_u64, 0_u64);
    for _ in 0..200 {
        let claimed = claim(&store, 8, NOW).await.tasks;
        let end = |task: &ClaimedTask| {
            let (cost, had) = if whose(task) == "large" { (20_000, &mut large_us) } else { (2_000, &mut small_us) };
            *had += cost;
            Finish { service: Service::from_micros(cost), ..succeed(task, NOW) }
        };
        let mut end = end;
        store.finish(claimed.iter().map(&mut end).collect()).await.unwrap();
    }
    let share = large_us as f64 / (large_us + small_us) as f64;
    assert!((0.70..=0.80).contains(&share), "the tenant with three quarters of the weight had {share:.3} of the service");
}

pub(super) async fn within_a_tenant_priority_decides(store: Arc<dyn Store>) {
    for priority in [Priority::Background, Priority::Critical, Priority::Low] {
        submit(&store, vec![of_tenant("a", priority)]).await;
        submit(&store, vec![of_tenant("b", priority)]).await;
    }
    let claimed = claim(&store, 6, NOW).await.tasks;
    for name in ["a", "b"] {
        let order: Vec<Priority> = claimed.iter().filter(|task| whose(task) == name).map(|task| task.priority).collect();
        assert_eq!(order, [Priority::Critical, Priority::Low, Priority::Background], "{name}");
    }
    // They take turns.
    assert!(claimed.windows(2).all(|pair| whose(&pair[0]) != whose(&pair[1])), "{:?}", claimed.iter().map(whose).collect::<Vec<_>>());
}

pub(super) async fn lanes_are_served_by_weight_and_not_by_count(store: Arc<dyn Store>) {
    for (name, weight) in [("six", 6), ("three", 3)] {
        let patch = LanePatch { weight: Some(weight), ..LanePatch::default() };
        assert_eq!(store.set_lane(&lane(name, None), patch).await.unwrap().weight, weight);
    }
    // The heaviest lane has the dearest tasks, and the last one, whose weight is that of every lane, those that came first.
    let costs_us = [("one", 2_000), ("six", 20_000), ("three", 1_000)];
    for (name, _) in costs_us {
        let count = if name == "three" { 4_000 } else { 1_200 };
        submit(&store, (0..count).map(|_| new_task(lane(name, None), Priority::Normal)).collect()).await;
    }
    let mut had = std::collections::BTreeMap::<&str, u64>::new();
    for _ in 0..400 {
        let claimed = claim(&store, 8, NOW).await.tasks;
        let mut end = |task: &ClaimedTask| {
            let (name, cost) = costs_us.into_iter().find(|(name, _)| *name == task.lane.task_type.as_str()).unwrap();
            *had.entry(name).or_default() += cost;
            Finish { service: Service::from_micros(cost), ..succeed(task, NOW) }
        };
        store.finish(claimed.iter().map(&mut end).collect()).await.unwrap();
    }
    let all: u64 = had.values().sum();
    for (name, due) in [("six", 0.6), ("three", 0.3), ("one", 0.1)] {
        let share = had[name] as f64 / all as f64;
        assert!((share - due).abs() <= 0.1 * due, "lane {name} had {share:.3} of the service and {due} was due to it: {had:?}");
    }
}

pub(super) async fn lanes_of_one_weight_go_by_priority_and_age_and_an_idle_one_costs_nothing(store: Arc<dyn Store>) {
    store.set_lane(&lane("idle", None), LanePatch { weight: Some(50), ..LanePatch::default() }).await.unwrap();
    store.set_lane(&lane("heavy", None), LanePatch { weight: Some(2), ..LanePatch::default() }).await.unwrap();
    // Least urgent first, each a second after the one before and in a lane of its own.
    let priorities = [Priority::Background, Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
    for (seconds, priority) in (0..).zip(priorities) {
        let task = NewTask { run_at: at(seconds * 1_000), ..new_task(lane(priority.name(), None), priority) };
        store.submit(vec![task], at(seconds * 1_000)).await.unwrap();
    }
    let heavy: Vec<NewTask> = (0..20).map(|_| new_task(lane("heavy", None), Priority::Background)).collect();
    store.submit(heavy, at(5_000)).await.unwrap();
    let mut served = Vec::new();
    for _ in 0..25 {
        served.extend(claim(&store, 1, at(5_000)).await.tasks);
    }
    let ordinary = |tasks: &[ClaimedTask]| -> Vec<Priority> {
        tasks.iter().filter(|task| task.lane.task_type.as_str() != "heavy").map(|task| task.priority).collect()
    };
    // In the order in which they would come without the heavy lane, which takes turns with the five, and then with those that are left.
    let urgent_first: Vec<Priority> = priorities.into_iter().rev().collect();
    assert_eq!(ordinary(&served[..9]), urgent_first);
    assert!((3..=4).contains(&ordinary(&served[..5]).len()), "{:?}", served.iter().map(|task| task.lane.to_string()).collect::<Vec<_>>());
}

pub(super) async fn hosts_are_shown_with_what_they_hold(store: Arc<dyn Store>) {
    store.heartbeat("host-b", NOW, at(5_000)).await.unwrap();
    store.heartbeat("host-a", NOW, at(9_000)).await.unwrap();
    let ids = submit(&store, vec![simple(), simple()]).await;
    let claimed = claim(&store, 2, NOW).await.tasks;
    let hosts = store.hosts().await.unwrap();
    let shown: Vec<_> = hosts.iter().map(|host| (&*host.name, host.lease_until, host.running.len())).collect();
    assert_eq!(shown, [("host-a", at(9_000), 2), ("host-b", at(5_000), 0)]);
    let running = &hosts[0].running;
    assert_eq!(running.iter().map(|task| (task.id, task.attempt)).collect::<Vec<_>>(), ids.iter().map(|id| (*id, 1)).collect::<Vec<_>>());
    assert_eq!(running[0].lane, lane("echo", None));
    store.finish(claimed.iter().map(|task| succeed(task, NOW)).collect()).await.unwrap();
    assert!(store.hosts().await.unwrap().iter().all(|host| host.running.is_empty()));
}
