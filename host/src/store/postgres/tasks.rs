//! The task verbs.

use std::sync::Arc;

use async_trait::async_trait;

use super::PostgresStore;
use super::settle::Settle;
use super::sql;
use super::submit::NewBatch;
use crate::clock::UnixMs;
use crate::store::{
    CancelAnswer, Claim, ClaimRequest, Claimed, Conflict, Finish, Finished, Heartbeat, HostShown, Lane, LanePatch, Result, RetryAnswer,
    StoreError, Submitted, TaskFilter, TaskPage, TaskStore, TenantShare,
};
use crate::task::{LaneKey, LogLine, NewTask, Next, Output, Task, TaskId, Tenant};

#[async_trait]
impl TaskStore for PostgresStore {
    async fn submit(&self, mut batch: Vec<NewTask>, now: UnixMs) -> Result<Vec<Submitted>> {
        for task in &mut batch {
            task.run_at = UnixMs(self.db.time.to_database(task.run_at));
        }
        self.submits.run(NewBatch { tasks: Arc::new(batch), now_ms: self.db.time.to_database(now) }).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.db.claim(request).await
    }

    async fn finish(&self, batch: Vec<Finish>) -> Result<Vec<Finished>> {
        let batch = batch.into_iter().map(|finish| Settle::finish(&self.db, finish)).collect::<Result<_>>()?;
        self.ends.run(batch).await
    }

    async fn give_back(&self, claims: Vec<Claim>, run_at: UnixMs, now: UnixMs) -> Result<()> {
        let run_at_ms = self.db.time.to_database(run_at);
        self.db.give_back(claims.into_iter().map(|claim| (claim, run_at_ms)).collect(), self.db.time.to_database(now)).await
    }

    async fn heartbeat(&self, host: &str, now: UnixMs, lease_until: UnixMs) -> Result<Heartbeat> {
        self.db.answered(self.db.beat(host, now, lease_until)).await
    }

    async fn reap(&self, now: UnixMs, all: bool, decide: &(dyn Fn(u32, u32, u32) -> Next + Send + Sync)) -> Result<Vec<TaskId>> {
        self.db.take_back(now, all, decide).await
    }

    async fn cancel(&self, id: TaskId, now: UnixMs) -> Result<CancelAnswer> {
        self.db.cancel(id, self.db.time.to_database(now)).await
    }

    async fn retry(&self, id: TaskId, now: UnixMs) -> Result<RetryAnswer> {
        self.db.retry(id, self.db.time.to_database(now)).await
    }

    async fn prune(&self, ended_before: UnixMs, limit_tasks: u32) -> Result<u64> {
        self.db.prune(self.db.time.to_database(ended_before), limit_tasks).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>> {
        self.db.read_task(id).await
    }

    async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage> {
        self.db.read_tasks(filter).await
    }

    async fn logs(&self, id: TaskId) -> Result<Vec<(u32, LogLine)>> {
        self.db.read_logs(id).await
    }

    async fn output(&self, id: TaskId, name: &str) -> Result<Option<Output>> {
        self.db.read_output(id, name).await
    }

    async fn outputs(&self, id: TaskId) -> Result<Vec<(String, String, u64)>> {
        self.db.read_outputs(id).await
    }

    async fn journal_get(&self, claim: Claim, step: &str) -> Result<Option<Vec<u8>>> {
        self.db.read_journal(claim, step).await
    }

    async fn journal_bytes(&self, claim: Claim) -> Result<u64> {
        self.db.read_journal_bytes(claim).await
    }

    async fn journal_put(&self, claim: Claim, step: &str, value: Vec<u8>) -> Result<()> {
        let mut tx = self.db.begin().await?;
        // The claim is held still until this is committed: whoever takes it away waits for the lock.
        let put = sql::query(
            "INSERT INTO taskwarden.journal (seq, step, value) \
             SELECT h.seq, $3, $4 FROM (SELECT seq FROM taskwarden.running WHERE seq = $1 AND token = $2 FOR SHARE) h \
             ON CONFLICT (seq, step) DO UPDATE SET value = excluded.value",
        )
        .bind(claim.seq)
        .bind(claim.token)
        .bind(step.as_bytes())
        .bind(value)
        .execute(&mut *tx)
        .await?;
        if put.rows_affected() == 0 {
            return Err(StoreError::Conflict(Conflict::LeaseLost));
        }
        self.db.commit(tx).await
    }

    async fn lanes(&self) -> Result<Vec<Lane>> {
        self.db.read_lanes(None).await
    }

    async fn set_lane(&self, key: &LaneKey, patch: LanePatch) -> Result<Lane> {
        self.db.change_lane(key, patch).await
    }

    async fn hosts(&self) -> Result<Vec<HostShown>> {
        self.db.read_hosts().await
    }

    async fn tenants(&self) -> Result<Vec<TenantShare>> {
        self.db.read_tenants(None).await
    }

    async fn set_tenant(&self, tenant: Option<&Tenant>, weight: u32) -> Result<TenantShare> {
        self.db.change_tenant(tenant, weight).await
    }
}
