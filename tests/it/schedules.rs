//! Schedules over time: hosts that come and go on a clock that is moved by hand. No guest thread runs here, so what was submitted stays
//! to be looked at.

use std::sync::Arc;
use std::time::Duration;

use taskwarden::clock::{SystemClock, UnixMs, VirtualClock};
use taskwarden::event::{Bells, EventBus};
use taskwarden::limits::Limits;
use taskwarden::metrics::Metrics;
use taskwarden::plugin::{Manifest, pack};
use taskwarden::registry::{Code, Plugin, Registry};
use taskwarden::runtime::{Runtime, RuntimeConfig};
use taskwarden::schedule::{CatchUp, Schedule};
use taskwarden::scheduler::{self, SchedulerConfig, SchedulerParts};
use taskwarden::store::{NewSchedule, Store, TaskFilter};
use taskwarden::task::{DefaultsByType, RetryPolicy, Task};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::schedules::{new_schedule, schedule_name, timetable};
use crate::store::sqlite::{Opened, open};

const HOUR: Duration = Duration::from_secs(3_600);

/// One database and one clock.
pub(crate) struct World {
    opened: Opened,
    clock: Arc<VirtualClock>,
    registry: Arc<Registry>,
    runtime: Arc<Runtime>,
}

pub(crate) struct RunningHost {
    shutdown: CancellationToken,
    run: JoinHandle<()>,
}

impl RunningHost {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.run.await.expect("an orderly end");
    }
}

impl World {
    pub(crate) async fn at(start: &str) -> Self {
        let config = RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() };
        let runtime = Arc::new(Runtime::new(config, SystemClock::shared()).expect("an engine"));
        let manifest = Manifest::parse("name = \"echo\"\nversion = \"1.0.0\"\ntask_types = [\"echo\"]\n").expect("a manifest");
        let artifact = pack(&crate::guests::text("noop"), &manifest).expect("packed");
        let compiled = runtime.compile(&artifact, Some(&manifest), u64::MAX).expect("compiled");
        let registry = Arc::new(Registry::default());
        let digest_hex = "00".repeat(32);
        let artifact_bytes = artifact.len() as u64;
        registry
            .insert(Plugin {
                manifest,
                code: Code::Component(compiled),
                digest_hex,
                artifact_bytes,
                grants: Arc::default(),
                built_in: false,
            })
            .expect("no tie");
        Self { opened: open().await, clock: VirtualClock::starting_at(ms(start)), registry, runtime }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.opened.shared()
    }

    pub(crate) fn host(&self, name: &str) -> RunningHost {
        let config = SchedulerConfig {
            urgent_slots: 1,
            claim_max_beside_urgent: 32,
            host: Arc::from(name),
            slots: 0,
            ceilings: Limits::ceilings(),
            task_defaults: DefaultsByType::default(),
            payload_bytes_max: 1 << 20,
            retry: RetryPolicy::default(),
            lease: HOUR * 1_000,
            poll: HOUR,
            run_ahead: Duration::ZERO,
            drain: Duration::ZERO,
            retention: None,
            blob_retention: None,
            stripe_body_retention: None,
            alone: false,
            jitter_seed: 1,
        };
        let parts = SchedulerParts {
            store: self.store(),
            runtime: Arc::clone(&self.runtime),
            registry: Arc::clone(&self.registry),
            outgoing: Arc::default(),
            events: EventBus::new(16),
            bells: Arc::new(Bells::default()),
            metrics: Arc::new(Metrics::new()),
            clock: self.clock.clone(),
        };
        let shutdown = CancellationToken::new();
        RunningHost { run: tokio::spawn(scheduler::run(config, parts, shutdown.clone())), shutdown }
    }

    async fn put(&self, new: NewSchedule) {
        use taskwarden::clock::Clock as _;
        let next_due = new.timetable.next_after(self.clock.now());
        self.store().put_schedule(NewSchedule { next_due, ..new }, 10, self.clock.now()).await.expect("put");
    }

    async fn schedule(&self, name: &str) -> Schedule {
        self.store().schedule(&schedule_name(name)).await.expect("the store answers").expect("it is there")
    }

    /// Moves the clock from one due time to the next, and on only when every schedule has decided, until this one has about this run.
    async fn until(&self, name: &str, decided: &str) {
        use taskwarden::clock::Clock as _;
        for _ in 0..100_000 {
            let schedules = self.store().schedules().await.expect("the store answers");
            if schedules.iter().any(|schedule| schedule.name.as_str() == name && schedule.last_due == Some(ms(decided))) {
                return;
            }
            let now = self.clock.now();
            let next = schedules.iter().filter_map(|schedule| schedule.next_due).min().expect("something is due some time");
            // A host that just went to sleep may have missed the last move; it sleeps for some seconds at most.
            self.clock.advance(next.since(now).max(Duration::from_millis(10)));
            tokio::task::yield_now().await;
        }
        panic!("{name} has not decided about {decided}: {:?}", self.schedule(name).await);
    }

    /// Everything that was submitted, oldest first.
    async fn tasks(&self) -> Vec<Task> {
        let page = self.store().tasks(TaskFilter { limit: 500, ..TaskFilter::default() }).await.expect("a page");
        page.tasks.into_iter().rev().collect()
    }

    /// The idempotency keys of the same.
    async fn keys(&self) -> Vec<String> {
        let key = |task: Task| task.idempotency_key.expect("a schedule's task has a key").to_string();
        self.tasks().await.into_iter().map(key).collect()
    }
}

fn ms(text: &str) -> UnixMs {
    UnixMs::parse_rfc3339(text).expect("a time")
}

