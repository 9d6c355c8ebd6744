//! Stripe's ledger as this host keeps it: balance transactions, and what may happen to one when it is seen again.
//!
//! A balance transaction is immutable in its money and in its payout: a second sight of it may add what was not known (its payout, its charge) and may say
//! that its funds became available, and nothing else. A sight that says otherwise is refused, because one of the two was read wrongly.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// No amount is larger, either way: a quadrillion minor units, which is six hundred million dollars even in rupiah. It takes thousands of rows of
/// this size in one sum to reach the end of 64 bits, and a sum that does is refused.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// The metadata key of our order's id, unless the operator says another (`stripe.sync.order_key`).
pub const ORDER_KEY: &str = "order_id";

/// Whose rows these are. Rows of different owners never meet: not in a sum, not in a join.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The connected account (`acct_…`); empty for the account that the key belongs to.
    pub account: String,
    /// Real money.
    pub livemode: bool,
}

/// Real money or not, as users say it. Nothing guesses it: neither balance transactions nor reports say it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Test data.
    Test,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            other => Err(format!("{other:?} is neither live nor test")),
        }
    }
}

/// From which kind of source a row was read. What the API says outranks what a report says, which knows less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A report file.
    Report,
    /// An object of the API.
    Api,
}

impl Origin {
    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Api => "api",
        }
    }

    /// Reads what [`Origin::name`] wrote.
    ///
    /// # Errors
    /// The text, when it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "report" => Ok(Self::Report),
            "api" => Ok(Self::Api),
            other => Err(format!("{other:?} is no origin of a row")),
        }
    }
}

/// One movement of a Stripe balance. Money is in minor units of `currency`, as the API counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceTransaction {
    /// `txn_…`.
    pub id: String,
    /// The API's `type`; reports do not say it.
    pub kind: Option<String>,
    /// What reports group by.
    pub reporting_category: Option<String>,
    /// Which balance it moves; `payments` where nothing is said.
    pub balance_type: String,
    /// What it came from: `ch_…`, `re_…`, `dp_…`, `po_…`, …
    pub source: Option<String>,
    /// `pending` or `available`; reports do not say it.
    pub status: Option<String>,
    /// Lower case.
    pub currency: String,
    /// Gross.
    pub amount: i64,
    /// What Stripe kept; negative when it came back.
    pub fee: i64,
    /// `amount - fee`.
    pub net: i64,
    /// Decimal text, when there was a conversion.
    pub exchange_rate: Option<String>,
    /// When it happened.
    pub created_at: UnixMs,
    /// When the money can be paid out.
    pub available_on: UnixMs,
    /// The automatic payout that it is part of, when that is known.
    pub payout: Option<String>,
    /// The charge behind it.
    pub charge: Option<String>,
    /// The payment behind it.
    pub payment_intent: Option<String>,
    /// Our own order, from the metadata.
    pub order_id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Where this was read.
    pub origin: Origin,
}

/// What a second sight of a row does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// Nothing new in it.
    Same,
    /// The row is now this.
    Changed(Box<BalanceTransaction>),
    /// The two cannot both be true; says which fields.
    Contradiction(String),
}

impl BalanceTransaction {
    /// What the stored row becomes after `seen`. The order of sights does not matter for the money, the status or what only one of
    /// them knows; where both know a text and differ, the API's wins, and between equals the greater text, so that no order is needed.
    #[must_use]
    pub fn merge(&self, seen: &Self) -> Merged {
        let differing: Vec<String> = [
            ("amount", self.amount.to_string(), seen.amount.to_string()),
            ("fee", self.fee.to_string(), seen.fee.to_string()),
            ("net", self.net.to_string(), seen.net.to_string()),
            ("currency", self.currency.clone(), seen.currency.clone()),
            ("balance_type", self.balance_type.clone(), seen.balance_type.clone()),
        ]
        .into_iter()
        // What one of them does not say is no contradiction; but nothing is ever paid out twice.
        .chain(self.payout.clone().zip(seen.payout.clone()).map(|(stored, now)| ("payout", stored, now)))
        .filter(|(_, stored, now)| stored != now)
        .map(|(field, stored, now)| format!("{field} is {stored} on record and {now} here"))
        .collect();
        if !differing.is_empty() {
            return Merged::Contradiction(format!("{} contradicts what is on record: {}", self.id, differing.join(", ")));
        }
        // The better-informed of the two comes first.
        let (first, second) = if seen.origin > self.origin { (seen, self) } else { (self, seen) };
        let level = seen.origin == self.origin;
        let text = |field: fn(&Self) -> &Option<String>| match (field(first), field(second)) {
            (Some(one), Some(other)) if level => Some(one.max(other).clone()),
            (Some(one), _) => Some(one.clone()),
            (None, other) => other.clone(),
        };
        let merged = Self {
            id: self.id.clone(),
            kind: text(|row| &row.kind),
            reporting_category: text(|row| &row.reporting_category),
            balance_type: self.balance_type.clone(),
            source: text(|row| &row.source),
            status: later_status(self.status.as_deref(), seen.status.as_deref()),
            currency: self.currency.clone(),
            amount: self.amount,
            fee: self.fee,
            net: self.net,
            exchange_rate: text(|row| &row.exchange_rate),
            created_at: if level { self.created_at.min(seen.created_at) } else { first.created_at },
            available_on: if level { self.available_on.max(seen.available_on) } else { first.available_on },
            payout: text(|row| &row.payout),
            charge: text(|row| &row.charge),
            payment_intent: text(|row| &row.payment_intent),
            order_id: text(|row| &row.order_id),
            description: text(|row| &row.description),
            origin: first.origin,
        };
        if merged == *self { Merged::Same } else { Merged::Changed(Box::new(merged)) }
    }
}

