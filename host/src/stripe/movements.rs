//! Movements of the balance that an object carries whole. A dispute carries all of its own, and no event says them elsewhere; other objects
//! carry one where the reference to it was expanded.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::import::{ImportKind, ImportOptions, Quarantined, read_transaction};
use super::ledger::{BalanceTransaction, Owner};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Movements {
    /// Those that could be read.
    pub read: Vec<BalanceTransaction>,
    /// The others, each with what is wrong with it. Lines count the movements of the object, from 1.
    pub unreadable: Vec<Quarantined>,
}

impl Movements {
    /// Whether there are none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.unreadable.is_empty()
    }
}

#[derive(Deserialize)]
struct Carrier<'a> {
    #[serde(default, borrow)]
    balance_transaction: Option<&'a RawValue>,
    #[serde(default, borrow)]
    failure_balance_transaction: Option<&'a RawValue>,
    #[serde(default, borrow)]
    balance_transactions: Option<&'a RawValue>,
    #[serde(default, borrow)]
    charge: Option<&'a RawValue>,
    #[serde(default, borrow)]
    payment_intent: Option<&'a RawValue>,
}

/// Reads the movements that stand in an object's JSON. They are read from its text, because a rate would not survive a float.
#[must_use]
pub(super) fn carried(owner: &Owner, object: &str, order_key: &str) -> Movements {
    let mut found = Movements::default();
    let Ok(carrier) = serde_json::from_str::<Carrier<'_>>(object) else { return found };
    let many: Vec<&RawValue> = carrier.balance_transactions.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
    let single = [carrier.balance_transaction, carrier.failure_balance_transaction];
    // A reference that is only an id is followed by fetching it.
    let whole = single.into_iter().flatten().chain(many).map(RawValue::get).filter(|json| json.starts_with('{'));
    let id = |of: Option<&RawValue>| of.and_then(|of| serde_json::from_str::<String>(of.get()).ok()).filter(|id| !id.is_empty());
    let mut options = ImportOptions::new(ImportKind::Api, owner.clone());
    order_key.clone_into(&mut options.order_key);
    for (json, line) in whole.zip(1..) {
        match read_transaction(json, &options) {
            Ok(mut row) => {
                row.charge = row.charge.or_else(|| id(carrier.charge));
                row.payment_intent = row.payment_intent.or_else(|| id(carrier.payment_intent));
                found.read.push(row);
            }
            Err(why) => found.unreadable.push(Quarantined::new(line, why, json)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::ledger::ORDER_KEY;
    use super::*;

    const TAKEN: &str = r#"{"id":"txn_1","object":"balance_transaction","amount":-1000,"available_on":1700092800,"balance_type":"payments",
        "created":1700000000,"currency":"usd","description":"Chargeback withdrawal for ch_1","exchange_rate":null,"fee":1500,
        "fee_details":[{"amount":1500,"application":null,"currency":"usd","description":"Dispute fee","type":"stripe_fee"}],
        "net":-2500,"reporting_category":"dispute","source":"dp_1","status":"pending","type":"adjustment"}"#;

    fn found(object: &str) -> Movements {
        carried(&Owner { account: String::new(), livemode: true }, object, ORDER_KEY)
    }

    #[test]
    fn a_dispute_carries_its_movements_whole() {
        let movements = found(&format!(r#"{{"id":"dp_1","charge":"ch_1","payment_intent":"pi_1","balance_transactions":[{TAKEN}]}}"#));
        let [row] = movements.read.as_slice() else { panic!("{movements:?}") };
        assert_eq!((row.id.as_str(), row.amount, row.fee, row.net), ("txn_1", -1000, 1500, -2500));
        assert_eq!((row.charge.as_deref(), row.payment_intent.as_deref()), (Some("ch_1"), Some("pi_1")));
        assert!(movements.unreadable.is_empty());
    }

    #[test]
    fn an_expanded_reference_is_read_and_an_id_is_not() {
        assert_eq!(found(&format!(r#"{{"balance_transaction":{TAKEN},"failure_balance_transaction":null}}"#)).read.len(), 1);
        for object in [r#"{"balance_transaction":"txn_1"}"#, r#"{"balance_transactions":[]}"#, r#"{"balance_transactions":7}"#, "[]", ""] {
            assert!(found(object).is_empty(), "{object}");
        }
    }

    #[test]
    fn one_that_cannot_be_read_is_kept_and_hides_no_other() {
        let broken = TAKEN.replace("-1000", "\"-10.00\"");
        let movements = found(&format!(r#"{{"balance_transactions":[{broken},{TAKEN}]}}"#));
        assert_eq!(movements.read.len(), 1);
        assert!(matches!(movements.unreadable.as_slice(), [row] if row.line == 1 && row.reason.starts_with("amount")), "{movements:?}");
    }
}
