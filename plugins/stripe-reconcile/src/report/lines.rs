//! Sums by leg, class and currency, made from the findings alone. Beside what the legs counted before anything was decided they show
//! whether a unit of money was lost on the way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::class::{Class, Leg, Outcome};
use crate::findings::Finding;
use crate::rows::Row;
use crate::settle::{Context, Settled};
use crate::sums::{Line, Sums};

/// What a line is about. Sums of several currencies mean nothing, so there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineKey {
    /// Which comparison.
    pub leg: Leg,
    /// Which class.
    pub class: Class,
    /// What it asks for.
    pub outcome: Outcome,
    /// Of which currency.
    pub currency: String,
    /// Of which of Stripe's balances, where it is not `payments`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub balance_type: String,
}

/// All lines, in the order in which they are shown.
pub(crate) type Lines = BTreeMap<LineKey, Line>;

/// So many findings are looked at together.
const BLOCK_FINDINGS: usize = 256;

pub(crate) fn lines(context: &Context<'_>, settled: &Settled) -> Lines {
    let findings = &settled.findings;
    let mut sums = findings.plain.clone();
    for begin in (0..findings.all.len()).step_by(BLOCK_FINDINGS) {
        let block = || (begin..).take(BLOCK_FINDINGS).map_while(|at| findings.all.get(at));
        // The right side's rows lie all over memory; the left side's are in the order in which they were found.
        for leg in Leg::ALL {
            let right = block()
                .filter(|finding| finding.leg == leg && !finding.is_plain_match())
                .filter_map(|finding| findings.rows(finding.right).first().copied());
            context.tables(leg).1.warm(right);
        }
        block().filter(|finding| !finding.is_plain_match()).for_each(|finding| add(context, settled, finding, &mut sums));
    }
    let book = context.book;
    let name = |balance: u8| book.balances.get(balance).map(|name| book.names.text(name).to_owned()).unwrap_or_default();
    let mut lines = Lines::new();
    for ((leg, class, outcome, currency, balance), line) in sums.lines() {
        let key = LineKey { leg, class, outcome, currency: book.currency(currency).to_owned(), balance_type: name(balance) };
        lines.entry(key).or_default().add(&line);
    }
    lines
}

fn add(context: &Context<'_>, settled: &Settled, finding: &Finding, sums: &mut Sums) {
    let (left_table, right_table) = context.tables(finding.leg);
    let left = settled.findings.rows(finding.left);
    let right = settled.findings.rows(finding.right);
    let first = right.first().map(|at| right_table.row(*at)).or_else(|| left.first().map(|at| left_table.row(*at))).unwrap_or_default();
    let key = |row: &Row| (finding.leg, finding.class, finding.outcome, row.currency, first.balance);
    for row in left.iter().map(|at| left_table.row(*at)) {
        let line = sums.line(key(&row));
        line.left_rows += 1;
        line.left_total += context.value(finding.leg, true, &row);
    }
    for row in right.iter().map(|at| right_table.row(*at)) {
        let line = sums.line(key(&row));
        line.right_rows += 1;
        line.right_total += context.value(finding.leg, false, &row);
    }
    sums.line(key(&first)).findings += 1;
    for (currency, value) in gross(context, settled, finding) {
        sums.line((finding.leg, finding.class, finding.outcome, currency, first.balance)).gross_value += value;
    }
}

/// How much money a finding is about, by currency number: the size of the difference, or of what has no partner.
pub(crate) fn gross(context: &Context<'_>, settled: &Settled, finding: &Finding) -> Vec<(u8, i128)> {
    if finding.class == Class::Matched {
        return Vec::new();
    }
    let (left_table, right_table) = context.tables(finding.leg);
    let left = settled.findings.rows(finding.left);
    let right = settled.findings.rows(finding.right);
    let mut sides: BTreeMap<u8, (i128, i128)> = BTreeMap::new();
    for row in left.iter().map(|at| left_table.row(*at)) {
        sides.entry(row.currency).or_default().0 += context.value(finding.leg, true, &row);
    }
    for row in right.iter().map(|at| right_table.row(*at)) {
        sides.entry(row.currency).or_default().1 += context.value(finding.leg, false, &row);
    }
    let pair = match (&*left, &*right) {
        ([left], [right]) => Some((left_table.row(*left), right_table.row(*right))),
        _ => None,
    };
    let values = sides.into_iter().map(|(currency, (left, right))| {
        let value = match (finding.class, &pair) {
            // The amounts agree here; what does not is the status, the day, the fee or the net.
            (Class::StatusMismatch | Class::DateMismatch | Class::NotPaid | Class::DisputeOpen | Class::DisputeLost, _) => {
                left.abs().max(right.abs())
            }
            (Class::FeeMismatch, Some((left, right))) => (i128::from(right.fee) - i128::from(left.fee)).abs(),
            // Either the net is not what amount and fee make it, or it is not what the ledger says.
            (Class::NetMismatch, Some((l, r))) => match (right_table.net(r) - r.net()).abs() {
                0 => (right_table.net(r) - left_table.net(l)).abs(),
                wrong => wrong,
            },
            _ => (right - left).abs(),
        };
        (currency, value)
    });
    values.filter(|(_, value)| *value != 0).collect()
}
