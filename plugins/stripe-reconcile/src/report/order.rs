//! The order of the outputs: by what the findings say, so that the rows of the inputs may stand in any order.

use std::cmp::Ordering;

use crate::class::Leg;
use crate::findings::{Finding, Members, Rows};
use crate::rows::{Key, Row, Table};
use crate::settle::{Context, Settled, compare_rows};
use crate::store::Name;

/// A finding with the beginning of what it is sorted by, so that most comparisons need no look at the texts.
struct Entry {
    start: u64,
    more: u32,
    at: u32,
}

/// Positions of findings in the order in which they are written: those that `rank` wants, by rank, leg, id and everything else.
pub(crate) fn ordered(
    context: &Context<'_>,
    settled: &Settled,
    rank: &dyn Fn(&Finding) -> Option<u8>,
) -> impl Iterator<Item = u32> + use<> {
    // Counted before: a list that grows needs three times its size at the worst moment.
    let mut entries = Vec::with_capacity(settled.findings.all.iter().filter(|(_, finding)| rank(finding).is_some()).count());
    for (at, finding) in settled.findings.all.iter() {
        let Some(rank) = rank(finding) else { continue };
        let text = context.book.names.bytes(main_name(context, settled, finding));
        let mut start = [0u8; 10];
        start.iter_mut().zip(text).for_each(|(into, from)| *into = *from);
        let [a, b, c, d, e, f, g, h, i, j] = start;
        let start = u64::from_be_bytes([rank, finding.leg as u8, a, b, c, d, e, f]);
        entries.push(Entry { start, more: u32::from_be_bytes([g, h, i, j]), at });
    }
    entries.sort_unstable_by_key(|entry: &Entry| (entry.start, entry.more));
    // Only where the beginnings agree are the texts looked at.
    for alike in entries.chunk_by_mut(|x, y| (x.start, x.more) == (y.start, y.more)).filter(|alike| alike.len() > 1) {
        alike.sort_unstable_by(|x, y| compare(context, settled, x.at, y.at));
    }
    entries.into_iter().map(|entry| entry.at)
}

/// Two findings of the same rank and leg.
fn compare(context: &Context<'_>, settled: &Settled, x: u32, y: u32) -> Ordering {
    let findings = &settled.findings;
    let (Some(a), Some(b)) = (findings.all.get(x), findings.all.get(y)) else { return x.cmp(&y) };
    let text = |finding: &Finding| context.book.names.bytes(main_name(context, settled, finding));
    let (left, right) = context.tables(a.leg);
    let sides = [(left, findings.rows(a.left), findings.rows(b.left)), (right, findings.rows(a.right), findings.rows(b.right))];
    let rows = |(table, these, those): (_, Rows<'_>, Rows<'_>)| {
        let differ = these.iter().zip(those.iter()).map(|(a, b)| compare_rows(context.book, table, *a, *b)).find(|order| order.is_ne());
        differ.unwrap_or_else(|| these.len().cmp(&those.len()))
    };
    let by_name = text(a).cmp(text(b)).then(a.class.cmp(&b.class));
    // Rows are hardly ever looked at: most names are there once.
    sides.into_iter().fold(by_name, |order, side| order.then_with(|| rows(side)))
}

/// The id that a finding is known by.
fn main_name(context: &Context<'_>, settled: &Settled, finding: &Finding) -> Name {
    let (left_table, right_table) = context.tables(finding.leg);
    let of = |table: &Table, members: Members| {
        let first = settled.findings.rows(members).first().copied();
        first.and_then(|at| table.rows.get(at)).map_or(Name::NONE, own_name)
    };
    // A payout has many members and stands on the right of them. The other side is looked at only where the first has no id: its rows lie
    // all over memory.
    let (first, second) = ((left_table, finding.left), (right_table, finding.right));
    let (first, second) = if finding.leg == Leg::BtPayout { (second, first) } else { (first, second) };
    let name = of(first.0, first.1);
    if name.is_some() { name } else { of(second.0, second.1) }
}

fn own_name(row: &Row) -> Name {
    row.id(Key::Source).or(row.id(Key::Order)).or(row.id(Key::Payment)).or(row.id(Key::BalanceTransaction))
}
