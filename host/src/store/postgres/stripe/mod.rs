//! What is kept of Stripe: events with their tasks, objects joined one batch after the other, income beside both.

pub(super) mod income;
mod row;
pub(super) mod transactions;
pub(super) mod wanted;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;

use self::row::owner;
use super::PostgresStore;
use super::submit::{NewBatch, Written};
use crate::clock::UnixMs;
use crate::store::postgres::sql;
use crate::store::stored::{damaged, digest};
use crate::store::stripe::{Applied, Recorded, StripeEvent, StripeStore};
use crate::store::{Result, StoreError};
use crate::stripe::ledger::Owner;
use crate::stripe::plan::Wanted;
use crate::stripe::transaction::{Key, Transaction};
use crate::task::NewTask;

#[async_trait]
impl StripeStore for PostgresStore {
    async fn record_stripe_event(&self, event: StripeEvent, task: Option<NewTask>, now: UnixMs) -> Result<Recorded> {
        let db = &self.db;
        let now_ms = db.time.to_database(now);
        let batch: Vec<NewBatch> = task
            .map(|task| NewTask { run_at: UnixMs(db.time.to_database(task.run_at)), ..task })
            .map(|task| NewBatch { tasks: Arc::new(vec![task]), now_ms })
            .into_iter()
            .collect();
        if let Some(conflict) = db.make_lanes_of(&batch).await?.into_values().next() {
            return Err(StoreError::Conflict(conflict));
        }
        let mut tx = db.begin().await?;
        // Another host that records the same event at this moment is waited for.
        let new = sql::query(
            "INSERT INTO taskwarden.stripe_events \
             (id, event_type, account, livemode, api_version, verdict, created_at_ms, received_at_ms, body_sha256, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        )
        .bind(&event.id)
        .bind(&event.event_type)
        .bind(&event.owner.account)
        .bind(event.owner.livemode)
        .bind(&event.api_version)
        .bind(event.verdict.name())
        .bind(event.created_at.0)
        .bind(event.received_at.0)
        .bind(event.body_sha256.as_slice())
        .bind(&*event.body)
        .execute(&mut *tx)
        .await?;
        if new.rows_affected() == 0 {
            return Ok(Recorded::Known);
        }
        match db.write_group(&mut tx, &batch).await? {
            Written::All(answers, arrivals) => {
                db.commit(tx).await?;
                db.arrived(&arrivals);
                Ok(Recorded::New(answers.into_iter().flatten().next()))
            }
            Written::Refused(refused) => {
                tx.rollback().await?;
                let conflict = refused.into_values().next().ok_or_else(|| damaged("a refusal", "it names nobody"))?;
                Err(StoreError::Conflict(conflict))
            }
        }
    }

    async fn prune_stripe_bodies(&self, before: UnixMs, limit_rows: u32) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let done = sql::query(
            "UPDATE taskwarden.stripe_events SET body = '' WHERE id IN (SELECT id FROM taskwarden.stripe_events \
             WHERE received_at_ms < $1 AND octet_length(body) > 0 ORDER BY received_at_ms LIMIT $2)",
        )
        .bind(before.0)
        .bind(i64::from(limit_rows))
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await?;
        Ok(done.rows_affected())
    }

    async fn stripe_event(&self, id: &str) -> Result<Option<StripeEvent>> {
        let mut tx = self.db.begin_read().await?;
        let row = sql::query("SELECT * FROM taskwarden.stripe_events WHERE id = $1").bind(id).fetch_optional(&mut *tx).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(StripeEvent {
            id: row.try_get("id")?,
            event_type: row.try_get("event_type")?,
            owner: owner(&row)?,
            api_version: row.try_get("api_version")?,
            verdict: row.try_get::<&str, _>("verdict")?.parse().map_err(|error| damaged("the verdict on an event", error))?,
            created_at: UnixMs(row.try_get("created_at_ms")?),
            received_at: UnixMs(row.try_get("received_at_ms")?),
            body_sha256: digest(row.try_get("body_sha256")?)?,
            body: row.try_get::<Vec<u8>, _>("body")?.into(),
        }))
    }

    async fn apply_stripe(&self, seen: Vec<Transaction>, named: Vec<Key>, now: UnixMs) -> Result<Applied> {
        transactions::apply(&self.db, seen, named, now).await
    }

    async fn stripe_transaction(&self, key: &Key) -> Result<Option<Transaction>> {
        let mut tx = self.db.begin_read().await?;
        transactions::read(&mut tx, key).await
    }

    async fn stripe_wanted(&self, owner: &Owner, now: UnixMs, limit: u32) -> Result<Vec<Wanted>> {
        let mut tx = self.db.begin_read().await?;
        wanted::due(&mut tx, owner, now, limit).await
    }

    async fn settle_stripe_wanted(&self, wanted: Vec<Wanted>, again_at: Option<UnixMs>) -> Result<()> {
        wanted::settle(&self.db, &wanted, again_at).await
    }
}
