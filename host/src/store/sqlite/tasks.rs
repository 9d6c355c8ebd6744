//! The task verbs: rendered here, in the caller's task, and handed to the writer.

use async_trait::async_trait;

use super::SqliteStore;
use super::change::{Cancel, Lanes, Prune, Retry, SetLane};
use super::finish::{End, FinishBatch, GiveBack, PutJournal};
use super::host::{Beat, FindLost, Hosts, TakeBack};
use super::prepared::Prepared;
use super::submit::Submit;
use super::tenant::{SetTenant, Tenants};
use super::writer::Verb as _;
use crate::clock::UnixMs;
use crate::store::{
    CancelAnswer, Claim, ClaimRequest, Claimed, Finish, Finished, Heartbeat, HostShown, Lane, LanePatch, Result, RetryAnswer, Submitted,
    TaskFilter, TaskPage, TaskStore, TenantShare,
};
use crate::task::{LaneKey, LogLine, NewTask, Next, Output, Task, TaskId, Tenant};

#[async_trait]
impl TaskStore for SqliteStore {
    async fn submit(&self, batch: Vec<NewTask>, now: UnixMs) -> Result<Vec<Submitted>> {
        let submit = Submit { batch: batch.into_iter().map(Prepared::new).collect::<Result<_>>()?, now };
        if let Some(bells) = self.bells.as_ref().filter(|_| submit.is_urgent()) {
            bells.urgent.notify_one();
        }
        self.writer.run(submit).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.writer.run(request).await
    }

    async fn finish(&self, batch: Vec<Finish>) -> Result<Vec<Finished>> {
        self.writer.run(FinishBatch(batch.into_iter().map(End::new).collect::<Result<_>>()?)).await
    }

    async fn give_back(&self, claims: Vec<Claim>, run_at: UnixMs, now: UnixMs) -> Result<()> {
        self.writer.run(GiveBack { claims, run_at, now }).await
    }

    async fn heartbeat(&self, host: &str, _now: UnixMs, lease_until: UnixMs) -> Result<Heartbeat> {
        self.writer.run(Beat { host: host.into(), lease_until }).await
    }

    async fn reap(&self, now: UnixMs, all: bool, decide: &(dyn Fn(u32, u32, u32) -> Next + Send + Sync)) -> Result<Vec<TaskId>> {
        let lost = self.writer.run(FindLost { now, all }).await?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let lost = lost.into_iter().map(|task| (task.claim, decide(task.attempt, task.max_attempts, task.lost))).collect();
        self.writer.run(TakeBack { lost, now, all }).await
    }

    async fn cancel(&self, id: TaskId, now: UnixMs) -> Result<CancelAnswer> {
        self.writer.run(Cancel { id, now }).await
    }

    async fn retry(&self, id: TaskId, now: UnixMs) -> Result<RetryAnswer> {
        self.writer.run(Retry { id, now }).await
    }

    async fn prune(&self, ended_before: UnixMs, limit_tasks: u32) -> Result<u64> {
        self.writer.run(Prune { ended_before, limit_tasks }).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        self.read_task(id).await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage> {
        self.read_tasks(filter).await
    }

    async fn logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>> {
        self.read_logs(id).await
    }

    async fn output(&self, id: TaskId, name: &str) -> Result<Option<Output>> {
        self.read_output(id, name).await
    }

    async fn outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>> {
        self.read_outputs(id).await
    }

    async fn journal_get(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>> {
        self.read_journal(claim, step).await
    }

    async fn journal_bytes(&self, claim: Claim) -> Result<u64> {
        self.read_journal_bytes(claim).await
    }

    async fn journal_put(&self, claim: Claim, step: &str, value: Vec<u8>) -> Result<()> {
        self.writer.run(PutJournal { claim, step: step.into(), value }).await
    }

    async fn lanes(&self) -> Result<Vec<Lane>> {
        self.writer.run(Lanes).await
    }

    async fn hosts(&self) -> Result<Vec<HostShown>> {
        self.writer.run(Hosts).await
    }

    async fn tenants(&self) -> Result<Vec<TenantShare>> {
        self.writer.run(Tenants).await
    }

    async fn set_tenant(&self, tenant: Option<&Tenant>, weight: u32) -> Result<TenantShare> {
        self.writer.run(SetTenant { tenant: tenant.map(|tenant| tenant.as_str().into()), weight }).await
    }

    async fn set_lane(&self, key: &LaneKey, patch: LanePatch) -> Result<Lane> {
        self.writer.run(SetLane { key: key.clone(), patch }).await
    }
}
