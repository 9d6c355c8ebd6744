//! The income as series: for each account and currency the days' gross, never summed over currencies, and the hours in which something came.
//!
//! Days, because income has a week and a month; hours for its silence, because an outage of the checkout should not wait for the day's end.

use std::collections::BTreeMap;

use serde::Serialize;
use taskwarden_money::{Currency, show_major};

use super::judge::stopped;
use super::later;
use super::request::{IncomePlan, Plan};
use super::scoring::{Asked, Direction, Episode, Kind, Point, Scored, severity};
use super::silence::Silence;
use super::words::time;
use crate::clock::UnixMs;
use crate::finding::{FindingKind, GrossValue, Observation};
use crate::store::Store;
use crate::store::stripe::{IncomeFilter, IncomeRow};
use crate::stripe::figures::{Column, column};
use crate::stripe::income::{Basis, Cell};
use crate::task::{NameError, NativeFailure};
use crate::zone::{Period, Zone};

/// A difference smaller than this share of what was expected is not worth anybody's time.
const SHARE_MIN: f64 = 0.1;

/// What one series of income is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MoneyKey {
    account: String,
    balance_type: String,
    currency: String,
    basis: Basis,
}

/// One kind of money: what came in.
#[derive(Debug)]
pub(super) struct Money {
    key: MoneyKey,
    /// The gross of each day that is over, in minor units, by midnight UTC of its date; from the first day with income on.
    days: BTreeMap<UnixMs, i64>,
    /// The beginnings of the buckets in which something came.
    pub(super) busy: Vec<UnixMs>,
}

/// Reads what is known of the income. Where both charges and balance transactions are known, charges speak: they are there at once.
pub(super) async fn read(store: &dyn Store, plan: &Plan) -> Result<Vec<Money>, NativeFailure> {
    let broken = |why: String| NativeFailure::Permanent(format!("the income cannot be laid out by days: {why}"));
    let filter = IncomeFilter { livemode: Some(plan.income.livemode), ..IncomeFilter::default() };
    let zone: Zone = plan.income.zone_name.parse().map_err(broken)?;
    let mut dates = Vec::with_capacity(plan.income.days.len());
    for day in &plan.income.days {
        let date = zone.date(day.start_ms).map_err(broken)?;
        dates.push((day.start_ms, time(&date.to_string()).unwrap_or(UnixMs(day.start_ms))));
    }
    let by_day = store.income(&plan.income.days, &filter).await.map_err(later)?;
    let by_bucket = store.income(&buckets(plan), &filter).await.map_err(later)?;
    Ok(moneys(&dates, by_day, by_bucket))
}

fn buckets(plan: &Plan) -> Vec<Period> {
    let span_ms = plan.span_ms();
    (0..(plan.to.0 - plan.from.0) / span_ms)
        .map(|at| Period { start_ms: plan.from.0 + at * span_ms, end_ms: plan.from.0 + (at + 1) * span_ms })
        .collect()
}

/// `dates` are the days' first moments and what they are called.
fn moneys(dates: &[(i64, UnixMs)], by_day: Vec<IncomeRow>, by_bucket: Vec<IncomeRow>) -> Vec<Money> {
    let mut found: BTreeMap<MoneyKey, (BTreeMap<i64, i64>, Vec<UnixMs>)> = BTreeMap::new();
    let gross = |rows: Vec<IncomeRow>| rows.into_iter().filter(|row| column(&row.cell.category) == Column::Gross);
    for row in gross(by_day) {
        let day = found.entry(key(&row.cell)).or_default().0.entry(row.cell.bucket_ms).or_default();
        *day = day.saturating_add(row.sums.amount);
    }
    for row in gross(by_bucket).filter(|row| row.sums.amount > 0) {
        let busy = &mut found.entry(key(&row.cell)).or_default().1;
        let at = UnixMs(row.cell.bucket_ms);
        if busy.last() != Some(&at) {
            busy.push(at);
        }
    }
    let with_charges: Vec<String> = found.keys().filter(|key| key.basis == Basis::Provisional).map(|key| key.account.clone()).collect();
    found.retain(|key, _| key.basis == Basis::Provisional || !with_charges.contains(&key.account));
    let money = |(key, (gross, mut busy)): (MoneyKey, (BTreeMap<i64, i64>, Vec<UnixMs>))| {
        busy.sort_unstable();
        busy.dedup();
        // A day without a row is a day without income, once there was some.
        let days = dates.iter().skip_while(|(start_ms, _)| !gross.contains_key(start_ms));
        let days = days.map(|(start_ms, date)| (*date, gross.get(start_ms).copied().unwrap_or(0))).collect();
        Money { key, days, busy }
    };
    found.into_iter().map(money).collect()
}

