//! The payload, and what it means once it is checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use taskwarden_money::{Currency, Separator};

use crate::text::{Moment, Zone, parse_date, parse_moment};

const HOUR_SECONDS: u32 = 3600;
/// More days than this do not gate anything.
const DAYS_MAX: u32 = 366;
const HOURS_MAX: u32 = 24 * DAYS_MAX;
/// What the plugin asks for as `output_bytes`, and what a host gives at most unless its operator says otherwise.
const BREAKS_BYTES_DEFAULT: u64 = 256 << 20;
/// How many partial sums all searches for groups of one run may look at.
const GROUP_NODES_DEFAULT: u64 = 8_000_000;
const GROUP_NODES_MAX: u64 = 1_000_000_000;

/// What the payload may say. Everything has a default; nothing is excused that was not declared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    period: Option<Period>,
    timezone: Option<String>,
    as_of: Option<String>,
    tolerance: Tolerance,
    grace: Grace,
    account: Option<String>,
    livemode: Option<bool>,
    decimal_separator: Option<String>,
    order_metadata: Option<String>,
    composite_days: Option<u32>,
    group_days: Option<u32>,
    group_nodes_max: Option<u64>,
    breaks_bytes_max: Option<u64>,
    repeats: Repeats,
    foreign: Foreign,
    balances: BTreeMap<String, Balance>,
    matches: Matches,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    from: String,
    to: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tolerance {
    amount_minor: BTreeMap<String, u32>,
    days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Grace {
    ledger_hours: u32,
    stripe_hours: u32,
    payout_hours: u32,
    bank_hours: u32,
}

/// What the same balance transaction twice, equal in every field, is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Repeats {
    /// A break of class `duplicate_in_stripe`.
    #[default]
    Break,
    /// Left out and counted: pages that overlap repeat rows.
    Drop,
}

/// What a charge is that no ledger row and no order id belong to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Foreign {
    /// `missing_in_ledger`
    #[default]
    Break,
    /// `not_ours`
    Exclude,
}

/// Whether `matches.csv` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Matches {
    #[default]
    All,
    None,
}

/// What the account held at both ends of the period, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balance {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// The request, checked.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) zone: Zone,
    /// From the first moment to before the second.
    pub(crate) period: Option<(Moment, Moment)>,
    pub(crate) as_of: Option<Moment>,
    pub(crate) tolerance_minor: BTreeMap<Currency, u32>,
    pub(crate) tolerance_days: Option<u32>,
    /// How long each side may take, in seconds: the ledger, Stripe, payouts, the bank.
    pub(crate) grace_ledger: u32,
    pub(crate) grace_stripe: u32,
    pub(crate) grace_payout: u32,
    pub(crate) grace_bank: u32,
    pub(crate) account: Option<String>,
    pub(crate) livemode: Option<bool>,
    pub(crate) separator: Separator,
    pub(crate) order_metadata: String,
    pub(crate) composite_days: u32,
    pub(crate) group_days: u32,
    pub(crate) group_nodes_max: u64,
    /// A longer `breaks.csv` is not begun.
    pub(crate) breaks_bytes_max: u64,
    pub(crate) repeats: Repeats,
    pub(crate) foreign: Foreign,
    pub(crate) balances: BTreeMap<Currency, Balance>,
    pub(crate) write_matches: bool,
}

impl Default for Options {
    /// The same as an empty payload.
    fn default() -> Self {
        Self {
            zone: Zone::utc(),
            period: None,
            as_of: None,
            tolerance_minor: BTreeMap::new(),
            tolerance_days: None,
            grace_ledger: 0,
            grace_stripe: 0,
            grace_payout: 0,
            grace_bank: 0,
            account: None,
            livemode: None,
            separator: Separator::Point,
            order_metadata: "order_id".to_owned(),
            composite_days: 2,
            group_days: 7,
            group_nodes_max: GROUP_NODES_DEFAULT,
            breaks_bytes_max: BREAKS_BYTES_DEFAULT,
            repeats: Repeats::Break,
            foreign: Foreign::Break,
            balances: BTreeMap::new(),
            write_matches: true,
        }
    }
}

impl TryFrom<Request> for Options {
    /// Which field is wrong and what it should be.
    type Error = String;

