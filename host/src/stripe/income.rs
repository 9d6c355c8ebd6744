//! What each fact adds to the income, and how that is summed.
//!
//! Two figures are kept apart because they are different things. *Provisional* income is what charges, refunds, disputes and payouts
//! say, at once and in the currency the customer paid. *Final* income is what moved the balance, in the currency it is settled in, with fees.
//!
//! A fact's contribution is computed from the fact as it stands and from nothing else. Whoever changes a fact adds the difference between its
//! new contribution and its old one to the running sums, in the same transaction. So the running sums are at any time what a sum over
//! all facts gives.

use std::collections::BTreeMap;

use super::figures::{Column, column};
use super::kind::Kind;
use super::ledger::{BalanceTransaction, Owner};
use super::transaction::Transaction;
use crate::zone::QUARTER_HOUR_MS;

/// Sums are kept for this long each, in UTC. Every zone in use is a whole number of these away from UTC, so that any zone's days can
/// be put together from them.
pub const BUCKET_MS: i64 = QUARTER_HOUR_MS;

/// A day is closed this long after its end: whatever comes later restates it. Stripe's own reports of a day are complete after so long.
pub const CLOSED_AFTER_MS: i64 = 12 * 60 * 60 * 1000;

/// The balance that is meant where nothing is said.
pub const PAYMENTS: &str = "payments";

/// Where figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// From charges and their like.
    Provisional,
    /// From balance transactions.
    Final,
}

impl Basis {
    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        }
    }
}

impl std::str::FromStr for Basis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Provisional, Self::Final]
            .into_iter()
            .find(|basis| basis.name() == text)
            .ok_or_else(|| format!("{text:?} is neither provisional nor final"))
    }
}

/// What one sum is about. Nothing is ever summed over any of these but time and category.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Whose.
    pub owner: Owner,
    /// From what.
    pub basis: Basis,
    /// Start of the quarter of an hour, in milliseconds UTC.
    pub bucket_ms: i64,
    /// Which of the account's balances.
    pub balance_type: String,
    /// Lower case.
    pub currency: String,
    /// Stripe's reporting category.
    pub category: String,
}

/// What is summed, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many facts.
    pub count: i64,
    /// Before fees.
    pub amount: i64,
    /// What Stripe kept.
    pub fee: i64,
    /// After fees.
    pub net: i64,
}

/// Sums no longer fit into 64 bits: the facts cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sums of money no longer fit into 64 bits; the amounts cannot be true")]
pub struct Overflow;

impl Sums {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Adds another.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.combine(other, i64::checked_add)
    }

    /// Takes another away.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn minus(self, other: Self) -> Result<Self, Overflow> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Self, with: impl Fn(i64, i64) -> Option<i64>) -> Result<Self, Overflow> {
        let each = |one, other| with(one, other).ok_or(Overflow);
        Ok(Self {
            count: each(self.count, other.count)?,
            amount: each(self.amount, other.amount)?,
            fee: each(self.fee, other.fee)?,
            net: each(self.net, other.net)?,
        })
    }
}

/// One contribution.
pub type Part = (Cell, Sums);

/// Changes of the running sums. Those that come to nothing are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deltas(BTreeMap<Cell, Sums>);

impl Deltas {
    /// Adds what a fact contributes now.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn add(&mut self, parts: impl IntoIterator<Item = Part>) -> Result<(), Overflow> {
        parts.into_iter().try_for_each(|(cell, sums)| self.put(cell, sums, Sums::plus))
    }

    /// Takes away what it contributed before.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn take(&mut self, parts: impl IntoIterator<Item = Part>) -> Result<(), Overflow> {
        parts.into_iter().try_for_each(|(cell, sums)| self.put(cell, sums, Sums::minus))
    }

    fn put(&mut self, cell: Cell, sums: Sums, how: impl Fn(Sums, Sums) -> Result<Sums, Overflow>) -> Result<(), Overflow> {
        let there = self.0.entry(cell).or_default();
        *there = how(*there, sums)?;
        Ok(())
    }

    /// The changes, in the order of their cells.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, Sums)> {
        self.0.iter().map(|(cell, sums)| (cell, *sums)).filter(|(_, sums)| !sums.is_zero())
    }
}

