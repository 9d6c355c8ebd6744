//! What has to be fetched.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx_postgres::PgConnection;

use super::super::Db;
use super::row::owner;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::postgres::sql;
use crate::store::stored::damaged;
use crate::stripe::ledger::Owner;
use crate::stripe::plan::Wanted;

/// Adds and removes; how many are new.
pub(in crate::store::postgres) async fn change(
    conn: &mut PgConnection,
    wanted: &BTreeSet<Wanted>,
    settled: &BTreeSet<Wanted>,
    now: UnixMs,
) -> Result<usize> {
    for one in settled {
        remove(conn, one).await?;
    }
    let mut added = 0;
    for one in wanted {
        let done = sql::query(
            // A movement that is on record need not be fetched, whichever of the two was seen first.
            "INSERT INTO taskwarden.stripe_wanted (account, livemode, object, id, reason, due_at_ms) SELECT $1, $2, $3, $4, $5, $6 \
             WHERE $5 <> 'movement' OR NOT EXISTS (SELECT 1 FROM taskwarden.stripe_balance_transactions \
             WHERE account = $1 AND livemode = $2 AND id = $4) ON CONFLICT DO NOTHING",
        )
        .bind(&one.owner.account)
        .bind(one.owner.livemode)
        .bind(&one.object)
        .bind(&one.id)
        .bind(one.reason.name())
        .bind(now.0)
        .execute(&mut *conn)
        .await?;
        added += usize::try_from(done.rows_affected()).unwrap_or_default();
    }
    Ok(added)
}

async fn remove(conn: &mut PgConnection, one: &Wanted) -> Result<()> {
    sql::query("DELETE FROM taskwarden.stripe_wanted WHERE account = $1 AND livemode = $2 AND object = $3 AND id = $4 AND reason = $5")
        .bind(&one.owner.account)
        .bind(one.owner.livemode)
        .bind(&one.object)
        .bind(&one.id)
        .bind(one.reason.name())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn settle(db: &Db, wanted: &[Wanted], again_at: Option<UnixMs>) -> Result<()> {
    let mut tx = db.begin().await?;
    for one in wanted {
        let Some(again_at) = again_at else {
            remove(&mut tx, one).await?;
            continue;
        };
        sql::query(
            "UPDATE taskwarden.stripe_wanted SET due_at_ms = $6 \
             WHERE account = $1 AND livemode = $2 AND object = $3 AND id = $4 AND reason = $5",
        )
        .bind(&one.owner.account)
        .bind(one.owner.livemode)
        .bind(&one.object)
        .bind(&one.id)
        .bind(one.reason.name())
        .bind(again_at.0)
        .execute(&mut *tx)
        .await?;
    }
    db.commit(tx).await
}

pub(super) async fn due(conn: &mut PgConnection, of: &Owner, now: UnixMs, limit: u32) -> Result<Vec<Wanted>> {
    let rows = sql::query(
        "SELECT * FROM taskwarden.stripe_wanted WHERE account = $1 AND livemode = $2 AND due_at_ms <= $3 \
         ORDER BY due_at_ms, object, id, reason LIMIT $4",
    )
    .bind(&of.account)
    .bind(of.livemode)
    .bind(now.0)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let reason = row.try_get::<&str, _>("reason")?.parse().map_err(|error| damaged("the reason to fetch something", error))?;
            Ok(Wanted { owner: owner(row)?, object: row.try_get("object")?, id: row.try_get("id")?, reason })
        })
        .collect()
}
