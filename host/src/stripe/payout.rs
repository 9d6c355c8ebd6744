//! Payouts, as far as it matters which movements make them up.

use serde::{Deserialize, Serialize};

use super::import::ApiObject;
use super::ledger::BalanceTransaction;

/// How the members of an automatic payout stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutListing {
    /// `po_…`.
    pub payout: String,
    /// Lower case.
    pub currency: String,
    /// What was paid out, in minor units; negative when the bank was debited.
    pub amount: i64,
    /// Whether there is anything left to do.
    pub state: ListingState,
}

/// What is known of a payout's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListingState {
    /// Stripe has them ready and they have not been read.
    Due,
    /// They are on record and sum up to the payout.
    Complete,
    /// They were read and do not sum up to the payout. They are read again at the next sync.
    Incomplete,
    /// Not an automatic payout: Stripe cannot say what is in it.
    Unattributable,
}

impl ListingState {
    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Unattributable => "unattributable",
        }
    }

    /// Reads what [`ListingState::name`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Due, Self::Complete, Self::Incomplete, Self::Unattributable].into_iter().find(|state| state.name() == text)
    }
}

/// Only what decides about a payout's members.
#[derive(Deserialize)]
struct Payout {
    amount: i64,
    currency: String,
    automatic: bool,
    #[serde(default)]
    reconciliation_status: Option<String>,
}

/// Whether the members of a payout can be listed by now; nothing for other objects, and for payouts that Stripe has not reconciled yet.
///
/// # Errors
/// What is wrong with the payout.
pub fn payout_listing(object: &ApiObject) -> Result<Option<PayoutListing>, String> {
    if object.object != "payout" {
        return Ok(None);
    }
    let payout: Payout = serde_json::from_str(&object.json).map_err(|error| format!("this is no payout of the API: {error}"))?;
    let state = match (payout.automatic, payout.reconciliation_status.as_deref()) {
        (false, _) | (true, Some("not_applicable")) => ListingState::Unattributable,
        (true, Some("completed")) => ListingState::Due,
        // Not all members are known to Stripe itself yet; the payout is seen again by later syncs.
        (true, _) => return Ok(None),
    };
    Ok(Some(PayoutListing { payout: object.id.clone(), currency: payout.currency, amount: payout.amount, state }))
}

/// Whether the members of a payout are all there: without the payout's own movements they sum up to what was paid out. No members are no
/// payout.
#[must_use]
pub fn is_whole(payout: &PayoutListing, members: &[BalanceTransaction]) -> bool {
    let others: Vec<_> = members.iter().filter(|row| row.source.as_deref() != Some(payout.payout.as_str())).collect();
    let net: i128 = others.iter().map(|row| i128::from(row.net)).sum();
    !others.is_empty() && others.iter().all(|row| row.currency == payout.currency) && net == i128::from(payout.amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(fields: &str) -> Result<Option<PayoutListing>, String> {
        let json = format!(r#"{{"id":"po_1","object":"payout","currency":"eur",{fields}}}"#);
        payout_listing(&ApiObject { object: "payout".to_owned(), id: "po_1".to_owned(), json })
    }

    #[test]
    fn only_automatic_payouts_can_be_taken_apart_and_only_once_stripe_has() {
        let state = |fields: &str| listing(fields).expect("a payout").map(|listing| listing.state);
        assert_eq!(state(r#""amount":100,"automatic":true,"reconciliation_status":"completed""#), Some(ListingState::Due));
        assert_eq!(state(r#""amount":-100,"automatic":true,"reconciliation_status":"in_progress""#), None);
        assert_eq!(state(r#""amount":100,"automatic":false,"reconciliation_status":"not_applicable""#), Some(ListingState::Unattributable));
        assert!(listing(r#""amount":"1.00","automatic":true"#).is_err_and(|why| why.contains("1.00")));
    }
}