#[tokio::test]
async fn a_run_is_submitted_when_it_is_due_and_carries_its_date() {
    let world = World::at("2026-11-25T20:00:00Z").await;
    world.put(new_schedule("nightly", "30 0 * * *", 0)).await;
    let host = world.host("a");
    world.until("nightly", "2026-11-25T23:30:00Z").await;
    let tasks = world.tasks().await;
    assert_eq!(tasks.len(), 1);
    // In Berlin it is the next day already.
    assert_eq!(tasks[0].payload.get(), r#"{"of":  "2026-11-26"}"#);
    assert_eq!((tasks[0].lane.to_string(), tasks[0].plan.tags.clone()), ("echo/m 1".to_owned(), vec!["nightly".to_owned()]));
    assert_eq!(tasks[0].idempotency_key.as_ref().map(|key| key.as_str()), Some("schedule:nightly:2026-11-25T23:30:00.000Z"));
    let schedule = world.schedule("nightly").await;
    assert_eq!((schedule.last_task, schedule.next_due), (Some(tasks[0].id), Some(ms("2026-11-26T23:30:00Z"))));
    host.stop().await;
}

#[tokio::test]
async fn on_the_day_the_clocks_are_put_back_a_time_of_day_runs_once_and_every_hour_runs_25_times() {
    let world = World::at("2026-10-24T21:30:00Z").await;
    world.put(new_schedule("night", "30 2 * * *", 0)).await;
    world.put(new_schedule("hourly", "0 * * * *", 0)).await;
    let host = world.host("a");
    world.until("hourly", "2026-10-25T23:00:00Z").await;
    let keys = world.keys().await;
    assert_eq!(keys.iter().filter(|key| key.contains("night:")).collect::<Vec<_>>(), ["schedule:night:2026-10-25T00:30:00.000Z"]);
    // From midnight to midnight in Berlin, both included: 24 hours and the one that came twice.
    assert_eq!(keys.iter().filter(|key| key.contains("hourly:")).count(), 26);
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_was_down_for_two_days_makes_up_for_what_it_missed_with_one_run_or_none() {
    let world = World::at("2026-11-25T20:00:00Z").await;
    world.put(NewSchedule { catch_up: CatchUp::Once, ..new_schedule("once", "0 * * * *", 0) }).await;
    world.put(new_schedule("skip", "0 * * * *", 0)).await;
    let host = world.host("a");
    world.until("once", "2026-11-25T21:00:00Z").await;
    world.until("skip", "2026-11-25T21:00:00Z").await;
    host.stop().await;
    world.clock.advance(48 * HOUR + Duration::from_secs(600));
    let host = world.host("a");
    world.until("once", "2026-11-27T21:00:00Z").await;
    world.until("skip", "2026-11-27T21:00:00Z").await;
    let mut keys = world.keys().await;
    keys.sort();
    let expected = ["once:2026-11-25T21:00:00.000Z", "once:2026-11-27T21:00:00.000Z", "skip:2026-11-25T21:00:00.000Z"];
    assert_eq!(keys, expected.map(|key| format!("schedule:{key}")));
    let skipped = world.schedule("skip").await;
    assert!(skipped.last_problem.is_some_and(|why| why.contains("2026-11-27T21:00:00.000Z")), "and it says so");
    // From here on both go on as if nothing had been.
    world.until("once", "2026-11-27T22:00:00Z").await;
    world.until("skip", "2026-11-27T22:00:00Z").await;
    assert_eq!(world.keys().await.len(), 5);
    assert_eq!(world.schedule("skip").await.last_problem, None);
    host.stop().await;
}

#[tokio::test]
async fn two_hosts_submit_each_run_once() {
    let world = World::at("2026-11-25T20:30:00Z").await;
    for name in ["a", "b", "c"] {
        world.put(new_schedule(name, "*/10 * * * *", 0)).await;
    }
    let hosts = [world.host("one"), world.host("two")];
    for name in ["a", "b", "c"] {
        world.until(name, "2026-11-25T23:30:00Z").await;
    }
    let mut keys = world.keys().await;
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((all, keys.len()), (54, 54), "18 runs of three schedules");
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test]
async fn a_host_that_died_between_the_two_steps_is_followed_by_one_that_submits_nothing_twice() {
    let world = World::at("2026-11-25T20:30:00Z").await;
    world.put(new_schedule("nightly", "0 22 * * *", 0)).await;
    let due = ms("2026-11-25T21:00:00Z");
    // The first of the two steps, as the host that died took it.
    let before = world.schedule("nightly").await.task(due).expect("a task");
    let first = world.store().submit(vec![before], due).await.expect("submitted").remove(0);
    let host = world.host("a");
    world.until("nightly", "2026-11-25T21:00:00Z").await;
    assert_eq!(world.tasks().await.len(), 1);
    assert_eq!(world.schedule("nightly").await.last_task, Some(first.id));
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_no_plugin_takes_is_left_out_and_said() {
    let world = World::at("2026-11-25T20:30:00Z").await;
    world.put(new_schedule("nightly", "0 22 * * *", 0)).await;
    world.put(NewSchedule { timetable: timetable("30 22 * * *", "Europe/Berlin"), ..new_schedule("later", "* * * * *", 0) }).await;
    assert!(world.registry.remove("echo").expect("no tie"));
    let host = world.host("a");
    world.until("later", "2026-11-25T21:30:00Z").await;
    assert!(world.tasks().await.is_empty());
    let schedule = world.schedule("nightly").await;
    assert_eq!((schedule.last_due, schedule.next_due), (Some(ms("2026-11-25T21:00:00Z")), Some(ms("2026-11-26T21:00:00Z"))));
    assert!(schedule.last_problem.is_some_and(|why| why.contains("echo/m 1")));
    host.stop().await;
}
