//! Schedules, on every backend.

use std::sync::Arc;

use serde_json::value::RawValue;
use taskwarden::schedule::{CatchUp, Cron, Schedule, ScheduleName, TaskTemplate, Timetable};
use taskwarden::store::{Advance, Conflict, NewSchedule, Store, StoreError};
use taskwarden::task::{Priority, TaskId, TaskPlan, Tenant};
use taskwarden::zone::Zone;

use super::support::{NOW, at, lane};

conformance!(schedules_are_put_and_replaced, schedules_become_due_in_order_and_rest_when_paused, a_schedule_is_moved_on_once);

pub(crate) fn schedule_name(text: &str) -> ScheduleName {
    ScheduleName::new(text).unwrap()
}

pub(crate) fn timetable(cron: &str, zone: &str) -> Timetable {
    Timetable { cron: Cron::parse(cron).unwrap(), zone: Zone::parse(zone).unwrap() }
}

pub(crate) fn new_schedule(name: &str, cron: &str, next_due_ms: i64) -> NewSchedule {
    NewSchedule {
        name: schedule_name(name),
        timetable: timetable(cron, "Europe/Berlin"),
        catch_up: CatchUp::Skip,
        paused: false,
        task: TaskTemplate {
            lane: lane("echo", Some("m 1")),
            priority: Priority::High,
            payload: RawValue::from_string(r#"{"of":  "${due.date}"}"#.to_owned()).unwrap(),
            plan: TaskPlan { tags: vec!["nightly".to_owned()], ..TaskPlan::default() },
            max_attempts: 2,
            tenant: Some(Tenant::new("acme").unwrap()),
        },
        next_due: Some(at(next_due_ms)),
    }
}

async fn get(store: &Arc<dyn Store>, name: &str) -> Schedule {
    store.schedule(&schedule_name(name)).await.unwrap().expect("there is such a schedule")
}

async fn schedules_are_put_and_replaced(store: Arc<dyn Store>) {
    let first = new_schedule("nightly", "0 2 * * *", 10);
    assert!(store.put_schedule(first.clone(), 2, NOW).await.unwrap());
    let kept = get(&store, "nightly").await;
    assert_eq!((&kept.timetable, kept.catch_up, kept.paused, kept.revision), (&first.timetable, CatchUp::Skip, false, 1));
    assert_eq!((kept.next_due, kept.last_due, kept.last_task, kept.last_problem), (Some(at(10)), None, None, None));
    assert_eq!((kept.task.lane, kept.task.priority, kept.task.max_attempts), (first.task.lane, Priority::High, 2));
    assert_eq!((kept.task.payload.get(), kept.task.plan, kept.task.tenant), (first.task.payload.get(), first.task.plan, first.task.tenant));

    // The same timetable again keeps a run that is overdue; another one does not.
    assert!(!store.put_schedule(new_schedule("nightly", "0 2 * * *", 99), 2, at(50)).await.unwrap());
    let again = get(&store, "nightly").await;
    assert_eq!((again.next_due, again.revision), (Some(at(10)), 2));
    store.put_schedule(new_schedule("nightly", "0 3 * * *", 99), 2, at(50)).await.unwrap();
    assert_eq!(get(&store, "nightly").await.next_due, Some(at(99)));

    store.put_schedule(new_schedule("hourly", "0 * * * *", 5), 2, NOW).await.unwrap();
    let refused = store.put_schedule(new_schedule("third", "0 * * * *", 5), 2, NOW).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(Conflict::TooManySchedules { max: 2 })), "{refused}");
    assert!(!store.put_schedule(new_schedule("hourly", "0 * * * *", 5), 2, NOW).await.unwrap(), "replacing needs no room");
    let names: Vec<_> = store.schedules().await.unwrap().into_iter().map(|schedule| schedule.name.to_string()).collect();
    assert_eq!(names, ["hourly", "nightly"]);
    assert!(store.remove_schedule(&schedule_name("nightly")).await.unwrap());
    assert!(!store.remove_schedule(&schedule_name("nightly")).await.unwrap());
    assert!(store.schedule(&schedule_name("nightly")).await.unwrap().is_none());
}

async fn schedules_become_due_in_order_and_rest_when_paused(store: Arc<dyn Store>) {
    for (name, due) in [("c", 30), ("a", 10), ("b", 20)] {
        store.put_schedule(new_schedule(name, "0 2 * * *", due), 10, NOW).await.unwrap();
    }
    let due = async |now: i64, limit: u32| {
        let found = store.due_schedules(at(now), limit).await.unwrap();
        (found.due.iter().map(|schedule| schedule.name.to_string()).collect::<Vec<_>>().join(""), found.next_due)
    };
    assert_eq!(due(9, 10).await, (String::new(), Some(at(10))));
    assert_eq!(due(20, 10).await, ("ab".to_owned(), Some(at(30))));
    assert_eq!(due(99, 2).await, ("ab".to_owned(), None));
    let pause = async |name: &str, revision: i64, paused: bool, next: i64| {
        store.pause_schedule(&schedule_name(name), revision, paused, Some(at(next))).await.unwrap()
    };
    assert!(!pause("a", 2, true, 40).await && !pause("x", 1, true, 40).await, "another revision, another name");
    assert!(pause("a", 1, true, 40).await);
    assert_eq!(due(25, 10).await, ("b".to_owned(), Some(at(30))));
    assert!(pause("a", 1, true, 41).await && pause("a", 1, false, 50).await);
    assert_eq!(get(&store, "a").await.next_due, Some(at(50)), "what was due while it rested is not made up for");
    assert!(pause("a", 1, false, 60).await);
    assert_eq!(get(&store, "a").await.next_due, Some(at(50)), "waking what is awake changes nothing");
}

async fn a_schedule_is_moved_on_once(store: Arc<dyn Store>) {
    store.put_schedule(new_schedule("nightly", "0 2 * * *", 10), 10, NOW).await.unwrap();
    let task = TaskId::new();
    let step = Advance {
        name: schedule_name("nightly"),
        revision: 1,
        from: at(10),
        decided: at(15),
        next_due: Some(at(20)),
        task: Some(task),
        problem: None,
    };
    assert!(store.advance_schedule(step.clone()).await.unwrap());
    assert!(!store.advance_schedule(step.clone()).await.unwrap(), "another host was there first");
    let moved = get(&store, "nightly").await;
    assert_eq!((moved.next_due, moved.last_due, moved.last_task, moved.revision), (Some(at(20)), Some(at(15)), Some(task), 1));
    let failed = Advance { from: at(20), decided: at(20), next_due: Some(at(30)), task: None, problem: Some("why".to_owned()), ..step };
    for wrong in [Advance { revision: 2, ..failed.clone() }, Advance { name: schedule_name("x"), ..failed.clone() }] {
        assert!(!store.advance_schedule(wrong).await.unwrap());
    }
    store.pause_schedule(&schedule_name("nightly"), 1, true, None).await.unwrap();
    assert!(!store.advance_schedule(failed.clone()).await.unwrap(), "it was paused in between");
    store.pause_schedule(&schedule_name("nightly"), 1, false, Some(at(20))).await.unwrap();
    assert!(store.advance_schedule(failed).await.unwrap());
    let moved = get(&store, "nightly").await;
    assert_eq!((moved.last_due, moved.last_task, moved.last_problem.as_deref()), (Some(at(20)), Some(task), Some("why")));
}
