//! One leg: its two sides, and which of their rows are settled.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Context, GroupSearch, LegTotals};
use crate::class::{Class, Leg, Outcome, Rule};
use crate::findings::{Finding, Findings, Members};
use crate::rows::{Book, Key, Row, Table};
use crate::store::Bits;

/// So many candidates are shown with a row that could not be matched.
pub(super) const SUGGESTIONS_MAX: usize = 5;

/// In place of the number of a finding that matches two rows.
const NOTHING_TO_SUGGEST: u32 = u32::MAX;

/// One side of a leg.
pub(super) struct Side<'a> {
    pub(super) table: &'a Table,
    /// Settled, or no part of this leg.
    pub(super) taken: Bits,
}

impl Side<'_> {
    pub(super) fn row(&self, at: u32) -> Row {
        self.table.row(at)
    }

    /// The rows that are not settled.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, &Row)> {
        self.taken.clear(self.table.rows.len()).filter_map(|at| Some((at, self.table.rows.get(at)?)))
    }
}

pub(super) struct Comparison<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) leg: Leg,
    pub(super) left: Side<'a>,
    pub(super) right: Side<'a>,
    pub(super) findings: &'a mut Findings,
    pub(super) search: &'a mut GroupSearch,
    totals: LegTotals,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(context: &'a Context<'a>, leg: Leg, findings: &'a mut Findings, search: &'a mut GroupSearch) -> Self {
        let (left, right) = context.tables(leg);
        let mut totals = LegTotals { leg, left_rows: 0, right_rows: 0, sums: BTreeMap::new(), rows_unclassified: 0, rows_twice: 0 };
        let mut left_taken = Bits::new(left.rows.len());
        let mut right_taken = Bits::new(right.rows.len());
        let (mut left_sums, mut right_sums) = (SumsByCurrency::new(), SumsByCurrency::new());
        for (at, row) in left.rows.iter() {
            if context.is_left(leg, at, row) {
                left_sums.add(row.currency, context.value(leg, true, row));
            } else {
                left_taken.set(at);
            }
        }
        for (at, row) in right.rows.iter() {
            if context.is_right(leg, at, row) {
                right_sums.add(row.currency, context.value(leg, false, row));
            } else {
                right_taken.set(at);
            }
        }
        for (currency, rows, sum) in left_sums.all() {
            totals.left_rows += rows;
            totals.sums.entry(currency).or_default().0 = sum;
        }
        for (currency, rows, sum) in right_sums.all() {
            totals.right_rows += rows;
            totals.sums.entry(currency).or_default().1 = sum;
        }
        let (left, right) = (Side { table: left, taken: left_taken }, Side { table: right, taken: right_taken });
        Self { context, leg, left, right, findings, search, totals }
    }

    /// What the leg was about. Rows that nobody settled are counted: there must be none.
    pub(super) fn totals(mut self) -> LegTotals {
        self.totals.rows_unclassified = (self.left.open().count() + self.right.open().count()) as u64;
        self.totals
    }

    /// Whether the right side is balance transactions, and not the ledger's own charges.
    pub(super) fn right_is_stripe(&self) -> bool {
        match self.leg {
            Leg::OrderCharge => !self.context.orders_meet_ledger,
            leg => leg == Leg::ChargeBt,
        }
    }

    pub(super) fn book(&self) -> &'a Book {
        self.context.book
    }

    /// One row with one row: the common case, without a list.
    pub(super) fn report_pair(&mut self, (left, l): (u32, &Row), (right, r): (u32, &Row), class: Class, rule: Rule) {
        let twice = u64::from(self.left.taken.set(left)) + u64::from(self.right.taken.set(right));
        self.totals.rows_twice += twice;
        let (left, right) = (Members::one(left), Members::one(right));
        let finding = Finding { left, right, leg: self.leg, class, outcome: class.outcome(), rule };
        if finding.is_plain_match() {
            // Both rows are at hand now; a million of them would have to be looked up again.
            let (left, right) = (self.context.value(self.leg, true, l), self.context.value(self.leg, false, r));
            self.findings.plain.add_pair((&finding).into(), r.balance, (l.currency, left), (r.currency, right));
            if !self.context.options.write_matches {
                return;
            }
        }
        self.findings.push(finding);
    }

    /// Rows that belong together.
    pub(super) fn report(&mut self, left: &[u32], right: &[u32], class: Class, outcome: Outcome, rule: Rule) -> u32 {
        if let ([left], [right], Class::Matched, Outcome::Ok) = (left, right, class, outcome) {
            let (l, r) = (self.left.row(*left), self.right.row(*right));
            self.report_pair((*left, &l), (*right, &r), class, rule);
            return NOTHING_TO_SUGGEST;
        }
        for at in left {
            self.totals.rows_twice += u64::from(self.left.taken.set(*at));
        }
        for at in right {
            self.totals.rows_twice += u64::from(self.right.taken.set(*at));
        }
        let (left, right) = (self.findings.members(left), self.findings.members(right));
        self.findings.push(Finding { left, right, leg: self.leg, class, outcome, rule })
    }

    pub(super) fn report_left(&mut self, at: u32, class: Class, rule: Rule) -> u32 {
        self.report(&[at], &[], class, class.outcome(), rule)
    }

    pub(super) fn report_right(&mut self, at: u32, class: Class, rule: Rule) -> u32 {
        self.report(&[], &[at], class, class.outcome(), rule)
    }

    /// Rows that cannot be told apart: each is reported with a few of the other side that would fit. None is matched.
    pub(super) fn report_ambiguous(&mut self, left: &[u32], right: &[u32]) {
        let some = |rows: &[u32]| rows.iter().copied().take(SUGGESTIONS_MAX).collect::<Vec<_>>();
        let (few_left, few_right) = (some(left), some(right));
        let left_out = left.len() * (right.len() - few_right.len()) + right.len() * (left.len() - few_left.len());
        self.findings.suggestions_left_out += left_out as u64;
        for at in left {
            let finding = self.report_left(*at, Class::Ambiguous, Rule::Candidates);
            self.findings.suggest(finding, &few_right);
        }
        for at in right {
            let finding = self.report_right(*at, Class::Ambiguous, Rule::Candidates);
            self.findings.suggest(finding, &few_left);
        }
    }

    /// Rows of other accounts and of the other mode are no part of this.
    pub(super) fn exclude(&mut self) {
        if self.context.excluded.iter().all(Option::is_none) {
            return;
        }
        let excluded = |row: &Row| self.context.excluded.get(usize::from(row.scope)).copied().flatten();
        let left: Vec<_> = self.left.open().filter_map(|(at, row)| Some((at, excluded(row)?))).collect();
        let right: Vec<_> = self.right.open().filter_map(|(at, row)| Some((at, excluded(row)?))).collect();
        for (at, class) in left {
            self.report_left(at, class, Rule::Scope);
        }
        for (at, class) in right {
            self.report_right(at, class, Rule::Scope);
        }
    }

    /// Sorts rows of one side by what they say, never by where they stood.
    pub(super) fn sort(&self, table: &Table, rows: &mut [u32]) {
        rows.sort_unstable_by(|a, b| compare_rows(self.context.book, table, *a, *b));
    }
}

