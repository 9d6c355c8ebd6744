//! Where the bytes of a task's inputs come from: a blob that was uploaded, or rows of one of the host's own tables.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::UnixMs;

/// A stored byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub Uuid);

/// Where the bytes of one named input come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum InputRef {
    /// A blob uploaded before.
    Blob(BlobId),
    /// Rows of a table, as CSV with a header.
    Table(TableInput),
}

impl InputRef {
    /// The blob, where it is one.
    #[must_use]
    pub fn blob(&self) -> Option<BlobId> {
        match self {
            Self::Blob(blob) => Some(*blob),
            Self::Table(_) => None,
        }
    }
}

/// Which rows of which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInput {
    /// The table.
    pub table: HostTable,
    /// From this moment; `None` is from the first row.
    pub from: Option<Moment>,
    /// To before this one; `None` is to the last row.
    pub to: Option<Moment>,
    /// The connected account they belong to; empty for the key's own.
    pub account: String,
    /// Whether they are about real money.
    pub livemode: bool,
}

/// A table that tasks may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostTable {
    /// Movements of the Stripe balance, by the time they happened.
    StripeBalanceTransactions,
    /// Stripe's charges, refunds, disputes and other objects as they are known, by the time they were made.
    StripeTransactions,
    /// Payouts, by the time they were made.
    StripePayouts,
    /// Orders that were sent to a checkout, by the time that happened.
    StripeOrders,
}

/// A moment, or how long before the task runs: a nightly task then names the same rows every night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// RFC 3339.
    At(UnixMs),
    /// `-35d`, `-12h`, `-15m`.
    Before(Duration),
}

impl Moment {
    /// The moment itself, for a task that runs now.
    #[must_use]
    pub fn at(self, now: UnixMs) -> UnixMs {
        match self {
            Self::At(at) => at,
            Self::Before(duration) => now.minus(duration),
        }
    }
}

const UNITS_S: [(char, u64); 3] = [('d', 86_400), ('h', 3600), ('m', 60)];

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(before) = text.strip_prefix('-') else { return UnixMs::parse_rfc3339(&text).map(Self::At) };
        let wrong = || format!("{text:?} is neither an RFC 3339 time nor one before now, such as -35d, -12h or -15m");
        let unit = UNITS_S.into_iter().find_map(|(unit, seconds)| Some((before.strip_suffix(unit)?, seconds)));
        let (digits, seconds) = unit.ok_or_else(wrong)?;
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        Ok(Self::Before(Duration::from_secs(u64::from(number) * seconds)))
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::At(at) => at.to_rfc3339(),
            Moment::Before(duration) => {
                let total = duration.as_secs();
                let (unit, seconds) = UNITS_S.into_iter().find(|(_, seconds)| total.is_multiple_of(*seconds)).unwrap_or(('m', 60));
                format!("-{}{unit}", total / seconds)
            }
        }
    }
}

/// As it is sent and stored.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<HostTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    livemode: Option<bool>,
}

impl TryFrom<Written> for InputRef {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match (written.blob, written.table) {
            (Some(blob), None)
                if written.from.is_none() && written.to.is_none() && written.account.is_none() && written.livemode.is_none() =>
            {
                Ok(Self::Blob(blob))
            }
            (Some(_), None) => Err("a blob is read whole: from, to, account and livemode are for tables"),
            (None, Some(table)) => Ok(Self::Table(TableInput {
                table,
                from: written.from,
                to: written.to,
                account: written.account.unwrap_or_default(),
                livemode: written.livemode.unwrap_or(true),
            })),
            _ => Err("an input names either a blob or a table"),
        }
    }
}

impl From<InputRef> for Written {
    fn from(input: InputRef) -> Self {
        match input {
            InputRef::Blob(blob) => Self { blob: Some(blob), ..Self::default() },
            InputRef::Table(table) => Self {
                blob: None,
                table: Some(table.table),
                from: table.from,
                to: table.to,
                account: Some(table.account).filter(|account| !account.is_empty()),
                livemode: Some(table.livemode),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<InputRef, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        for json in [
            r#"{"blob":"01890a5d-ac96-774b-bcce-b302099a8057"}"#,
            r#"{"table":"stripe_balance_transactions","livemode":true}"#,
            r#"{"table":"stripe_balance_transactions","from":"2026-01-01T00:00:00.000Z","to":"-15m","account":"acct_1","livemode":false}"#,
        ] {
            let input = read(json).expect(json);
            assert_eq!(serde_json::to_string(&input).expect("JSON"), json);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (json, word) in [
            ("{}", "either"),
            (r#"{"blob":"01890a5d-ac96-774b-bcce-b302099a8057","from":"-1d"}"#, "whole"),
            (r#"{"table":"tokens"}"#, "unknown variant"),
            (r#"{"table":"stripe_balance_transactions","until":"-1d"}"#, "unknown field"),
            (r#"{"table":"stripe_balance_transactions","from":"-1y"}"#, "-35d"),
            (r#"{"table":"stripe_balance_transactions","from":"yesterday"}"#, "RFC 3339"),
        ] {
            assert!(read(json).is_err_and(|why| why.contains(word)), "{json}");
        }
    }

    #[test]
    fn a_time_before_now_is_of_the_run() {
        let moment = Moment::try_from("-2h".to_owned()).expect("a moment");
        assert_eq!(moment.at(UnixMs(7_200_001)), UnixMs(1));
    }
}
