//! Reading Stripe's ledger from what Stripe hands out: the API's lists (JSON, minor units) and report files (CSV, major units).
//!
//! Nothing is dropped: every row of a source comes out as an [`Entry`], read or quarantined with its line and the reason. Only a source
//! that is no such source at all ends in an [`ImportError`], before its first row.

mod amount;
mod columns;
mod ended;
mod json;
mod report;
mod transaction;

use std::io::BufRead;
use std::str::FromStr;

pub use amount::DecimalSeparator;
pub use json::{ApiList, read_list};
pub use report::ReportReader;
pub use transaction::read_transaction;

use taskwarden_money::Currency;

use crate::stripe::ledger::{AMOUNT_MAX, BalanceTransaction, ORDER_KEY, Owner};

/// Bytes of a row that is shown where it was quarantined.
pub const ROW_SHOWN_BYTES: usize = 2048;

/// What a file holds, by the names Stripe gives its reports; a version after it (`….itemized.3`) may be given and does not matter, since
/// columns are found by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportKind {
    /// Objects of the API: a list, an array, one object, or one object a line.
    Api,
    /// `balance_change_from_activity.itemized`.
    BalanceChange,
    /// `payouts.itemized`.
    Payouts,
    /// `payout_reconciliation.itemized`.
    PayoutReconciliation,
}

impl ImportKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Api, Self::BalanceChange, Self::Payouts, Self::PayoutReconciliation];

    /// As users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::BalanceChange => "balance_change_from_activity.itemized",
            Self::Payouts => "payouts.itemized",
            Self::PayoutReconciliation => "payout_reconciliation.itemized",
        }
    }
}

impl FromStr for ImportKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unversioned =
            text.rsplit_once('.').filter(|(_, version)| version.bytes().all(|b| b.is_ascii_digit())).map_or(text, |(name, _)| name);
        // The same columns: of a platform's accounts, and of one payout.
        let plain = unversioned.strip_prefix("connected_account_").unwrap_or(unversioned).replace(".by_id.", ".");
        Self::ALL.into_iter().find(|kind| kind.name() == plain).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("{text:?} is no kind of import; it is one of {}", known.join(", "))
        })
    }
}

/// How a source is to be read.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// What it holds.
    pub kind: ImportKind,
    /// Whose rows they are: neither balance transactions nor reports say so themselves.
    pub owner: Owner,
    /// The automatic payout that a list was asked for (`?payout=po_…`); its rows do not name it.
    pub payout: Option<String>,
    /// How a report writes its decimals.
    pub decimal_separator: DecimalSeparator,
    /// The zone of a report that has no UTC columns.
    pub time_zone: Option<jiff::tz::TimeZone>,
    /// The metadata key that holds our order's id.
    pub order_key: String,
}

impl ImportOptions {
    /// How Stripe writes things unless it is asked to write them differently.
    #[must_use]
    pub fn new(kind: ImportKind, owner: Owner) -> Self {
        Self { kind, owner, payout: None, decimal_separator: DecimalSeparator::Point, time_zone: None, order_key: ORDER_KEY.to_owned() }
    }
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it began, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The row, cut off at [`ROW_SHOWN_BYTES`].
    pub row: String,
}

impl Quarantined {
    /// With the row cut off where it is too long to be kept.
    #[must_use]
    pub fn new(line: u64, reason: impl Into<String>, row: &str) -> Self {
        Self { line, reason: reason.into(), row: cut(row, ROW_SHOWN_BYTES).to_owned() }
    }
}

/// An object of the API other than a balance transaction, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiObject {
    /// `charge`, `refund`, `dispute`, `payout`, …
    pub object: String,
    /// Its id.
    pub id: String,
    /// All of it.
    pub json: String,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A movement of the balance, with the line it was on.
    Transaction(u64, Box<BalanceTransaction>),
    /// An object that movements come from, with the line it was on.
    Object(u64, ApiObject),
    /// It could not be read.
    Quarantined(Quarantined),
}

/// Why a source cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read to its end.
    #[error("the source could not be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is not what it was said to be.
    #[error("this is not {kind}: {why}")]
    NotThis {
        /// What it was said to be.
        kind: &'static str,
        /// What is missing or odd, and what to do about it.
        why: String,
    },
}

/// The rows of a source, one after the other; a report is never in memory whole, a JSON text is.
pub struct Entries<R>(Rows<R>);

enum Rows<R> {
    Report(Box<ReportReader<R>>),
    Json(std::vec::IntoIter<Entry>),
}

/// Begins to read a source.
///
/// # Errors
/// See [`ImportError`].
pub fn read<R: BufRead>(mut source: R, options: ImportOptions) -> Result<Entries<R>, ImportError> {
    if options.kind != ImportKind::Api {
        return Ok(Entries(Rows::Report(Box::new(ReportReader::new(source, options)?))));
    }
    let mut text = String::new();
    source.read_to_string(&mut text)?;
    Ok(Entries(Rows::Json(json::read_file(&text, &options)?.into_iter())))
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Result<Entry, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Rows::Report(reader) => reader.next(),
            Rows::Json(entries) => entries.next().map(Ok),
        }
    }
}

/// The beginning of a text, at most `bytes` long and never within a character.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

/// A currency in either case.
fn currency(text: &str) -> Result<Currency, String> {
    text.parse().map_err(|error| format!("currency: {:?}: {error}", cut(text, 40)))
}

/// Stripe's own rule about its ledger. A row that breaks it was read wrongly, or is torn. Nor is one believed that is out of all proportion:
/// a sum with it in it might not fit into 64 bits, and would hold up every other row.
fn check_net(amount: i64, fee: i64, net: i64) -> Result<(), String> {
    if let Some(huge) = [amount, fee, net].into_iter().find(|money| !(-AMOUNT_MAX..=AMOUNT_MAX).contains(money)) {
        return Err(format!("{huge} minor units are no amount of money; at most {AMOUNT_MAX} are, either way"));
    }
    if i128::from(amount) - i128::from(fee) == i128::from(net) {
        return Ok(());
    }
    Err(format!("amount {amount} less fee {fee} is not net {net}, in minor units: the row is torn or was not written by Stripe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_stripes_names_with_or_without_a_version() {
        for kind in ImportKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(format!("{}.3", kind.name()).parse(), Ok(kind));
        }
        let other_names = ["connected_account_balance_change_from_activity.itemized.3", "connected_account_payouts.itemized.2"];
        assert_eq!(other_names.map(str::parse), [Ok(ImportKind::BalanceChange), Ok(ImportKind::Payouts)]);
        assert_eq!("payout_reconciliation.by_id.itemized.4".parse(), Ok(ImportKind::PayoutReconciliation));
        assert!("payouts.summary.1".parse::<ImportKind>().is_err_and(|why| why.contains("payouts.itemized")));
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!((cut("añb", 2), cut("añb", 3), cut("a", 9), cut("ñ", 1)), ("a", "añ", "a", ""));
    }
}
