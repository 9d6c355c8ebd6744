//! From an object as Stripe shows it to a [`Transaction`]. Fields that are not used are not looked at, and those that say what something
//! belongs to may be missing or expanded. Money is read strictly: an amount that is no whole number of minor units is refused.

use serde_json::{Map, Value};

use super::event::{Content, Event};
use super::kind::{Kind, Subject};
use super::ledger::{AMOUNT_MAX, Owner};
use super::movements::{Movements, carried};
use super::transaction::{BY_API, Grown, Key, Links, Standing, Transaction};

/// Why an object cannot be used. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It is not JSON, or no object.
    #[error("the object cannot be read: {0}")]
    Unreadable(String),
    /// It is of a kind that is not followed.
    #[error("{0}")]
    Kind(String),
    /// Without its id nothing can be said of it.
    #[error("the {} has no id", .0.name())]
    NoId(Kind),
    /// Money that is no whole number of minor units, or out of all proportion, or missing.
    #[error("{field} of {id} is {found}; money is a whole number of minor units, at most {AMOUNT_MAX} either way")]
    Amount {
        /// Of which object.
        id: String,
        /// Which field.
        field: &'static str,
        /// What is there.
        found: String,
    },
    /// A currency that is not three letters.
    #[error("currency of {id} is {found}, which is no currency code of three letters")]
    Currency {
        /// Of which object.
        id: String,
        /// What is there.
        found: String,
    },
}

/// When and by what an object was seen.
#[derive(Debug, Clone, Copy)]
struct Sight<'a> {
    owner: &'a Owner,
    at_s: i64,
    by: &'a str,
    event_type: &'a str,
    order_key: &'a str,
}

/// What an event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Objects as it shows them.
    pub seen: Vec<Transaction>,
    /// An object that it names and does not show.
    pub fetch: Option<Key>,
    /// Movements of the balance that it shows whole.
    pub movements: Movements,
}

/// What an event says of the objects that are followed; nothing, for types that change none. Our order's id stands in the metadata under
/// `order_key`.
///
/// # Errors
/// See [`ObjectError`].
pub fn told(event: &Event<'_>, order_key: &str) -> Result<Told, ObjectError> {
    let Some(Subject::Object(expected)) = event.subject() else { return Ok(Told::default()) };
    match &event.content {
        Content::Snapshot(object) => {
            let event_type = event.event_type.strip_prefix("v1.").unwrap_or(&event.event_type);
            let sight = Sight { owner: &event.owner, at_s: event.created_s, by: &event.id, event_type, order_key };
            let seen = sight.read(object.get(), Some(expected))?;
            Ok(Told { seen, movements: carried(&event.owner, object.get(), order_key), fetch: None })
        }
        Content::Thin { related, .. } => {
            let fetch = related
                .as_ref()
                .and_then(|related| Some(Key { owner: event.owner.clone(), kind: related.kind.parse().ok()?, id: related.id.clone() }));
            Ok(Told { fetch, ..Told::default() })
        }
        Content::Nothing => Err(ObjectError::Unreadable("the event carries none".to_owned())),
    }
}

/// An object that was fetched at this time, and what it carries inside.
///
/// # Errors
/// See [`ObjectError`].
pub fn fetched(owner: &Owner, object: &str, at_s: i64, order_key: &str) -> Result<Vec<Transaction>, ObjectError> {
    Sight { owner, at_s, by: BY_API, event_type: "", order_key }.read(object, None)
}

