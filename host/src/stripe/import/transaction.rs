//! A balance transaction as the API writes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use taskwarden_money::Rate;

use super::{ImportOptions, check_net, currency};
use crate::clock::UnixMs;
use crate::stripe::ledger::{BalanceTransaction, Origin};

/// Only the fields that are used: the API may add others at any time.
#[derive(Deserialize)]
struct Written<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    reporting_category: Option<String>,
    balance_type: Option<String>,
    source: Option<Source>,
    status: String,
    currency: String,
    amount: i64,
    fee: i64,
    net: i64,
    fee_details: Option<Vec<FeeDetail>>,
    /// Kept as it is written: a rate is a decimal, and would not survive a float.
    #[serde(borrow)]
    exchange_rate: Option<&'a RawValue>,
    created: i64,
    available_on: i64,
    description: Option<String>,
}

#[derive(Deserialize)]
struct FeeDetail {
    amount: i64,
}

/// A reference, which is an id, or the object itself where it was asked to be expanded.
#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Id(String),
    Object(Box<Expanded>),
}

#[derive(Deserialize)]
struct Expanded {
    id: String,
    object: Option<String>,
    charge: Option<Source>,
    payment_intent: Option<Source>,
    metadata: Option<BTreeMap<String, Value>>,
}

impl Source {
    fn into_id(self) -> String {
        match self {
            Self::Id(id) => id,
            Self::Object(object) => object.id,
        }
    }
}

/// What is known of the source of a movement.
#[derive(Default)]
struct Origins {
    source: Option<String>,
    charge: Option<String>,
    payment_intent: Option<String>,
    order_id: Option<String>,
}

impl Origins {
    fn of(source: Option<Source>, order_key: &str) -> Self {
        let is_charge = |id: &str| id.starts_with("ch_") || id.starts_with("py_");
        match source {
            None => Self::default(),
            Some(Source::Id(id)) => Self { charge: is_charge(&id).then(|| id.clone()), source: Some(id), ..Self::default() },
            Some(Source::Object(mut object)) => Self {
                charge: if object.object.as_deref() == Some("charge") || is_charge(&object.id) {
                    Some(object.id.clone())
                } else {
                    object.charge.take().map(Source::into_id)
                },
                payment_intent: object.payment_intent.take().map(Source::into_id),
                order_id: object
                    .metadata
                    .take()
                    .and_then(|metadata| Some(metadata.get(order_key)?.as_str()?.to_owned()))
                    .filter(|id| !id.is_empty()),
                source: Some(object.id),
            },
        }
    }
}

/// Reads one balance transaction of the API.
///
/// # Errors
/// What is wrong with it, naming the field.
pub fn read_transaction(json: &str, options: &ImportOptions) -> Result<BalanceTransaction, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let written: Written<'_> = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        format!("{field}: {}; the API gives money as integers in minor units", error.inner())
    })?;
    check_net(written.amount, written.fee, written.net)?;
    let fee_details = written.fee_details.unwrap_or_default();
    let details: i128 = fee_details.iter().map(|detail| i128::from(detail.amount)).sum();
    if !fee_details.is_empty() && details != i128::from(written.fee) {
        return Err(format!("the fee is {} and its fee_details sum up to {details}", written.fee));
    }
    let origins = Origins::of(written.source, &options.order_key);
    Ok(BalanceTransaction {
        id: written.id,
        kind: Some(written.kind),
        reporting_category: written.reporting_category,
        balance_type: written.balance_type.unwrap_or_else(|| "payments".to_owned()),
        source: origins.source,
        status: Some(written.status),
        currency: currency(&written.currency)?.to_string(),
        amount: written.amount,
        fee: written.fee,
        net: written.net,
        exchange_rate: written.exchange_rate.map(|raw| rate(raw.get())).transpose()?,
        created_at: seconds(written.created)?,
        available_on: seconds(written.available_on)?,
        payout: options.payout.clone(),
        charge: origins.charge,
        payment_intent: origins.payment_intent,
        order_id: origins.order_id,
        description: written.description,
        origin: Origin::Api,
    })
}

fn rate(text: &str) -> Result<String, String> {
    Rate::parse(text.as_bytes()).map(|_| text.to_owned()).map_err(|error| format!("exchange_rate: {}: {error}", super::cut(text, 40)))
}

/// Whole seconds since 1970, as the API gives time.
fn seconds(seconds: i64) -> Result<UnixMs, String> {
    seconds.checked_mul(1000).map(UnixMs).ok_or_else(|| format!("{seconds} is no time in seconds since 1970"))
}