/// The quarter of an hour of a moment.
#[must_use]
pub fn bucket(at_ms: i64) -> i64 {
    at_ms.div_euclid(BUCKET_MS).saturating_mul(BUCKET_MS)
}

/// What an object adds to provisional income. `refunds` is the sum of all refunds of a charge that were seen as objects of their own,
/// whatever became of them; it is used for charges alone.
#[must_use]
pub fn of_transaction(row: &Transaction, refunds: i64) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |category: &str, at_s: i64, amount: i64| {
        if amount != 0 {
            parts.push(part(row, category, at_s, amount));
        }
    };
    let status = row.standing.status.as_str();
    let amount = row.standing.amount;
    match row.key.kind {
        Kind::Charge if status != "failed" && status != "pending" => {
            // What was authorised first is income when it is captured.
            let at_s = if row.held { row.captured.since_s } else { row.created_s };
            add("charge", at_s, row.captured.amount);
            // Stripe counts what was never captured as given back. That is no refund.
            let never_captured = amount.saturating_sub(row.captured.amount).max(0);
            let given_back = row.refunded.amount.saturating_sub(never_captured).max(0);
            // What the charge says beyond the refunds that were seen: an account may only send events of charges. It is less than nothing
            // where refunds were seen that gave back what was never captured.
            let unseen = given_back.saturating_sub(refunds).max(-never_captured);
            add("refund", row.refunded.since_s, -unseen);
        }
        Kind::Refund => {
            add("refund", row.created_s, -amount);
            if matches!(status, "failed" | "canceled") {
                add("refund_failure", row.rank_since_s, amount);
            }
        }
        Kind::Dispute => {
            if let Some(at_s) = row.withdrawn_s {
                add("dispute", at_s, -amount);
            }
            if let Some(at_s) = row.reinstated_s {
                add("dispute_reversal", at_s, amount);
            }
        }
        Kind::Payout => {
            add("payout", row.standing.arrival_s.unwrap_or(row.created_s), -amount);
            if matches!(status, "failed" | "canceled") {
                add("payout_reversal", row.rank_since_s, amount);
            }
        }
        _ => {}
    }
    parts
}

/// What a movement of the balance adds to final income. Payouts count when they arrive, everything else when it happened.
#[must_use]
pub fn of_movement(owner: &Owner, movement: &BalanceTransaction) -> Part {
    let category = category_of(movement);
    let at = if column(category) == Column::Payouts { movement.available_on } else { movement.created_at };
    let cell = Cell {
        owner: owner.clone(),
        basis: Basis::Final,
        bucket_ms: bucket(at.0),
        balance_type: movement.balance_type.clone(),
        currency: movement.currency.clone(),
        category: category.to_owned(),
    };
    (cell, Sums { count: 1, amount: movement.amount, fee: movement.fee, net: movement.net })
}

/// The reporting category; for movements that do not say theirs, the one of their type. A dispute's type is only `adjustment`, and a partial
/// capture's only `refund`: there the source and the sign tell. A type of tomorrow stays as it is, to be counted as unclassified.
fn category_of(movement: &BalanceTransaction) -> &str {
    let (category, kind) = (movement.reporting_category.as_deref(), movement.kind.as_deref());
    let is_of = |prefixes: [&str; 2]| movement.source.as_deref().is_some_and(|id| prefixes.iter().any(|prefix| id.starts_with(prefix)));
    match (category, kind.unwrap_or("unclassified")) {
        (Some(category), _) => category,
        (None, "payment") => "charge",
        (None, "refund" | "payment_refund") if is_of(["ch_", "py_"]) => "partial_capture_reversal",
        (None, "payment_refund") => "refund",
        (None, "payment_failure_refund" | "payment_reversal") => "charge_failure",
        (None, "payout_cancel" | "payout_failure") => "payout_reversal",
        (None, "adjustment") if is_of(["dp_", "du_"]) => {
            if movement.amount > 0 {
                "dispute_reversal"
            } else {
                "dispute"
            }
        }
        (None, "adjustment") => "other_adjustment",
        (None, "stripe_fee" | "stripe_fx_fee") => "fee",
        (None, "tax_fee") => "tax",
        (None, "application_fee") => "platform_earning",
        (None, "application_fee_refund") => "platform_earning_refund",
        (None, "transfer_cancel" | "transfer_failure" | "transfer_refund") => "transfer_reversal",
        (None, "reserve_transaction") => "risk_reserved_funds",
        (None, "reserved_funds") => "connect_reserved_funds",
        (None, "payment_network_reserve_hold" | "payment_network_reserve_release") => "payment_network_reserved_funds",
        (None, "payment_unreconciled") => "unreconciled_customer_funds",
        (None, "obligation_outbound" | "obligation_reversal_inbound") => "obligation",
        (None, kind) => kind,
    }
}