impl Sight<'_> {
    fn read(self, text: &str, expected: Option<Kind>) -> Result<Vec<Transaction>, ObjectError> {
        let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| ObjectError::Unreadable(error.to_string()))?;
        let object = Fields(&object);
        // What the object says it is counts; the event's type helps out where it says nothing.
        let kind = match (object.text("object"), expected) {
            (Some(name), _) => name.parse().map_err(ObjectError::Kind)?,
            (None, Some(kind)) => kind,
            (None, None) => return Err(ObjectError::Kind("the object does not say what it is".to_owned())),
        };
        let mut seen = Vec::new();
        self.all(kind, object, &mut seen)?;
        Ok(seen)
    }

    /// An object and those that stand inside it: older versions of the API carry a charge's refunds and a payment's charges, and a payment's
    /// latest charge may be expanded.
    fn all(self, kind: Kind, object: Fields<'_>, seen: &mut Vec<Transaction>) -> Result<(), ObjectError> {
        seen.push(self.one(kind, object)?);
        match kind {
            Kind::Charge => object.list("refunds").try_for_each(|refund| self.all(Kind::Refund, refund, seen)),
            Kind::PaymentIntent => {
                let mut charges = object.list("charges").chain(object.inside("latest_charge"));
                charges.try_for_each(|charge| self.all(Kind::Charge, charge, seen))
            }
            _ => Ok(()),
        }
    }

    fn one(self, kind: Kind, object: Fields<'_>) -> Result<Transaction, ObjectError> {
        let id = object.text("id").ok_or(ObjectError::NoId(kind))?;
        let money = |field| object.money(id, field);
        let amount = match kind {
            Kind::CheckoutSession => money("amount_total")?,
            Kind::Invoice => money("total")?.or(money("amount_due")?),
            Kind::InvoicePayment => money("amount_paid")?.or(money("amount_requested")?),
            _ => money("amount")?,
        };
        if amount.is_none() && kind.has_amount() {
            return Err(ObjectError::Amount { id: id.to_owned(), field: "amount", found: "missing".to_owned() });
        }
        let amount = amount.unwrap_or_default();
        let grown = |amount: Option<i64>| Grown { amount: amount.unwrap_or_default(), since_s: self.at_s };
        let captured = match kind {
            // Very old versions only say that it was captured, which then means all of it.
            Kind::Charge => money("amount_captured")?.or(object.flag("captured").then_some(amount)),
            Kind::PaymentIntent => money("amount_received")?,
            _ => None,
        };
        let refunded = match kind {
            Kind::Charge | Kind::ApplicationFee => money("amount_refunded")?,
            Kind::Transfer => money("amount_reversed")?,
            _ => None,
        };
        let status = object.text("status").unwrap_or_default();
        let told = |event_type: &str| (self.event_type == event_type).then_some(self.at_s);
        // A dispute also carries the movements of its money.
        let moved = |taken: bool| {
            let movements = (kind == Kind::Dispute).then(|| object.items("balance_transactions")).into_iter().flatten();
            let of_this_sign = movements.filter(move |one| one.whole("amount").is_some_and(|amount| amount != 0 && (amount < 0) == taken));
            of_this_sign.filter_map(|one| one.whole("created")).min()
        };
        // An invoice's payment says one level deeper what it was paid with.
        let paid = |name| object.inside("payment").find_map(|payment| payment.id(name));
        Ok(Transaction {
            key: Key { owner: self.owner.clone(), kind, id: id.to_owned() },
            standing: Standing {
                status: status.to_owned(),
                amount,
                currency: object.currency(id)?,
                arrival_s: object.whole("arrival_date"),
                at_s: self.at_s,
                by: self.by.to_owned(),
                contested: false,
            },
            rank_since_s: self.at_s,
            created_s: object.whole("created").unwrap_or(self.at_s),
            captured: grown(captured),
            refunded: grown(refunded),
            held: kind == Kind::Charge && status == "succeeded" && object.is_false("captured"),
            paid: matches!(object.text("payment_status"), Some("paid" | "no_payment_required")),
            reconciled: object.text("reconciliation_status") == Some("completed"),
            withdrawn_s: moved(true).or(told("charge.dispute.funds_withdrawn")),
            reinstated_s: moved(false).or(told("charge.dispute.funds_reinstated")),
            links: Links {
                payment_intent: object.id("payment_intent").or_else(|| paid("payment_intent")),
                charge: object.id(if kind == Kind::PaymentIntent { "latest_charge" } else { "charge" }).or_else(|| paid("charge")),
                balance_transaction: object.id("balance_transaction"),
                failure_balance_transaction: object.id("failure_balance_transaction"),
                order_id: object.order(self.order_key),
            },
        })
    }
}

