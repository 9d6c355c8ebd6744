//! The CSV outputs, written as they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use super::cells::{Cells, stable_id, write_amount, write_cell, write_names};
use super::lines::gross;
use super::order::ordered;
use crate::class::{Class, Leg, Outcome, Rule};
use crate::findings::{Finding, Suggestion};
use crate::read::Quarantine;
use crate::rows::{Key, Row, Table};
use crate::settle::{Context, Settled};
use crate::store::Name;
use crate::text::{show_day, show_moment};

const DAY_SECONDS: u32 = 86_400;
/// So many findings are looked ahead.
const WARM_FINDINGS: usize = 256;
const RESOLVED_LISTED_MAX: usize = 1000;

/// How the open items of this run stand to those of the run before.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Lifecycle {
    /// Not there before.
    pub new: u64,
    /// There before, and still.
    pub persisting: u64,
    /// There before, and no more.
    pub resolved: u64,
    /// The ids of those, up to a thousand.
    pub resolved_ids: Vec<String>,
}

/// Whatever is not settled: breaks, what is pending, what is worth knowing and what is not understood. Movements that wait for their payout
/// are only counted; they are the balance.
fn rank_of_break(finding: &Finding) -> Option<u8> {
    let listed = matches!(finding.outcome, Outcome::Break | Outcome::Pending | Outcome::Warning | Outcome::Info);
    let in_balance = finding.leg == Leg::BtPayout && finding.class == Class::TimingInTransit && finding.rule != Rule::NotFinal;
    (listed && !in_balance).then(|| priority(finding))
}

fn priority(finding: &Finding) -> u8 {
    if finding.outcome == Outcome::Break { finding.class.priority() } else { 5 }
}

/// How many lines `breaks.csv` will have, and how many bytes it has at least.
pub(crate) fn measure_breaks(context: &Context<'_>, settled: &Settled) -> (u64, u64) {
    // The id, the state, the day, two digits, and the commas between all of them.
    const LINE_BYTES_MIN: u64 = 60;
    const MOMENT_BYTES: u64 = 20;
    let length = |name: Name| context.book.names.bytes(name).len() as u64;
    let (mut lines, mut bytes) = (0, 0);
    let mut last: (Option<Suggestion>, u64) = (None, 0);
    for (at, finding) in settled.findings.all.iter().filter(|(_, finding)| rank_of_break(finding).is_some()) {
        let list = settled.findings.suggestion(at);
        // Rows that look alike share a list.
        if last.0 != list {
            last = (list, suggested(context, settled, at, finding).map(|name| length(name) + 1).sum());
        }
        let (left_table, right_table) = context.tables(finding.leg);
        let own = match (&*settled.findings.rows(finding.left), &*settled.findings.rows(finding.right)) {
            ([row], []) => left_table.rows.get(*row),
            ([], [row]) => right_table.rows.get(*row),
            _ => None,
        };
        let of_row = |row: &Row| {
            let moment = if row.created == 0 { 0 } else { MOMENT_BYTES };
            moment + row.kind().name().len() as u64 + row.ids.map(length).iter().sum::<u64>()
        };
        let words = [finding.leg.name(), finding.outcome.name(), finding.class.name(), finding.rule.name()];
        let words: usize = words.iter().map(|word| word.len()).sum();
        lines += 1;
        bytes += LINE_BYTES_MIN + words as u64 + own.map_or(0, of_row) + last.1;
    }
    (lines, bytes)
}

