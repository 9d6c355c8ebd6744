//! Sending a customer to a hosted checkout: an order of what the catalogue has, at the price the catalogue says, once.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::clock::SharedClock;
use crate::store::orders::{Order, OrderSession, Placed};
use crate::store::{Store, StoreError};
use crate::stripe::checkout::{Basket, Catalogue, ORDER_ID_CHARS_MAX, Quote, Session, Unsellable};
use crate::stripe::ledger::Owner;
use crate::stripe_api::{ApiError, StripeApi};

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct CheckoutSettings {
    /// Whose account the key opens.
    pub owner: Owner,
    /// What is for sale.
    pub catalogue: Catalogue,
    /// Where the customer comes back to.
    pub success_url: String,
    /// Where the customer comes back to without having paid.
    pub cancel_url: String,
    /// Metadata key of the order's id.
    pub order_key: String,
}

/// Why there is no checkout.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// The order cannot be sold as it is.
    #[error(transparent)]
    Unsellable(#[from] Unsellable),
    /// The order's id was used for something else.
    #[error("there is an order {0:?} already, with something else in it or at another price; give this one another id")]
    Conflict(String),
    /// Stripe did not make one.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Stripe made one that charges something else. It was closed, and the customer never sees it.
    #[error("Stripe's checkout is not what the catalogue says: {0}; it was closed")]
    WrongPrice(String),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checkouts of one catalogue.
pub struct Checkouts {
    store: Arc<dyn Store>,
    api: Arc<StripeApi>,
    clock: SharedClock,
    settings: CheckoutSettings,
}

/// An order with its checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The order, with its session.
    pub order: Order,
    /// Where it is paid.
    pub session: OrderSession,
    /// Whether it is new.
    pub created: bool,
}

impl Checkouts {
    /// Checkouts over a store and a key.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, api: Arc<StripeApi>, clock: SharedClock, settings: CheckoutSettings) -> Self {
        Self { store, api, clock, settings }
    }

    /// Whose orders these are.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.settings.owner
    }

    /// Makes a checkout for an order, or finds the one that was made.
    ///
    /// The order is on record before Stripe hears of it, and Stripe is asked under a key made from the order. So whoever is cut off anywhere in
    /// between asks again, and there is still one order and one checkout.
    ///
    /// # Errors
    /// See [`CheckoutError`].
    pub async fn create(&self, order_id: &str, basket: &Basket) -> Result<Checkout, CheckoutError> {
        check_order_id(order_id)?;
        let owner = &self.settings.owner;
        let basket_json = serde_json::to_string(basket).map_err(|error| StoreError::Broken(error.to_string()))?;
        let digest: [u8; 32] = Sha256::digest(&basket_json).into();
        // Before the catalogue is asked: what was sold stays sold as it was, whatever the price has become.
        if let Some(order) = self.store.order(owner, order_id).await?
            && let Some(session) = order.session.clone()
        {
            return if order.digest == digest { Ok(Checkout { order, session, created: false }) } else { Err(conflict(order_id)) };
        }
        let quote = self.settings.catalogue.quote(basket)?;
        let order = Order {
            id: order_id.to_owned(),
            digest,
            currency: quote.currency.to_string(),
            amount: quote.total,
            tax: quote.tax,
            shipping: quote.shipping,
            basket: basket_json,
            session: None,
            created_at: self.clock.now(),
        };
        let (order, created) = match self.store.place_order(owner, order.clone()).await? {
            Placed::New => (order, true),
            Placed::Known(known) if known.amount == quote.total && known.currency == quote.currency.code() => (known, false),
            Placed::Known(_) | Placed::Different => return Err(conflict(order_id)),
        };
        let session = self.session(order_id, &quote, &digest).await?;
        self.store.set_order_session(owner, order_id, session.clone()).await?;
        Ok(Checkout { order: Order { session: Some(session.clone()), ..order }, session, created })
    }

    async fn session(&self, order_id: &str, quote: &Quote, digest: &[u8; 32]) -> Result<OrderSession, CheckoutError> {
        let settings = &self.settings;
        let fields = quote.session_fields(order_id, &settings.order_key, &settings.success_url, &settings.cancel_url);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // Of the order and of all that is asked for: a changed setting makes another request, which Stripe would refuse under the same key.
        let mut hasher = Sha256::new();
        hasher.update(digest);
        for text in [settings.owner.account.as_str(), order_id].into_iter().chain(fields.iter().flat_map(|(name, value)| [*name, *value])) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        let key = format!("checkout-{}", hex::encode(hasher.finalize()));
        let text = self.api.post("/v1/checkout/sessions", &fields, &key).await?;
        let session: Session =
            serde_json::from_str(&text).map_err(|error| ApiError::Unreadable(format!("the answer is no checkout session: {error}")))?;
        let wrong = match (quote.check(&session), &session.url) {
            (Err(why), _) => Some(why),
            (Ok(()), _) if session.livemode != settings.owner.livemode => {
                Some("it is in the other mode, live or test, than stripe.livemode says".to_owned())
            }
            (Ok(()), None) => Some("it has no page for the customer".to_owned()),
            (Ok(()), Some(url)) => return Ok(OrderSession { id: session.id, url: url.clone() }),
        };
        let why = wrong.unwrap_or_default();
        tracing::error!(session = session.id, why, "a checkout does not charge what the catalogue says; it is closed");
        self.api.post(&format!("/v1/checkout/sessions/{}/expire", session.id), &[], &format!("{key}-expire")).await?;
        Err(CheckoutError::WrongPrice(why))
    }

    /// One order.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn order(&self, order_id: &str) -> Result<Option<Order>, StoreError> {
        self.store.order(&self.settings.owner, order_id).await
    }
}

fn conflict(order_id: &str) -> CheckoutError {
    CheckoutError::Conflict(order_id.to_owned())
}

fn check_order_id(id: &str) -> Result<(), Unsellable> {
    let fine = !id.is_empty() && id.chars().count() <= ORDER_ID_CHARS_MAX && !id.chars().any(|c| c.is_control());
    if fine {
        return Ok(());
    }
    Err(Unsellable {
        field: "order_id".to_owned(),
        why: format!("this must have 1 to {ORDER_ID_CHARS_MAX} characters, none of them a control character"),
    })
}
