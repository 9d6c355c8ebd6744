//! What has to be fetched.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::super::row::{all, text};
use super::super::tx::Tx;
use super::super::writer::Verb;
use super::row::owner;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::stored::damaged;
use crate::stripe::ledger::Owner;
use crate::stripe::plan::Wanted;

/// Adds and removes; how many are new.
pub(in crate::store::sqlite) fn change(tx: &Tx<'_>, wanted: &BTreeSet<Wanted>, settled: &BTreeSet<Wanted>, now: UnixMs) -> Result<usize> {
    for one in settled {
        remove(tx, one)?;
    }
    let mut added = 0;
    for one in wanted {
        added += tx.execute(
            // A movement that is on record need not be fetched, whichever of the two was seen first.
            "INSERT INTO stripe_wanted (account, livemode, object, id, reason, due_at_ms) SELECT ?1, ?2, ?3, ?4, ?5, ?6 \
             WHERE ?5 <> 'movement' OR NOT EXISTS (SELECT 1 FROM stripe_balance_transactions WHERE account = ?1 AND livemode = ?2 AND id = ?4) \
             ON CONFLICT DO NOTHING",
            params![one.owner.account, one.owner.livemode, one.object, one.id, one.reason.name(), now.0],
        )?;
    }
    Ok(added)
}

fn remove(tx: &Tx<'_>, one: &Wanted) -> Result<()> {
    tx.execute(
        "DELETE FROM stripe_wanted WHERE account = ? AND livemode = ? AND object = ? AND id = ? AND reason = ?",
        params![one.owner.account, one.owner.livemode, one.object, one.id, one.reason.name()],
    )?;
    Ok(())
}

pub(super) struct Settle {
    pub(super) wanted: Vec<Wanted>,
    pub(super) again_at: Option<UnixMs>,
}

impl Verb for Settle {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        for one in &self.wanted {
            match self.again_at {
                None => remove(tx, one)?,
                Some(again_at) => {
                    tx.execute(
                        "UPDATE stripe_wanted SET due_at_ms = ? WHERE account = ? AND livemode = ? AND object = ? AND id = ? AND reason = ?",
                        params![again_at.0, one.owner.account, one.owner.livemode, one.object, one.id, one.reason.name()],
                    )?;
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.wanted.len()
    }
}

pub(super) fn due(conn: &Connection, of: &Owner, now: UnixMs, limit: u32) -> Result<Vec<Wanted>> {
    let due =
        "SELECT * FROM stripe_wanted WHERE account = ? AND livemode = ? AND due_at_ms <= ? ORDER BY due_at_ms, object, id, reason LIMIT ?";
    all(conn, due, params![of.account, of.livemode, now.0, limit], |row| {
        Ok(Wanted {
            owner: owner(row)?,
            object: row.get("object")?,
            id: row.get("id")?,
            reason: text(row, "reason")?.parse().map_err(|error| damaged("the reason to fetch something", error))?,
        })
    })
}
