//! Small makers of what the store verbs take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use taskwarden::clock::UnixMs;
use taskwarden::limits::{LimitSet, Limits};
use taskwarden::store::{ClaimRequest, Claimed, ClaimedTask, Finish, Store};
use taskwarden::task::fair::Service;
use taskwarden::task::{
    AiModel, IdempotencyKey, LaneKey, NewTask, Next, Outcome, Priority, Receipt, TaskId, TaskPlan, TaskState, TaskType, Tenant,
};

/// Runs each function of the module, which takes a fresh store, on each database.
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let opened = crate::store::sqlite::open().await;
                    super::$name(opened.shared()).await;
                    opened.store.close().await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    let opened = crate::store::postgres::open().await;
                    super::$name(opened.shared()).await;
                    opened.close().await;
                }
            )+
        }
    };
}
pub(crate) use on_each_store;

pub(crate) const NOW: UnixMs = UnixMs(1_800_000_000_000);

pub(crate) fn at(ms: i64) -> UnixMs {
    UnixMs(NOW.0 + ms)
}

pub(crate) fn lane(task_type: &str, ai_model: Option<&str>) -> LaneKey {
    LaneKey { task_type: TaskType::new(task_type).unwrap(), ai_model: ai_model.map(|model| AiModel::new(model).unwrap()) }
}

pub(crate) fn new_task(lane: LaneKey, priority: Priority) -> NewTask {
    NewTask {
        id: TaskId::new(),
        lane,
        priority,
        payload: RawValue::from_string(r#"{"n":1}"#.to_owned()).unwrap(),
        plan: TaskPlan { inputs: BTreeMap::new(), tags: Vec::new(), limits: LimitSet::default() },
        run_at: UnixMs(0),
        max_attempts: 3,
        tenant: None,
        idempotency: None,
    }
}

pub(crate) fn simple() -> NewTask {
    new_task(lane("echo", None), Priority::Normal)
}

pub(crate) fn keyed(key: &str, digest: u8, tenant: Option<&str>) -> NewTask {
    NewTask {
        idempotency: Some((IdempotencyKey::new(key).unwrap(), [digest; 32])),
        tenant: tenant.map(|name| Tenant::new(name).unwrap()),
        ..simple()
    }
}

pub(crate) async fn claim(store: &Arc<dyn Store>, max_tasks: u32, now: UnixMs) -> Claimed {
    store.claim(ClaimRequest { host: Arc::from("host-a"), now, max_tasks, urgent_only: false }).await.unwrap()
}

pub(crate) async fn claim_urgent(store: &Arc<dyn Store>, max_tasks: u32, now: UnixMs) -> Claimed {
    store.claim(ClaimRequest { host: Arc::from("host-a"), now, max_tasks, urgent_only: true }).await.unwrap()
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        fuel_used: 12_345,
        memory_peak_bytes: 1 << 20,
        queue_ms: 3,
        run_ms: 7,
        host_calls: 2,
        input_bytes: 10,
        output_bytes: 20,
        http_requests: 0,
        http_bytes: 0,
        child_tasks: 0,
        plugin: "echo".to_owned(),
        plugin_version: "1.0.0".to_owned(),
        plugin_digest: "ab".repeat(32),
        host: "host-a".to_owned(),
        limits: Limits::defaults(),
    }
}

pub(crate) fn finish(task: &ClaimedTask, outcome: Outcome, next: Next, now: UnixMs) -> Finish {
    Finish {
        claim: task.claim,
        outcome,
        next,
        started_at: now,
        finished_at: now,
        result: (outcome == Outcome::Succeeded).then(|| Box::from(r#"{"ok":true}"#)),
        error: (outcome != Outcome::Succeeded).then(|| format!("it ended as {outcome}")),
        receipt: receipt(),
        service: Service::of(Duration::from_millis(7), 12_345),
        logs: Vec::new(),
        outputs: Vec::new(),
        children: Vec::new(),
    }
}

pub(crate) fn succeed(task: &ClaimedTask, now: UnixMs) -> Finish {
    finish(task, Outcome::Succeeded, Next::Final(TaskState::Succeeded), now)
}

pub(crate) async fn state(store: &Arc<dyn Store>, id: TaskId) -> TaskState {
    store.task(id).await.unwrap().unwrap().state
}

pub(crate) async fn submit(store: &Arc<dyn Store>, tasks: Vec<NewTask>) -> Vec<TaskId> {
    store.submit(tasks, NOW).await.unwrap().into_iter().map(|submitted| submitted.id).collect()
}
