//! Orders that were sent to a hosted checkout: what they are to cost, and where they are paid. Whether they are paid is no business of
//! this table: it follows from Stripe's own objects, which name the order.

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::stripe::ledger::Owner;

/// An order as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The seller's own id.
    pub id: String,
    /// SHA-256 of what was ordered: the same id with something else in it is another order under a wrong name.
    pub digest: [u8; 32],
    /// Lower case.
    pub currency: String,
    /// What the customer pays, in minor units.
    pub amount: i64,
    /// The tax in it, as far as it is declared apart.
    pub tax: i64,
    /// The shipping in it.
    pub shipping: i64,
    /// What was ordered, as JSON.
    pub basket: String,
    /// The checkout; nothing before Stripe has made one.
    pub session: Option<OrderSession>,
    /// When it was first asked for.
    pub created_at: UnixMs,
}

/// Where an order is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSession {
    /// `cs_…`.
    pub id: String,
    /// The page.
    pub url: String,
}

/// What became of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is on record now.
    New,
    /// It was there, as it is here.
    Known(Order),
    /// Another one has this id.
    Different,
}

/// Orders.
#[async_trait]
pub trait OrderStore: Send + Sync + 'static {
    /// Keeps a new order; durable before it returns.
    async fn place_order(&self, owner: &Owner, order: Order) -> Result<Placed>;
    /// Says where an order is paid. The first word on that counts.
    async fn set_order_session(&self, owner: &Owner, order_id: &str, session: OrderSession) -> Result<()>;
    /// One order.
    async fn order(&self, owner: &Owner, order_id: &str) -> Result<Option<Order>>;
}