/// Funds become available once and stay so.
fn later_status(one: Option<&str>, other: Option<&str>) -> Option<String> {
    let rank = |status: &str| u8::from(status == "available");
    match (one, other) {
        (Some(one), Some(other)) => Some(if (rank(other), other) > (rank(one), one) { other } else { one }.to_owned()),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(origin: Origin) -> BalanceTransaction {
        BalanceTransaction {
            id: "txn_1".to_owned(),
            kind: None,
            reporting_category: Some("charge".to_owned()),
            balance_type: "payments".to_owned(),
            source: Some("ch_1".to_owned()),
            status: Some("pending".to_owned()),
            currency: "eur".to_owned(),
            amount: 1000,
            fee: 59,
            net: 941,
            exchange_rate: None,
            created_at: UnixMs(1_000),
            available_on: UnixMs(9_000),
            payout: None,
            charge: None,
            payment_intent: None,
            order_id: None,
            description: None,
            origin,
        }
    }

    #[test]
    fn a_second_sight_adds_what_was_not_known_and_never_takes_back() {
        let stored = row(Origin::Api);
        assert_eq!(stored.merge(&stored), Merged::Same);
        let seen = BalanceTransaction { status: Some("available".to_owned()), payout: Some("po_1".to_owned()), ..row(Origin::Api) };
        let Merged::Changed(merged) = stored.merge(&seen) else { panic!("something is new") };
        assert_eq!((merged.status.as_deref(), merged.payout.as_deref()), (Some("available"), Some("po_1")));
        assert_eq!(merged.merge(&stored), Merged::Same, "an older sight changes nothing");
    }

    #[test]
    fn a_report_fills_gaps_and_does_not_overrule_the_api() {
        let report =
            BalanceTransaction { created_at: UnixMs(2_000), order_id: Some("o-1".to_owned()), status: None, ..row(Origin::Report) };
        let api = BalanceTransaction { kind: Some("charge".to_owned()), ..row(Origin::Api) };
        let (Merged::Changed(one), Merged::Changed(other)) = (report.merge(&api), api.merge(&report)) else { panic!("both add") };
        assert_eq!(one, other, "in either order");
        assert_eq!((one.created_at, one.order_id.as_deref(), one.origin), (UnixMs(1_000), Some("o-1"), Origin::Api));
    }

    #[test]
    fn other_money_is_refused_with_the_fields() {
        let seen = BalanceTransaction { amount: 100_000, net: 99_941, ..row(Origin::Api) };
        let Merged::Contradiction(why) = row(Origin::Api).merge(&seen) else { panic!("the amounts differ") };
        assert!(why.contains("amount is 1000 on record and 100000 here") && why.contains("net is"), "{why}");
    }

    #[test]
    fn what_was_paid_out_is_in_no_other_payout() {
        let paid = |payout: &str| BalanceTransaction { payout: Some(payout.to_owned()), ..row(Origin::Api) };
        assert!(matches!(row(Origin::Report).merge(&paid("po_1")), Merged::Changed(_)));
        assert_eq!(paid("po_1").merge(&row(Origin::Api)), Merged::Same);
        let Merged::Contradiction(why) = paid("po_1").merge(&paid("po_2")) else { panic!("two payouts") };
        assert!(why.contains("payout is po_1 on record and po_2 here"), "{why}");
    }
}
