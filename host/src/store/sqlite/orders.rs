//! Orders that were sent to a checkout.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::admin::Parts;
use super::row;
use super::tx::Tx;
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::Result;
use crate::store::orders::{Order, OrderSession, OrderStore, Placed};
use crate::stripe::ledger::Owner;

const COLUMNS: &str = "id, digest, currency, amount, tax, shipping, basket, session, url, created_at_ms";

struct Place {
    owner: Owner,
    order: Order,
}

impl Verb for Place {
    type Answer = Placed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Placed> {
        let order = &self.order;
        match find(tx.conn, &self.owner, &order.id)? {
            Some(known) if known.digest == order.digest => return Ok(Placed::Known(known)),
            Some(_) => return Ok(Placed::Different),
            None => {}
        }
        tx.execute(
            "INSERT INTO stripe_orders (account, livemode, id, digest, currency, amount, tax, shipping, basket, created_at_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.owner.account,
                self.owner.livemode,
                order.id,
                order.digest,
                order.currency,
                order.amount,
                order.tax,
                order.shipping,
                order.basket,
                order.created_at.0
            ],
        )?;
        Ok(Placed::New)
    }
}

struct SetSession {
    owner: Owner,
    order_id: String,
    session: OrderSession,
}

impl Verb for SetSession {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.execute(
            "UPDATE stripe_orders SET session = ?, url = ? WHERE account = ? AND livemode = ? AND id = ? AND session IS NULL",
            params![self.session.id, self.session.url, self.owner.account, self.owner.livemode, self.order_id],
        )?;
        Ok(())
    }
}

fn find(conn: &Connection, owner: &Owner, id: &str) -> Result<Option<Order>> {
    let sql = format!("SELECT {COLUMNS} FROM stripe_orders WHERE account = ? AND livemode = ? AND id = ?");
    row::first(conn, &sql, params![owner.account, owner.livemode, id], order)
}

fn order(row: &Row<'_>) -> Result<Order> {
    let session = match (row.get("session")?, row.get("url")?) {
        (Some(id), Some(url)) => Some(OrderSession { id, url }),
        _ => None,
    };
    Ok(Order {
        id: row.get("id")?,
        digest: row.get("digest")?,
        currency: row.get("currency")?,
        amount: row.get("amount")?,
        tax: row.get("tax")?,
        shipping: row.get("shipping")?,
        basket: row.get("basket")?,
        session,
        created_at: UnixMs(row.get("created_at_ms")?),
    })
}

#[async_trait]
impl<T: Parts> OrderStore for T {
    async fn place_order(&self, owner: &Owner, order: Order) -> Result<Placed> {
        self.writer().run(Place { owner: owner.clone(), order }).await
    }

    async fn set_order_session(&self, owner: &Owner, order_id: &str, session: OrderSession) -> Result<()> {
        self.writer().run(SetSession { owner: owner.clone(), order_id: order_id.to_owned(), session }).await
    }

    async fn order(&self, owner: &Owner, order_id: &str) -> Result<Option<Order>> {
        let (owner, id) = (owner.clone(), order_id.to_owned());
        self.readers().run(move |conn| find(conn, &owner, &id)).await
    }
}