fn key(cell: &Cell) -> MoneyKey {
    let Cell { owner, basis, balance_type, currency, .. } = cell;
    MoneyKey { account: owner.account.clone(), balance_type: balance_type.clone(), currency: currency.clone(), basis: *basis }
}

/// What programs get beside the sentence. Amounts are in minor units.
#[derive(Debug, Serialize)]
struct Detail<'a> {
    onset: &'a str,
    peak: &'a str,
    end: &'a str,
    ongoing: bool,
    #[serde(rename = "type")]
    shape: &'a str,
    value_minor: i64,
    expected_minor: i64,
    low_minor: i64,
    high_minor: i64,
    currency: &'a str,
    bucket: &'static str,
    time_zone: &'a str,
}

impl Money {
    /// The series as the scorer is asked about it.
    pub(super) fn asked(&self) -> Asked {
        let points = self.days.iter().map(|(day, gross)| Point(day.0, Some(*gross as f64), None)).collect();
        Asked { points, kind: Kind::Duration, direction: Direction::Both }
    }

    /// What it is called in sentences.
    pub(super) fn shown(&self) -> String {
        let of_account = if self.key.account.is_empty() { String::new() } else { format!(" of account {}", self.key.account) };
        format!("income in {}{of_account}", self.key.currency.to_uppercase())
    }