    fn try_from(request: Request) -> Result<Self, String> {
        let default = Self::default();
        let zone = request.timezone.map_or_else(|| Ok(Zone::utc()), |name| Zone::find(&name).map_err(|e| format!("timezone: {e}")))?;
        let period = request.period.map(|period| period.read(&zone)).transpose()?;
        let as_of = request.as_of.map(|text| moment("as_of", &text, &zone)).transpose()?;
        let separator = match request.decimal_separator.as_deref() {
            None | Some("." | "point") => Separator::Point,
            Some("," | "comma") => Separator::Comma,
            Some(other) => return Err(format!("decimal_separator is {other:?}: it is \".\" (point) or \",\" (comma)")),
        };
        let bounded = |field: &str, value: Option<u32>, default: u32| match value {
            Some(days) if days > DAYS_MAX => Err(format!("{field} is {days}: at most {DAYS_MAX}")),
            days => Ok(days.unwrap_or(default)),
        };
        let seconds = |field: &str, hours: u32| match hours {
            0..=HOURS_MAX => Ok(hours * HOUR_SECONDS),
            _ => Err(format!("grace.{field} is {hours}: at most {HOURS_MAX}")),
        };
        if let Some(days) = request.tolerance.days {
            bounded("tolerance.days", Some(days), 0)?;
        }
        Ok(Self {
            period,
            as_of,
            tolerance_minor: by_currency("tolerance.amount_minor", request.tolerance.amount_minor)?,
            tolerance_days: request.tolerance.days,
            grace_ledger: seconds("ledger_hours", request.grace.ledger_hours)?,
            grace_stripe: seconds("stripe_hours", request.grace.stripe_hours)?,
            grace_payout: seconds("payout_hours", request.grace.payout_hours)?,
            grace_bank: seconds("bank_hours", request.grace.bank_hours)?,
            account: request.account.filter(|account| !account.is_empty()),
            livemode: request.livemode,
            separator,
            order_metadata: request.order_metadata.unwrap_or(default.order_metadata),
            composite_days: bounded("composite_days", request.composite_days, default.composite_days)?,
            group_days: bounded("group_days", request.group_days, default.group_days)?,
            breaks_bytes_max: request.breaks_bytes_max.unwrap_or(default.breaks_bytes_max),
            group_nodes_max: request.group_nodes_max.unwrap_or(default.group_nodes_max).min(GROUP_NODES_MAX),
            repeats: request.repeats,
            foreign: request.foreign,
            balances: by_currency("balances", request.balances)?,
            write_matches: request.matches == Matches::All,
            zone,
        })
    }
}

impl Period {
    fn read(&self, zone: &Zone) -> Result<(Moment, Moment), String> {
        let (from, to) = (moment("period.from", &self.from, zone)?, moment("period.to", &self.to, zone)?);
        if from >= to {
            return Err("period: to has to be later than from; it is the first moment that no longer belongs to the period".to_owned());
        }
        Ok((from, to))
    }
}

fn moment(field: &str, text: &str, zone: &Zone) -> Result<Moment, String> {
    let written = parse_date(text.as_bytes()).is_some() || text.len() > 10;
    parse_moment(text.as_bytes(), zone)
        .filter(|_| written)
        .ok_or_else(|| format!("{field} is {text:?}: write a date such as 2026-01-31, or RFC 3339 such as 2026-01-31T12:00:00Z"))
}

fn by_currency<T>(field: &str, values: BTreeMap<String, T>) -> Result<BTreeMap<Currency, T>, String> {
    values.into_iter().map(|(code, value)| Ok((code.parse().map_err(|e| format!("{field}: {code:?}: {e}"))?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(payload: &str) -> Result<Options, String> {
        let request: Request = serde_json::from_str(payload).map_err(|e| e.to_string())?;
        Options::try_from(request)
    }

    #[test]
    fn a_period_of_local_days() {
        let read = options(r#"{"timezone": "Europe/Berlin", "period": {"from": "2026-01-01", "to": "2026-02-01"}}"#).expect("good");
        assert_eq!(read.period, Some((1_767_222_000, 1_769_900_400)));
        assert_eq!(options("{}").expect("good").group_nodes_max, GROUP_NODES_DEFAULT);
    }

    #[test]
    fn mistakes_name_the_field() {
        for (payload, word) in [
            (r#"{"graze": 1}"#, "graze"),
            (r#"{"grace": {"days": 1}}"#, "days"),
            (r#"{"timezone": "Berlin"}"#, "timezone"),
            (r#"{"as_of": "now"}"#, "as_of"),
            (r#"{"period": {"from": "2026-02-01", "to": "2026-02-01"}}"#, "period"),
            (r#"{"period": {"from": "2026-02-01"}}"#, "to"),
            (r#"{"tolerance": {"amount_minor": {"euro": 1}}}"#, "euro"),
            (r#"{"tolerance": {"days": 1000}}"#, "tolerance.days"),
            (r#"{"decimal_separator": ";"}"#, "decimal_separator"),
            (r#"{"grace": {"bank_hours": 4000000000}}"#, "bank_hours"),
            (r#"{"livemode": "yes"}"#, "boolean"),
        ] {
            let said = options(payload).expect_err(payload);
            assert!(said.contains(word), "{payload}: {said}");
        }
    }
}
