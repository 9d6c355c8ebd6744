//! Events, each with the task that processes it.

use rusqlite::{Connection, params};

use super::super::row::{first, text};
use super::super::submit::Submit;
use super::super::tx::Tx;
use super::super::writer::{Turn, Verb};
use super::row::owner;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::stored::damaged;
use crate::store::stripe::{Recorded, StripeEvent};

pub(super) struct Record {
    pub(super) event: StripeEvent,
    pub(super) task: Option<Submit>,
}

impl Verb for Record {
    type Answer = Recorded;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Recorded> {
        let event = &self.event;
        if first(tx.conn, "SELECT 1 FROM stripe_events WHERE id = ?", [&event.id], |_| Ok(()))?.is_some() {
            return Ok(Recorded::Known);
        }
        // The task first: it can be refused, and a refusal has to come before the first write.
        let submitted = self.task.as_ref().map(|task| task.apply(tx)).transpose()?;
        tx.execute(
            "INSERT OR FAIL INTO stripe_events \
             (id, event_type, account, livemode, api_version, verdict, created_at_ms, received_at_ms, body_sha256, body) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                event.id,
                event.event_type,
                event.owner.account,
                event.owner.livemode,
                event.api_version,
                event.verdict.name(),
                event.created_at.0,
                event.received_at.0,
                event.body_sha256,
                &*event.body
            ],
        )?;
        Ok(Recorded::New(submitted.and_then(|submitted| submitted.into_iter().next())))
    }

    fn rows(&self) -> usize {
        // As many rows as would fill the same pages.
        2 + self.event.body.len() / 512
    }
}

pub(super) struct PruneBodies {
    pub(super) before: UnixMs,
    pub(super) limit_rows: u32,
}

impl Verb for PruneBodies {
    type Answer = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let pruned = tx.execute(
            "UPDATE stripe_events SET body = x'' WHERE rowid IN (SELECT rowid FROM stripe_events \
             WHERE received_at_ms < ? AND length(body) > 0 ORDER BY received_at_ms LIMIT ?)",
            params![self.before.0, self.limit_rows],
        )?;
        Ok(u64::try_from(pruned).unwrap_or(u64::MAX))
    }

    fn rows(&self) -> usize {
        self.limit_rows as usize
    }

    fn turn(&self) -> Turn {
        Turn::Bulk
    }
}

pub(super) fn read(conn: &Connection, id: &str) -> Result<Option<StripeEvent>> {
    first(conn, "SELECT * FROM stripe_events WHERE id = ?", [id], |row| {
        Ok(StripeEvent {
            id: row.get("id")?,
            event_type: row.get("event_type")?,
            owner: owner(row)?,
            api_version: row.get("api_version")?,
            verdict: text(row, "verdict")?.parse().map_err(|error| damaged("the verdict on an event", error))?,
            created_at: UnixMs(row.get("created_at_ms")?),
            received_at: UnixMs(row.get("received_at_ms")?),
            body_sha256: row.get("body_sha256")?,
            body: row.get::<_, Vec<u8>>("body")?.into(),
        })
    })
}
