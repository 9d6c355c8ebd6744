//! Orders that were sent to a checkout.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::PgRow;

use super::sql;
use super::{PostgresStore, Tx};
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::orders::{Order, OrderSession, OrderStore, Placed};
use crate::store::stored::digest;
use crate::stripe::ledger::Owner;

const COLUMNS: &str = "id, digest, currency, amount, tax, shipping, basket, session, url, created_at_ms";

async fn find(tx: &mut Tx, owner: &Owner, id: &str) -> Result<Option<Order>> {
    let sql = format!("SELECT {COLUMNS} FROM taskwarden.stripe_orders WHERE account = $1 AND livemode = $2 AND id = $3");
    let row = sql::query(AssertSqlSafe(sql)).bind(&owner.account).bind(owner.livemode).bind(id).fetch_optional(&mut **tx).await?;
    row.as_ref().map(order).transpose()
}

fn order(row: &PgRow) -> Result<Order> {
    let session = match (row.try_get("session")?, row.try_get("url")?) {
        (Some(id), Some(url)) => Some(OrderSession { id, url }),
        _ => None,
    };
    Ok(Order {
        id: row.try_get("id")?,
        digest: digest(row.try_get("digest")?)?,
        currency: row.try_get("currency")?,
        amount: row.try_get("amount")?,
        tax: row.try_get("tax")?,
        shipping: row.try_get("shipping")?,
        basket: row.try_get("basket")?,
        session,
        created_at: UnixMs(row.try_get("created_at_ms")?),
    })
}

#[async_trait]
impl OrderStore for PostgresStore {
    async fn place_order(&self, owner: &Owner, order: Order) -> Result<Placed> {
        let mut tx = self.db.begin().await?;
        let added = sql::query(
            "INSERT INTO taskwarden.stripe_orders (account, livemode, id, digest, currency, amount, tax, shipping, basket, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (account, livemode, id) DO NOTHING",
        )
        .bind(&owner.account)
        .bind(owner.livemode)
        .bind(&order.id)
        .bind(&order.digest[..])
        .bind(&order.currency)
        .bind(order.amount)
        .bind(order.tax)
        .bind(order.shipping)
        .bind(&order.basket)
        .bind(order.created_at.0)
        .execute(&mut *tx)
        .await?;
        let placed = if added.rows_affected() > 0 {
            Placed::New
        } else {
            // Whoever had it first has committed it: the insertion waited for that.
            match find(&mut tx, owner, &order.id).await? {
                Some(known) if known.digest == order.digest => Placed::Known(known),
                _ => Placed::Different,
            }
        };
        self.db.commit(tx).await?;
        Ok(placed)
    }

    async fn set_order_session(&self, owner: &Owner, order_id: &str, session: OrderSession) -> Result<()> {
        let mut tx = self.db.begin().await?;
        sql::query(
            "UPDATE taskwarden.stripe_orders SET session = $1, url = $2 WHERE account = $3 AND livemode = $4 AND id = $5 AND session IS NULL",
        )
        .bind(&session.id)
        .bind(&session.url)
        .bind(&owner.account)
        .bind(owner.livemode)
        .bind(order_id)
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await
    }

    async fn order(&self, owner: &Owner, order_id: &str) -> Result<Option<Order>> {
        let mut tx = self.db.begin_read().await?;
        find(&mut tx, owner, order_id).await
    }
}