/// Writes `breaks.csv`. `before` has the ids of the run before and when they were first seen.
pub(crate) fn write_breaks(
    context: &Context<'_>,
    settled: &Settled,
    before: &BTreeMap<String, String>,
    mut out: impl Write,
) -> io::Result<Lifecycle> {
    let book = context.book;
    out.write_all(
        b"id,lifecycle,first_seen,age_days,priority,outcome,leg,class,rule,currency,left_currency,left_amount,right_amount,difference,\
          gross_value,becomes_break_on,kind,status,created,order_id,payment_intent,left_source,right_source,balance_transaction,suggestions\n",
    )?;
    let mut lifecycle = Lifecycle::default();
    let mut still = BTreeSet::new();
    let order: Vec<u32> = ordered(context, settled, &rank_of_break).collect();
    let mut numbers = Numbers::of(context, settled, &order);
    let mut line = Vec::new();
    let today = show_day(context.options.zone.day(context.as_of));
    for at in order {
        let Some(finding) = settled.findings.all.get(at) else { continue };
        let cells = Cells::of(context, settled, finding);
        let identity = cells.identity(book, finding);
        let id = stable_id(&identity, numbers.next(cells.mark(finding), &identity));
        let (state, first_seen) = match before.get(&id) {
            Some(first_seen) => ("persisting", first_seen),
            None => ("new", &today),
        };
        let age = cells.created().map(|created| context.as_of.saturating_sub(created) / DAY_SECONDS);
        let mut values = gross(context, settled, finding).into_iter();
        let value = values.find(|(currency, _)| *currency == cells.first.currency).map_or(0, |(_, value)| value);
        line.clear();
        write!(line, "{id},{state},{first_seen},{},{},{},", show(age), priority(finding), finding.outcome.name())?;
        write!(line, "{},{},{},", finding.leg.name(), finding.class.name(), finding.rule.name())?;
        write!(line, "{},{},", cells.currency(book), cells.left_currency(book))?;
        write!(line, "{},{},{},", show(cells.left), show(cells.right), show(cells.difference()))?;
        write!(line, "{value},{},", cells.becomes_break_on(context, finding))?;
        write!(line, "{},{},", cells.first.kind().name(), cells.first.status.name())?;
        write!(line, "{},", cells.created().map(show_moment).unwrap_or_default())?;
        cells.write_ids(book, &mut line)?;
        line.push(b',');
        write_names(book, suggested(context, settled, at, finding), &mut line)?;
        line.push(b'\n');
        out.write_all(&line)?;
        if state == "new" {
            lifecycle.new += 1;
        } else {
            lifecycle.persisting += 1;
            still.insert(id);
        }
    }
    let resolved: Vec<&String> = before.keys().filter(|id| !still.contains(*id)).collect();
    lifecycle.resolved = resolved.len() as u64;
    lifecycle.resolved_ids = resolved.into_iter().take(RESOLVED_LISTED_MAX).cloned().collect();
    out.flush()?;
    Ok(lifecycle)
}

/// Tells breaks of the same identity apart by a number. Hardly any is not alone, so only those that may not be are counted: a million entries
/// of a map would need more room than the rows.
struct Numbers {
    /// Marks of identities that occur more than once. Sorted.
    repeated: Vec<u64>,
    counted: BTreeMap<[u8; 32], u32>,
}

impl Numbers {
    fn of(context: &Context<'_>, settled: &Settled, order: &[u32]) -> Self {
        let findings = order.iter().filter_map(|at| settled.findings.all.get(*at));
        let mut all = Vec::with_capacity(order.len());
        all.extend(findings.map(|finding| Cells::of(context, settled, finding).mark(finding)));
        all.sort_unstable();
        let twice = all.windows(2).filter(|pair| pair.first() == pair.last());
        let mut repeated: Vec<u64> = twice.filter_map(|pair| pair.first().copied()).collect();
        repeated.dedup();
        Self { repeated, counted: BTreeMap::new() }
    }

    /// How many of this identity there were before.
    fn next(&mut self, mark: u64, identity: &[u8; 32]) -> u32 {
        if self.repeated.binary_search(&mark).is_err() {
            return 0;
        }
        let number = self.counted.entry(*identity).or_default();
        *number += 1;
        *number - 1
    }
}