/// The fields of an object.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn whole(self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    fn flag(self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    fn is_false(self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(false))
    }

    /// The id of another object, which may stand there whole.
    fn id(self, name: &str) -> Option<String> {
        let value = self.0.get(name)?;
        let id = value.as_str().or_else(|| value.get("id")?.as_str());
        id.filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// The objects of a list of the API.
    fn list(self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        self.inside(name).flat_map(|list| list.items("data"))
    }

    /// The objects of an array.
    fn items(self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let items = self.0.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| item.as_object().map(Fields))
    }

    /// An object that stands there whole, if it does.
    fn inside(self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        self.0.get(name).and_then(Value::as_object).map(Fields).into_iter()
    }

    /// Our own order's id: from the metadata, or where a checkout session has a place for it.
    fn order(self, order_key: &str) -> Option<String> {
        let named = self.0.get("metadata").and_then(|metadata| metadata.get(order_key)).and_then(Value::as_str);
        named.or_else(|| self.text("client_reference_id")).filter(|order| !order.is_empty()).map(str::to_owned)
    }

    fn money(self, id: &str, field: &'static str) -> Result<Option<i64>, ObjectError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let amount = value.as_i64().filter(|amount| (-AMOUNT_MAX..=AMOUNT_MAX).contains(amount));
                let wrong = || ObjectError::Amount { id: id.to_owned(), field, found: shortened(value) };
                amount.map(Some).ok_or_else(wrong)
            }
        }
    }

    fn currency(self, id: &str) -> Result<String, ObjectError> {
        match self.0.get("currency") {
            None | Some(Value::Null) => Ok(String::new()),
            Some(value) => {
                let code = value.as_str().filter(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic()));
                let wrong = || ObjectError::Currency { id: id.to_owned(), found: shortened(value) };
                code.map(str::to_ascii_lowercase).ok_or_else(wrong)
            }
        }
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ledger::ORDER_KEY;
    use super::*;

    fn from_event(event_type: &str, object: &str) -> Result<Told, ObjectError> {
        let body = format!(r#"{{"id":"evt_1","type":"{event_type}","created":100,"livemode":true,"data":{{"object":{object}}}}}"#);
        told(&Event::parse(body.as_bytes()).unwrap(), ORDER_KEY)
    }

    fn one(event_type: &str, object: &str) -> Transaction {
        let mut told = from_event(event_type, object).unwrap();
        assert_eq!((told.seen.len(), &told.fetch), (1, &None));
        told.seen.remove(0)
    }

    #[test]
    fn a_charge_with_ids_expanded_or_not() {
        let charge = one(
            "charge.updated",
            r#"{"id":"ch_1","object":"charge","status":"succeeded","amount":1000,"amount_captured":700,"amount_refunded":300,"captured":true,
                "currency":"EUR","created":90,"payment_intent":{"id":"pi_1","object":"payment_intent"},"balance_transaction":"txn_1",
                "metadata":{"order_id":"o-7"},"destination":null}"#,
        );
        assert_eq!((charge.key.kind, charge.key.id.as_str(), charge.standing.currency.as_str()), (Kind::Charge, "ch_1", "eur"));
        assert_eq!((charge.captured.amount, charge.refunded.amount, charge.created_s, charge.held), (700, 300, 90, false));
        assert_eq!(charge.links.payment_intent.as_deref(), Some("pi_1"));
        assert_eq!((charge.links.balance_transaction.as_deref(), charge.links.order_id.as_deref()), (Some("txn_1"), Some("o-7")));
        let old = one("charge.captured", r#"{"id":"ch_1","status":"paid","amount":500,"captured":true,"currency":"usd"}"#);
        assert_eq!((old.captured.amount, old.created_s), (500, 100));
    }

    #[test]
    fn our_order_is_named_by_the_operators_key() {
        let object = r#"{"id":"ch_1","object":"charge","status":"succeeded","amount":1,"currency":"eur","metadata":{"booking":"b-1","order_id":"o-1"}}"#;
        let body = format!(r#"{{"id":"evt_1","type":"charge.updated","created":100,"data":{{"object":{object}}}}}"#);
        let order = |key: &str| told(&Event::parse(body.as_bytes()).unwrap(), key).unwrap().seen.remove(0).links.order_id;
        assert_eq!([order("booking"), order(ORDER_KEY), order("other")], [Some("b-1".to_owned()), Some("o-1".to_owned()), None]);
    }

    #[test]
    fn a_rupiah_payout_is_as_long_as_it_is() {
        let payout = |amount: i64| format!(r#"{{"id":"po_1","object":"payout","status":"paid","currency":"idr","amount":{amount}}}"#);
        assert_eq!(one("payout.paid", &payout(25_000_000_000_000)).standing.amount, 25_000_000_000_000, "about fifteen million dollars");
        assert!(from_event("payout.paid", &payout(AMOUNT_MAX + 1)).is_err() && from_event("payout.paid", &payout(i64::MIN)).is_err());
    }

    #[test]
    fn refunds_inside_an_old_charge_are_seen_too() {
        let object = r#"{"id":"ch_1","object":"charge","status":"succeeded","amount":1000,"currency":"usd",
            "refunds":{"object":"list","data":[{"id":"re_1","object":"refund","amount":300,"currency":"usd","charge":"ch_1","status":"succeeded"}]}}"#;
        let told = from_event("charge.refunded", object).unwrap();
        let ids: Vec<_> = told.seen.iter().map(|seen| seen.key.id.as_str()).collect();
        assert_eq!(ids, ["ch_1", "re_1"]);
        assert_eq!(told.seen[1].links.charge.as_deref(), Some("ch_1"));
    }

    #[test]
    fn a_completed_session_is_not_a_paid_one() {
        let session = |paid: &str| {
            let object = format!(
                r#"{{"id":"cs_1","object":"checkout.session","status":"complete","payment_status":"{paid}","amount_total":500,"currency":"eur","client_reference_id":"o-1"}}"#
            );
            one("checkout.session.completed", &object)
        };
        assert!(session("paid").paid && session("no_payment_required").paid && !session("unpaid").paid);
        assert_eq!((session("unpaid").standing.amount, session("unpaid").links.order_id), (500, Some("o-1".to_owned())));
    }

    #[test]
    fn only_the_two_events_about_funds_move_a_disputes_money() {
        let object = r#"{"id":"dp_1","object":"dispute","status":"needs_response","amount":1000,"currency":"usd","charge":"ch_1"}"#;
        let at = |event_type: &str| {
            let dispute = one(event_type, object);
            (dispute.withdrawn_s, dispute.reinstated_s)
        };
        assert_eq!(at("charge.dispute.created"), (None, None));
        assert_eq!(at("charge.dispute.funds_withdrawn"), (Some(100), None));
        assert_eq!(at("charge.dispute.funds_reinstated"), (None, Some(100)));
    }

    #[test]
    fn money_that_is_no_whole_number_is_refused_by_name() {
        for (object, says) in [
            (r#"{"id":"po_1","object":"payout","amount":"10.00","currency":"usd"}"#, "amount of po_1 is \"10.00\""),
            (r#"{"id":"po_1","object":"payout","amount":10.5,"currency":"usd"}"#, "amount of po_1 is 10.5"),
            (r#"{"id":"po_1","object":"payout","currency":"usd"}"#, "amount of po_1 is missing"),
            (r#"{"id":"po_1","object":"payout","amount":9223372036854775807,"currency":"usd"}"#, "amount of po_1 is 9223"),
            (r#"{"id":"po_1","object":"payout","amount":1,"currency":"dollars"}"#, "currency of po_1 is \"dollars\""),
            (r#"{"object":"payout","amount":1,"currency":"usd"}"#, "the payout has no id"),
            (r#"{"id":"cus_1","object":"customer"}"#, "\"customer\" is no kind"),
        ] {
            let refusal = from_event("payout.paid", object).expect_err(object).to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
        let negative = one("payout.paid", r#"{"id":"po_1","object":"payout","amount":-250,"currency":"usd","status":"paid"}"#);
        assert_eq!(negative.standing.amount, -250, "a payout can take money from the bank");
    }

    #[test]
    fn a_thin_event_names_what_to_fetch() {
        let body = br#"{"id":"evt_2","object":"v2.core.event","type":"v1.charge.updated","created":"2026-10-04T15:13:32Z","livemode":true,
            "related_object":{"id":"ch_1","type":"charge"}}"#;
        let told = told(&Event::parse(body).unwrap(), ORDER_KEY).unwrap();
        assert_eq!(told.fetch.map(|key| (key.kind, key.id)), Some((Kind::Charge, "ch_1".to_owned())));
        assert!(told.seen.is_empty());
    }

    #[test]
    fn fetched_objects_say_themselves_what_they_are() {
        let owner = Owner { account: String::new(), livemode: false };
        let seen =
            fetched(&owner, r#"{"id":"re_1","object":"refund","amount":1,"currency":"usd","status":"failed"}"#, 7, ORDER_KEY).unwrap();
        assert_eq!((seen[0].key.kind, seen[0].standing.by.as_str(), seen[0].standing.at_s), (Kind::Refund, BY_API, 7));
        assert!(fetched(&owner, r#"{"id":"re_1"}"#, 7, ORDER_KEY).is_err());
    }

    /// JSON of any shape, with the names that are read among its keys.
    fn any_json() -> impl Strategy<Value = Value> {
        let key = proptest::sample::select(vec![
            "id",
            "object",
            "type",
            "created",
            "livemode",
            "account",
            "data",
            "status",
            "amount",
            "amount_refunded",
            "currency",
            "captured",
            "refunds",
            "charge",
            "metadata",
            "order_id",
            "related_object",
            "snapshot_event",
            "payment_status",
            "arrival_date",
            "x",
        ]);
        let word = proptest::sample::select(vec![
            "charge",
            "refund",
            "payout",
            "charge.updated",
            "v2.core.event",
            "v1.charge.updated",
            "usd",
            "succeeded",
            "ch_1",
            "",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0_i64..2000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..10)
                    .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_of_any_shape_is_read_or_refused(object in any_json(), envelope in any_json(), event_type in "(v1\\.)?(charge|refund|payout|charge\\.dispute)\\.(updated|created|paid|succeeded)") {
            let _ = Event::parse(envelope.to_string().as_bytes()).map(|event| told(&event, ORDER_KEY));
            let Ok(told) = from_event(&event_type, &object.to_string()) else { return Ok(()) };
            for seen in told.seen {
                prop_assert!(!seen.key.id.is_empty() && seen.standing.amount.abs() <= AMOUNT_MAX);
                prop_assert!(seen.standing.currency.is_empty() || seen.standing.currency.len() == 3);
                prop_assert_eq!(seen.clone().join(seen.clone()), seen);
            }
        }
    }
}
