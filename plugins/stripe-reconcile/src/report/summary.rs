//! The verdict, and the report that carries it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::csv::Lifecycle;
use super::fx::{FxLine, fx};
use super::lines::{LineKey, Lines, lines};
use crate::class::{CLASSES_VERSION, Class, Leg, Outcome};
use crate::invariants::{Invariants, check};
use crate::read::Quarantine;
use crate::settle::{Context, Settled};
use crate::sums::Line;
use crate::text::show_moment;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Every row is explained and none is a break.
    Reconciled,
    /// Every row is explained and some are breaks.
    Breaks,
    /// Something is missing, so that nothing can be said of the whole.
    Incomplete,
}

/// What happened before the findings were made.
pub(crate) struct Facts {
    /// By input: how many records it had.
    pub(crate) rows: BTreeMap<&'static str, u64>,
    pub(crate) carried: u64,
}

/// The result of the task: what somebody wants to know first.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How it stands.
    pub verdict: Verdict,
    /// Why it does not stand better.
    pub reasons: Vec<String>,
    /// The moment this speaks of.
    pub as_of: String,
    /// The version of the set of classes.
    pub classes_version: u32,
    /// How many records each input had.
    pub rows: BTreeMap<&'static str, u64>,
    /// How many findings ask for what.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The sizes of all breaks by currency: a net of zero proves nothing.
    pub gross_break_value: BTreeMap<String, i128>,
    /// Sums by leg, class and currency.
    pub lines: Vec<SummaryLine>,
    /// Rows that could not be read.
    pub quarantined: QuarantineCounts,
    /// Set by writing `breaks.csv`.
    pub lifecycle: Lifecycle,
}

/// One line with what it is about.
#[derive(Debug, Serialize)]
pub struct SummaryLine {
    /// What it is about.
    #[serde(flatten)]
    pub key: LineKey,
    /// Its sums.
    #[serde(flatten)]
    pub line: Line,
}

/// Rows that were set aside.
#[derive(Debug, Serialize)]
pub struct QuarantineCounts {
    /// All of them; `quarantine.csv` has the lines.
    pub rows: u64,
    /// By input, column and reason.
    pub reasons: Vec<QuarantineReason>,
}

/// How often a reason came up.
#[derive(Debug, Serialize)]
pub struct QuarantineReason {
    input: &'static str,
    column: &'static str,
    reason: String,
    rows: u64,
}

/// `report.json`: the summary and everything it rests on.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// The summary.
    #[serde(flatten)]
    pub summary: &'a Summary,
    /// The period, if one was given.
    pub period: Option<(String, String)>,
    /// Its time zone.
    pub timezone: String,
    /// The four comparisons.
    pub legs: &'a [LegReport],
    /// What has to hold whatever the ledger says.
    pub invariants: &'a Invariants,
    /// What exchange rates did.
    pub fx: &'a [FxLine],
    /// How the search for sums went.
    pub group_search: GroupSearchReport,
    /// Candidates of ambiguous rows that `breaks.csv` does not name, because it names at most five with each.
    pub suggestions_left_out: u64,
    /// Open items of the run before that took part again.
    pub carried_rows: u64,
    /// Exact repeats that were left out because the request said so.
    pub repeats_dropped: u64,
}

/// How a leg was examined.
#[derive(Debug, Serialize)]
pub struct LegReport {
    leg: Leg,
    examined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<&'static str>,
    left_rows: u64,
    right_rows: u64,
    currencies: Vec<LegCurrency>,
}

/// One currency of a leg.
#[derive(Debug, Serialize)]
pub(super) struct LegCurrency {
    currency: String,
    left_total: i128,
    right_total: i128,
    /// Right less left, counted before anything was decided.
    difference: i128,
    /// The sum of the differences of all lines.
    explained: i128,
    /// Difference less explained. It has to be zero.
    residual: i128,
}

/// How the search for sums went.
#[derive(Debug, Serialize)]
pub struct GroupSearchReport {
    /// How many sums were looked at.
    pub nodes: u64,
    /// How many searches were left out.
    pub skipped: u64,
}

impl From<crate::settle::GroupSearch> for GroupSearchReport {
    fn from(search: crate::settle::GroupSearch) -> Self {
        Self { nodes: search.nodes, skipped: search.skipped }
    }
}

/// Everything that is said of a run.
pub(crate) struct Said {
    pub(crate) summary: Summary,
    pub(crate) legs: Vec<LegReport>,
    pub(crate) invariants: Invariants,
    pub(crate) fx: Vec<FxLine>,
}

