//! Orders to a hosted checkout.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::json::parse;
use super::problem::{Answer, Code, Problem, ProblemBody};
use super::submit::shown;
use super::tasks::read_json;
use crate::payments::{CheckoutError, Checkouts};
use crate::store::orders::Order;
use crate::stripe::checkout::{Basket, Item};
use crate::stripe_api::ApiError;

/// Bytes of a basket.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// What somebody wants to buy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckoutBody {
    /// Your own id of the order. A repeat gives the first checkout back.
    #[schema(max_length = 200, min_length = 1)]
    order_id: String,
    /// What is bought: prices come from the host's catalogue and from nowhere else.
    #[schema(value_type = Vec<CheckoutItem>, max_items = 50, min_items = 1)]
    items: Vec<Item>,
    /// A way of shipping in the catalogue.
    #[serde(default)]
    shipping: Option<String>,
}

/// So many of a product.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckoutItem {
    /// Its name in the catalogue.
    product: String,
    /// How many.
    #[schema(minimum = 1, maximum = 1000)]
    quantity: u32,
}

/// An order and where it is paid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderView {
    order_id: String,
    currency: String,
    /// What the customer pays, in minor units: the catalogue's prices, declared tax and shipping, and nothing else.
    amount: i64,
    /// The tax in it, as far as it is declared apart.
    tax: i64,
    /// The shipping in it.
    shipping: i64,
    /// Stripe's id of the checkout; null when Stripe has not made it yet.
    session: Option<String>,
    /// The page on which the customer pays.
    url: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: String,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        let (session, url) = order.session.map(|session| (session.id, session.url)).unzip();
        Self {
            order_id: order.id,
            currency: order.currency,
            amount: order.amount,
            tax: order.tax,
            shipping: order.shipping,
            session,
            url,
            created_at: order.created_at.to_rfc3339(),
        }
    }
}

/// Send an order to a hosted checkout of Stripe's. The customer pays what the catalogue says: no surcharge, no conversion at the customer's cost.
#[utoipa::path(post, path = "/v1/payments/checkout", tag = "payments", operation_id = "create_checkout", request_body = CheckoutBody,
    responses((status = 201, description = "the checkout", body = OrderView), (status = 200, description = "the checkout that this order has already", body = OrderView),
        (status = 409, description = "the order's id was used for something else", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "it is not for sale", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "Stripe did not make it as it was ordered", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no key or no catalogue is configured, or Stripe cannot be reached", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn checkout(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let bytes = read_json(&api, &headers, body, BODY_BYTES_MAX, "limit for such requests").await?;
    let sent: CheckoutBody = parse(&bytes)?;
    let basket = Basket { items: sent.items, shipping: sent.shipping };
    let made = checkouts(&api)?.create(&sent.order_id, &basket).await?;
    let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(OrderView::from(made.order))).into_response())
}

/// An order that was sent to a checkout.
#[utoipa::path(get, path = "/v1/payments/orders/{order_id}", tag = "payments", operation_id = "read_order", params(("order_id" = String, Path, description = "your id of the order")),
    responses((status = 200, description = "the order", body = OrderView),
        (status = 404, description = "there is no such order", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn order(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Json<OrderView>> {
    let found = match api.checkouts.as_deref() {
        Some(checkouts) => checkouts.order(&id).await?,
        None => None,
    };
    found.map(|order| Json(order.into())).ok_or_else(|| Problem::not_found(format!("there is no order {:?}", shown(&id))))
}

fn checkouts(api: &Api) -> Answer<&Checkouts> {
    api.checkouts.as_deref().ok_or_else(|| {
        let detail = "this host takes no payments: its operator has to configure stripe.api.key and stripe.checkout";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::NotConfigured, detail)
    })
}

impl From<CheckoutError> for Problem {
    fn from(error: CheckoutError) -> Self {
        let detail = error.to_string();
        match error {
            CheckoutError::Unsellable(why) => Self::invalid_field(why.field, why.why),
            CheckoutError::Conflict(_) => Self::new(StatusCode::CONFLICT, Code::OrderConflict, detail).at("order_id"),
            CheckoutError::Api(ApiError::Passing { why, .. }) => {
                tracing::warn!(why, "a checkout could not be made");
                Self::unavailable("Stripe cannot be reached at the moment; send the same order again")
            }
            CheckoutError::Api(_) | CheckoutError::WrongPrice(_) => {
                tracing::error!(error = detail, "a checkout was not made");
                let told = "Stripe did not make a checkout as it was ordered; the host's log says why";
                Self::new(StatusCode::BAD_GATEWAY, Code::PaymentRefused, told)
            }
            CheckoutError::Store(error) => error.into(),
        }
    }
}