/// Rows and their sum by currency number: a place for each, since a map would be searched for each row.
struct SumsByCurrency(Vec<(u64, i128)>);

impl SumsByCurrency {
    fn new() -> Self {
        Self(vec![(0, 0); usize::from(u8::MAX) + 1])
    }

    #[inline(always)]
    fn add(&mut self, currency: u8, value: i128) {
        if let Some((rows, sum)) = self.0.get_mut(usize::from(currency)) {
            *rows += 1;
            *sum += value;
        }
    }

    /// Those that there are: currency, rows, sum.
    fn all(self) -> impl Iterator<Item = (u8, u64, i128)> {
        (0..=u8::MAX).zip(self.0).filter(|(_, (rows, _))| *rows > 0).map(|(currency, (rows, sum))| (currency, rows, sum))
    }
}

/// By time, then by every other thing a row says. Rows that are equal here are equal in every output.
pub(crate) fn compare_rows(book: &Book, table: &Table, a: u32, b: u32) -> Ordering {
    let (x, y) = (table.row(a), table.row(b));
    let text = |key: Key| book.names.bytes(x.id(key)).cmp(book.names.bytes(y.id(key)));
    x.created
        .cmp(&y.created)
        .then_with(|| text(Key::Source))
        .then_with(|| text(Key::Order))
        .then_with(|| text(Key::Payment))
        .then_with(|| text(Key::BalanceTransaction))
        .then_with(|| compare_values(book, table, &x, &y))
}

/// The same without time and ids.
fn compare_values(book: &Book, table: &Table, x: &Row, y: &Row) -> Ordering {
    let extra = |row: &Row| {
        let extra = table.extra(row);
        (extra.net, extra.presentment.map(|(amount, currency)| (amount, book.currency(currency).to_owned())), extra.rate)
    };
    let named = |row: &Row| (book.names.bytes(row.payout), book.balances.get(row.balance).map(|name| book.names.bytes(name)));
    (x.amount, x.fee, book.currency(x.currency), x.kind, x.status, x.available, x.flags)
        .cmp(&(y.amount, y.fee, book.currency(y.currency), y.kind, y.status, y.available, y.flags))
        .then_with(|| named(x).cmp(&named(y)))
        .then_with(|| extra(x).cmp(&extra(y)))
}