pub(crate) fn summarise(context: &Context<'_>, settled: &Settled, quarantine: &Quarantine, facts: &Facts) -> Said {
    let lines = lines(context, settled);
    let invariants = check(context);
    let legs: Vec<LegReport> = Leg::ALL.into_iter().map(|leg| leg_report(context, settled, leg, &lines)).collect();
    let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut gross_break_value: BTreeMap<String, i128> = BTreeMap::new();
    for (key, line) in &lines {
        *outcomes.entry(key.outcome.name()).or_default() += line.findings;
        if key.outcome == Outcome::Break && line.gross_value != 0 {
            *gross_break_value.entry(key.currency.clone()).or_default() += line.gross_value;
        }
    }
    let missing = missing(settled, quarantine, facts, &lines, &legs);
    let breaks = outcomes.get(Outcome::Break.name()).copied().unwrap_or(0);
    let verdict = match (missing.is_empty(), breaks == 0 && invariants.hold()) {
        (false, _) => Verdict::Incomplete,
        (true, false) => Verdict::Breaks,
        (true, true) => Verdict::Reconciled,
    };
    let mut reasons = missing;
    let unknown: u64 = lines.iter().filter(|(key, _)| key.class == Class::Unclassified).map(|(_, line)| line.findings).sum();
    if unknown > 0 {
        reasons.push(format!("{unknown} movements are of a type that is not known: see breaks.csv"));
    }
    if breaks > 0 {
        reasons.push(format!("{breaks} breaks: see breaks.csv"));
    }
    if !invariants.hold() {
        reasons.push("an invariant does not hold: see report.json".to_owned());
    }
    let reasons_of_quarantine = quarantine.counts.iter().map(|((input, column, reason), rows)| QuarantineReason {
        input,
        column,
        reason: reason.clone(),
        rows: *rows,
    });
    let summary = Summary {
        verdict,
        reasons,
        as_of: show_moment(context.as_of),
        classes_version: CLASSES_VERSION,
        rows: facts.rows.clone(),
        outcomes,
        gross_break_value,
        lines: lines.into_iter().map(|(key, line)| SummaryLine { key, line }).collect(),
        quarantined: QuarantineCounts { rows: quarantine.rows, reasons: reasons_of_quarantine.collect() },
        lifecycle: Lifecycle::default(),
    };
    Said { summary, legs, invariants, fx: fx(context, settled) }
}

/// Why nothing can be said of the whole. Each of these must not look green.
fn missing(settled: &Settled, quarantine: &Quarantine, facts: &Facts, lines: &Lines, legs: &[LegReport]) -> Vec<String> {
    let mut reasons = Vec::new();
    for leg in legs {
        for currency in leg.currencies.iter().filter(|currency| currency.residual != 0) {
            let (name, code) = (leg.leg.name(), &currency.currency);
            reasons.push(format!("leg {name}: {} minor units of {code} are explained by no line", currency.residual));
        }
    }
    for totals in settled.legs.iter().filter(|totals| totals.rows_unclassified + totals.rows_twice != 0) {
        let (open, twice) = (totals.rows_unclassified, totals.rows_twice);
        reasons.push(format!("leg {}: {open} rows have no class and {twice} have two", totals.leg.name()));
    }
    if quarantine.rows > 0 {
        reasons.push(format!("{} rows could not be read: see quarantine.csv", quarantine.rows));
    }
    for (input, _) in facts.rows.iter().filter(|(_, rows)| **rows == 0) {
        if *input != "open" {
            reasons.push(format!("input {input:?} has no rows"));
        }
    }
    let empty = |key: &LineKey| key.class == Class::PayoutUnattributable && key.outcome == Outcome::Warning;
    let payouts: u64 = lines.iter().filter(|(key, _)| empty(key)).map(|(_, line)| line.findings).sum();
    if payouts > 0 {
        reasons.push(format!("{payouts} payouts have no members among the balance transactions: list them with ?payout=, or take a report that names the payout"));
    }
    reasons
}

fn leg_report(context: &Context<'_>, settled: &Settled, leg: Leg, lines: &Lines) -> LegReport {
    let sides = match leg {
        Leg::OrderCharge if context.orders_meet_ledger => ("ledger orders", "ledger charges"),
        Leg::OrderCharge => ("ledger orders", "stripe charges"),
        Leg::ChargeBt => ("ledger", "stripe"),
        Leg::BtPayout => ("stripe", "payouts"),
        Leg::PayoutBank => ("payouts", "bank"),
    };
    let Some(totals) = settled.legs.iter().find(|totals| totals.leg == leg) else {
        return LegReport { leg, examined: false, left: None, right: None, left_rows: 0, right_rows: 0, currencies: Vec::new() };
    };
    let mut explained: BTreeMap<&str, i128> = BTreeMap::new();
    for (key, line) in lines.iter().filter(|(key, _)| key.leg == leg) {
        *explained.entry(&key.currency).or_default() += line.difference;
    }
    let mut currencies: Vec<LegCurrency> = totals
        .sums
        .iter()
        .map(|(currency, (left_total, right_total))| {
            let currency = context.book.currency(*currency);
            let (difference, explained) = (right_total - left_total, explained.get(currency).copied().unwrap_or(0));
            LegCurrency {
                currency: currency.to_owned(),
                left_total: *left_total,
                right_total: *right_total,
                difference,
                explained,
                residual: difference - explained,
            }
        })
        .collect();
    currencies.sort_by(|a, b| a.currency.cmp(&b.currency));
    LegReport {
        leg,
        examined: true,
        left: Some(sides.0),
        right: Some(sides.1),
        left_rows: totals.left_rows,
        right_rows: totals.right_rows,
        currencies,
    }
}