    fn keys(&self) -> BTreeMap<String, String> {
        let MoneyKey { account, balance_type, currency, basis } = &self.key;
        let mut keys: BTreeMap<String, String> =
            [("metric", "income"), ("currency", currency), ("basis", basis.name()), ("balance_type", balance_type)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
        if !account.is_empty() {
            keys.insert("account".to_owned(), account.clone());
        }
        keys
    }

    /// That nothing comes in any more.
    ///
    /// # Errors
    /// Never in practice: the kind is a valid name.
    pub(super) fn stopped(&self, silence: &Silence) -> Result<Observation, NameError> {
        stopped(self.keys(), &format!("There has been no {}", self.shown()), silence)
    }

    /// The worst episode that is not long over.
    ///
    /// # Errors
    /// Never in practice: the kind is a valid name.
    pub(super) fn observation(&self, scored: &Scored, plan: &IncomePlan) -> Result<Option<Observation>, NameError> {
        let last_day = |episode: &Episode| time(&episode.end);
        // A day is over at its end; dates are compared by their own midnights.
        let recent = plan.days.iter().filter(|day| day.end_ms > plan.recent_from.0).count();
        let from = self.days.keys().rev().take(recent).min().copied();
        let speaks = |episode: &&Episode| {
            let matters = (episode.value - episode.expected).abs() >= SHARE_MIN * episode.expected.abs();
            matters && from.is_some_and(|from| last_day(episode).is_some_and(|day| day >= from))
        };
        let worst = scored.episodes.iter().filter(speaks).max_by(|a, b| a.severity.total_cmp(&b.severity));
        let Some(episode) = worst else { return Ok(None) };
        let [value, expected, low, high] = [episode.value, episode.expected, episode.low, episode.high].map(minor);
        let currency = self.key.currency.parse::<Currency>().ok();
        let detail = Detail {
            onset: &episode.onset,
            peak: &episode.peak,
            end: &episode.end,
            ongoing: episode.ongoing,
            shape: &episode.shape,
            value_minor: value,
            expected_minor: expected,
            low_minor: low,
            high_minor: high,
            currency: &self.key.currency,
            bucket: "day",
            time_zone: &plan.zone_name,
        };
        let shown = |minor: i64| self.amount(minor, currency);
        let one_day = episode.onset == episode.end;
        let lasts = match episode.ongoing {
            true if one_day => "was not over that day".to_owned(),
            true => format!("was not over on {}", episode.end),
            false if one_day => "was over after that day".to_owned(),
            false => format!("was over after {}", episode.end),
        };
        Ok(Some(Observation {
            kind: FindingKind::new("watch.income")?,
            keys: self.keys(),
            severity: severity(episode),
            gross: currency.map(|currency| GrossValue { minor: value.abs_diff(expected), currency }),
            explanation: format!(
                "On {} the {} was {}, where {} was expected ({} to {}); it began on {} and {lasts}.",
                episode.peak,
                self.shown(),
                shown(value),
                shown(expected),
                shown(low),
                shown(high),
                episode.onset,
            ),
            detail: serde_json::value::to_raw_value(&detail).ok(),
        }))
    }

    /// In the major unit, where it is known how many decimals that has.
    fn amount(&self, minor: i64, currency: Option<Currency>) -> String {
        match currency.and_then(Currency::decimals) {
            Some(decimals) => show_major(minor, decimals),
            None => format!("{minor} minor units of {}", self.key.currency),
        }
    }
}

/// An estimate is told to the minor unit. The cast saturates.
fn minor(estimate: f64) -> i64 {
    estimate.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::income::Sums;
    use crate::stripe::ledger::Owner;

    const DAY_MS: i64 = 86_400_000;

    fn row(basis: Basis, at_ms: i64, currency: &str, category: &str, amount: i64) -> IncomeRow {
        let cell = Cell {
            owner: Owner { account: String::new(), livemode: true },
            basis,
            bucket_ms: at_ms,
            balance_type: "payments".to_owned(),
            currency: currency.to_owned(),
            category: category.to_owned(),
        };
        IncomeRow { cell, sums: Sums { count: 1, amount, ..Sums::default() }, restated_at: None }
    }

    #[test]
    fn currencies_stay_apart_and_days_without_income_are_zero() {
        let dates: Vec<(i64, UnixMs)> = (0..5).map(|day| (day * DAY_MS, UnixMs(day * DAY_MS))).collect();
        let charge = |day: i64, currency: &str, amount: i64| row(Basis::Provisional, day * DAY_MS, currency, "charge", amount);
        let by_day = vec![
            charge(1, "eur", 500),
            row(Basis::Provisional, DAY_MS, "eur", "refund", -400),
            charge(2, "usd", 900),
            charge(3, "eur", 700),
            row(Basis::Final, DAY_MS, "eur", "charge", 500),
        ];
        let found = moneys(&dates, by_day, vec![charge(1, "eur", 500), charge(3, "eur", 700)]);
        let shown: Vec<(String, Vec<i64>, usize)> =
            found.iter().map(|money| (money.shown(), money.days.values().copied().collect(), money.busy.len())).collect();
        assert_eq!(shown, [("income in EUR".to_owned(), vec![500, 0, 700, 0], 2), ("income in USD".to_owned(), vec![900, 0, 0], 0)]);
        let only_final = moneys(&dates, vec![row(Basis::Final, DAY_MS, "eur", "charge", 500)], Vec::new());
        assert_eq!(only_final.len(), 1, "where there are no charges, balance transactions speak");
    }

    #[test]
    fn a_day_that_is_off_is_told_in_major_units() {
        let days: BTreeMap<UnixMs, i64> = (0..30).map(|day| (UnixMs(day * DAY_MS), 100_000)).collect();
        let key = MoneyKey { account: String::new(), balance_type: "payments".to_owned(), currency: "jpy".to_owned(), basis: Basis::Final };
        let money = Money { key: MoneyKey { currency: "eur".to_owned(), ..key.clone() }, days: days.clone(), busy: Vec::new() };
        let plan = Plan::read(r#"{"income_history_days": 30}"#, UnixMs(30 * DAY_MS + 1)).expect("good").income;
        let scored: Scored = serde_json::from_value(serde_json::json!({"episodes": [
            {"onset": "1970-01-30", "peak": "1970-01-30", "end": "1970-01-30", "ongoing": true, "type": "dip", "severity": 77.0,
             "value": 20_000.0, "expected": 100_000.4, "low": 90_000.0, "high": 110_000.0},
            {"onset": "1970-01-02", "peak": "1970-01-02", "end": "1970-01-02", "ongoing": false, "type": "spike", "severity": 99.0,
             "value": 200_000.0, "expected": 100_000.0, "low": 90_000.0, "high": 110_000.0}]}))
        .expect("as the scorer answers");
        let found = money.observation(&scored, &plan).expect("a valid kind").expect("a finding");
        assert_eq!(
            found.explanation,
            "On 1970-01-30 the income in EUR was 200.00, where 1000.00 was expected (900.00 to 1100.00); it began on 1970-01-30 and was not over that day."
        );
        let gross = found.gross.expect("a value");
        assert_eq!((gross.minor, gross.currency.code(), found.severity), (80_000, "eur", 77));
        let yen = Money { key, days, busy: Vec::new() }.observation(&scored, &plan).expect("a valid kind").expect("a finding");
        assert!(yen.explanation.contains("in JPY was 20000, where 100000"), "{}", yen.explanation);
    }
}