/// Writes `matches.csv`: everything that is settled.
pub(crate) fn write_matches(context: &Context<'_>, settled: &Settled, mut out: impl Write) -> io::Result<()> {
    let book = context.book;
    out.write_all(
        b"leg,class,rule,currency,left_currency,left_amount,right_amount,order_id,payment_intent,left_source,right_source,balance_transaction\n",
    )?;
    let mut line = Vec::new();
    let order: Vec<u32> = ordered(context, settled, &|finding| (finding.outcome == Outcome::Ok).then_some(0)).collect();
    for (number, at) in order.iter().copied().enumerate() {
        if number % WARM_FINDINGS == 0 {
            warm(context, settled, order.get(number..).unwrap_or_default());
        }
        let Some(finding) = settled.findings.all.get(at) else { continue };
        let cells = Cells::of(context, settled, finding);
        line.clear();
        for text in [finding.leg.name(), finding.class.name(), finding.rule.name(), cells.currency(book), cells.left_currency(book)] {
            line.extend_from_slice(text.as_bytes());
            line.push(b',');
        }
        write_amount(&mut line, cells.left)?;
        line.push(b',');
        write_amount(&mut line, cells.right)?;
        line.push(b',');
        cells.write_ids(book, &mut line)?;
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()
}

/// Looks ahead at the rows and ids of the next findings, which lie all over memory: see [`crate::store::Names::look_ahead`].
fn warm(context: &Context<'_>, settled: &Settled, next: &[u32]) {
    let findings: Vec<&Finding> = next.iter().take(WARM_FINDINGS).filter_map(|at| settled.findings.all.get(*at)).collect();
    let mut names = Vec::with_capacity(4 * WARM_FINDINGS);
    for of_leg in findings.chunk_by(|a, b| a.leg == b.leg) {
        let Some(leg) = of_leg.first().map(|finding| finding.leg) else { continue };
        let (left_table, right_table) = context.tables(leg);
        let first = |members| settled.findings.rows(members).first().copied();
        let lefts: Vec<u32> = of_leg.iter().filter_map(|finding| first(finding.left)).collect();
        let rights: Vec<u32> = of_leg.iter().filter_map(|finding| first(finding.right)).collect();
        left_table.warm(lefts.iter().copied());
        right_table.warm(rights.iter().copied());
        // Both sides mostly have the same source.
        let ids = |table: &Table, at: u32, keys: &[Key], names: &mut Vec<Name>| {
            if let Some(row) = table.rows.get(at) {
                names.extend(keys.iter().map(|key| row.id(*key)).filter(|name| name.is_some()));
            }
        };
        lefts.iter().for_each(|at| ids(left_table, *at, &[Key::Source, Key::Order], &mut names));
        rights.iter().for_each(|at| ids(right_table, *at, &[Key::BalanceTransaction], &mut names));
    }
    context.book.names.warm_texts(&names);
}

/// Writes `quarantine.csv`: rows that could not be read, in the order of their lines.
pub(crate) fn write_quarantine(quarantine: &Quarantine, mut out: impl Write) -> io::Result<()> {
    out.write_all(b"input,line,column,reason,cell\n")?;
    for row in &quarantine.listed {
        write!(out, "{},{},{},", row.input.name(), row.line, row.bad.column)?;
        write_cell(&mut out, row.bad.reason.as_bytes())?;
        out.write_all(b",")?;
        write_cell(&mut out, row.bad.cell.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn show<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// What could be the partner of a finding that has none.
fn suggested<'a>(
    context: &'a Context<'_>,
    settled: &'a Settled,
    at: u32,
    finding: &Finding,
) -> impl Iterator<Item = Name> + Clone + use<'a> {
    let (left, right) = context.tables(finding.leg);
    let table = if settled.findings.rows(finding.right).is_empty() { right } else { left };
    let own = |row: Row| {
        let ids = [Key::BalanceTransaction, Key::Source, Key::Order, Key::Payment].map(|key| row.id(key));
        ids.into_iter().find(|name| name.is_some())
    };
    settled.findings.suggestions(at).iter().filter_map(move |row| own(table.row(*row)))
}