fn part(row: &Transaction, category: &str, at_s: i64, amount: i64) -> Part {
    let cell = Cell {
        owner: row.key.owner.clone(),
        basis: Basis::Provisional,
        bucket_ms: bucket(at_s.saturating_mul(1000)),
        balance_type: PAYMENTS.to_owned(),
        currency: row.standing.currency.clone(),
        category: category.to_owned(),
    };
    (cell, Sums { count: 1, amount, fee: 0, net: amount })
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::super::ledger::{ORDER_KEY, Origin};
    use super::super::object::told;
    use super::*;
    use crate::clock::UnixMs;

    /// An object as an event at this second shows it.
    fn seen(event_type: &str, at_s: i64, object: &str) -> Transaction {
        let body = format!(
            r#"{{"id":"evt_{at_s}","type":"{event_type}","created":{at_s},"livemode":true,"data":{{"object":{{"currency":"usd",{object}}}}}}}"#
        );
        told(&Event::parse(body.as_bytes()).unwrap(), ORDER_KEY).unwrap().seen.remove(0)
    }

    /// Category, second of the bucket, amount.
    fn parts(row: &Transaction, refunds: i64) -> Vec<(String, i64, i64)> {
        of_transaction(row, refunds).into_iter().map(|(cell, sums)| (cell.category, cell.bucket_ms / 1000, sums.amount)).collect()
    }

    fn owned(list: &[(&str, i64, i64)]) -> Vec<(String, i64, i64)> {
        list.iter().map(|(category, at_s, amount)| ((*category).to_owned(), *at_s, *amount)).collect()
    }

    #[test]
    fn buckets_begin_at_quarters_of_an_hour_also_before_1970() {
        assert_eq!((bucket(0), bucket(BUCKET_MS - 1), bucket(BUCKET_MS), bucket(-1)), (0, 0, BUCKET_MS, -BUCKET_MS));
    }

    #[test]
    fn a_charge_counts_when_it_was_made_and_a_held_one_when_it_was_captured() {
        let direct = seen(
            "charge.updated",
            9000,
            r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":1000,"captured":true,"created":900"#,
        );
        assert_eq!(parts(&direct, 0), owned(&[("charge", 900, 1000)]));
        let held = seen(
            "charge.succeeded",
            900,
            r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":0,"captured":false,"created":900"#,
        );
        assert_eq!(parts(&held, 0), []);
        let captured = seen(
            "charge.captured",
            9000,
            r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":1000,"captured":true,"created":900"#,
        );
        assert_eq!(parts(&held.join(captured), 0), owned(&[("charge", 9000, 1000)]));
        for status in ["pending", "failed"] {
            let row = seen("charge.failed", 9, &format!(r#""id":"ch_1","status":"{status}","amount":1000,"amount_captured":1000"#));
            assert_eq!(parts(&row, 0), []);
        }
    }

    #[test]
    fn refunds_count_once_whether_they_were_seen_or_only_their_sum() {
        let charge = seen(
            "charge.refunded",
            1800,
            r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":1000,"amount_refunded":300,"created":900"#,
        );
        assert_eq!(parts(&charge, 0), owned(&[("charge", 900, 1000), ("refund", 1800, -300)]));
        assert_eq!(parts(&charge, 300), owned(&[("charge", 900, 1000)]));
        assert_eq!(parts(&charge, 100), owned(&[("charge", 900, 1000), ("refund", 1800, -200)]));
        assert_eq!(parts(&charge, 500), owned(&[("charge", 900, 1000)]), "a refund that failed is no less a refund that was seen");
    }

    #[test]
    fn what_was_never_captured_is_no_refund() {
        let partial = r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":700,"created":900"#;
        let charge = seen("charge.captured", 1800, &format!(r#"{partial},"amount_refunded":300"#));
        assert_eq!(parts(&charge, 0), owned(&[("charge", 900, 700)]));
        assert_eq!(parts(&charge, 300), owned(&[("charge", 900, 700), ("refund", 1800, 300)]), "its refund object is taken back");
        let refunded = seen("charge.refunded", 1800, &format!(r#"{partial},"amount_refunded":500"#));
        assert_eq!(parts(&refunded, 200), owned(&[("charge", 900, 700)]));
        let released = seen(
            "charge.expired",
            1800,
            r#""id":"ch_1","status":"succeeded","amount":1000,"amount_captured":0,"amount_refunded":1000,"captured":false"#,
        );
        assert_eq!(parts(&released, 0), []);
        assert_eq!(parts(&released, 1000), owned(&[("refund", 1800, 1000)]));
    }

    #[test]
    fn what_comes_back_later_lands_on_its_own_day() {
        let refund = seen("refund.failed", 90_000, r#""id":"re_1","status":"failed","amount":300,"created":900"#);
        assert_eq!(parts(&refund, 0), owned(&[("refund", 900, -300), ("refund_failure", 90_000, 300)]));
        let payout = seen("payout.failed", 90_000, r#""id":"po_1","status":"failed","amount":500,"arrival_date":1800"#);
        assert_eq!(parts(&payout, 0), owned(&[("payout", 1800, -500), ("payout_reversal", 90_000, 500)]));
        let paid = seen("payout.paid", 9, r#""id":"po_1","status":"paid","amount":-500,"arrival_date":1800"#);
        assert_eq!(parts(&paid, 0), owned(&[("payout", 1800, 500)]), "a negative payout brings money");
    }

    #[test]
    fn a_movement_counts_when_it_happened_and_a_payout_when_it_arrives() {
        let mut movement = BalanceTransaction {
            id: "txn_1".to_owned(),
            kind: Some("charge".to_owned()),
            reporting_category: Some("charge".to_owned()),
            balance_type: PAYMENTS.to_owned(),
            source: None,
            status: None,
            currency: "eur".to_owned(),
            amount: 1000,
            fee: 59,
            net: 941,
            exchange_rate: None,
            created_at: UnixMs(BUCKET_MS + 1),
            available_on: UnixMs(9 * BUCKET_MS),
            payout: None,
            charge: None,
            payment_intent: None,
            order_id: None,
            description: None,
            origin: Origin::Api,
        };
        let owner = Owner { account: String::new(), livemode: true };
        let place = |movement: &BalanceTransaction| {
            let (cell, sums) = of_movement(&owner, movement);
            (cell.category, cell.bucket_ms / BUCKET_MS, sums.amount, sums.fee, sums.net)
        };
        assert_eq!(place(&movement), ("charge".to_owned(), 1, 1000, 59, 941));
        movement.reporting_category = None;
        for (kind, category, bucket) in [
            ("payment_refund", "refund", 1),
            ("payout_failure", "payout_reversal", 9),
            ("payout", "payout", 9),
            ("of_tomorrow", "of_tomorrow", 1),
        ] {
            movement.kind = Some(kind.to_owned());
            let (said, at, ..) = place(&movement);
            assert_eq!((said.as_str(), at), (category, bucket));
        }
    }

    #[test]
    fn a_dispute_moves_money_only_when_stripe_says_that_funds_moved() {
        let dispute = |event_type: &str, at_s: i64| seen(event_type, at_s, r#""id":"dp_1","status":"needs_response","amount":1000"#);
        let opened = dispute("charge.dispute.created", 900);
        assert_eq!(parts(&opened, 0), []);
        let row = opened.join(dispute("charge.dispute.funds_reinstated", 90_000)).join(dispute("charge.dispute.funds_withdrawn", 1800));
        assert_eq!(parts(&row, 0), owned(&[("dispute", 1800, -1000), ("dispute_reversal", 90_000, 1000)]));
    }
}
