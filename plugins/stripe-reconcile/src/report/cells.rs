//! What the columns of a finding are made from.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::class::{Leg, Outcome, Rule};
use crate::findings::{Finding, Rows};
use crate::rows::{Book, Key, Row, Table};
use crate::settle::{Context, Settled};
use crate::store::{Name, needs_quotes};
use crate::text::show_day;

/// So many ids stand in one cell; a payout has thousands of members.
const NAMES_MAX: usize = 20;

pub(super) struct Cells<'a> {
    left_table: &'a Table,
    right_table: &'a Table,
    left_rows: Rows<'a>,
    right_rows: Rows<'a>,
    /// The one whose currency, kind and status are shown: the right side's, where there is one.
    pub(super) first: Row,
    pub(super) left: Option<i128>,
    pub(super) right: Option<i128>,
}

impl<'a> Cells<'a> {
    pub(super) fn of(context: &'a Context<'_>, settled: &'a Settled, finding: &Finding) -> Self {
        let (left_table, right_table) = context.tables(finding.leg);
        let (left_rows, right_rows) = (settled.findings.rows(finding.left), settled.findings.rows(finding.right));
        let value = |table: &Table, at: u32, left: bool| context.value(finding.leg, left, &table.row(at));
        let sum = |table: &Table, rows: &[u32], left: bool| match rows {
            [] => None,
            rows => Some(rows.iter().map(|at| value(table, *at, left)).sum()),
        };
        let (left, right) = (sum(left_table, &left_rows, true), sum(right_table, &right_rows, false));
        let of = |table: &Table, rows: &[u32]| rows.first().map(|at| table.row(*at));
        let first = of(right_table, &right_rows).or_else(|| of(left_table, &left_rows)).unwrap_or_default();
        Self { left_table, right_table, left_rows, right_rows, first, left, right }
    }

    fn lefts(&self) -> impl Iterator<Item = Row> + Clone {
        self.left_rows.iter().map(|at| self.left_table.row(*at))
    }

    fn rights(&self) -> impl Iterator<Item = Row> + Clone {
        self.right_rows.iter().map(|at| self.right_table.row(*at))
    }

    pub(super) fn currency<'b>(&self, book: &'b Book) -> &'b str {
        book.currency(self.first.currency)
    }

    /// Only where it is another.
    pub(super) fn left_currency<'b>(&self, book: &'b Book) -> &'b str {
        self.lefts().next().filter(|row| row.currency != self.first.currency).map_or("", |row| book.currency(row.currency))
    }

    pub(super) fn difference(&self) -> Option<i128> {
        let same = self.lefts().next().is_none_or(|row| row.currency == self.first.currency);
        same.then(|| self.right.unwrap_or(0) - self.left.unwrap_or(0))
    }

    pub(super) fn created(&self) -> Option<u32> {
        let moments = self.lefts().chain(self.rights());
        moments.map(|row| if row.created == 0 { row.available } else { row.created }).filter(|moment| *moment != 0).min()
    }

    /// The day on which something pending is a break. What is pending by its status has none: only the other side can end it.
    pub(super) fn becomes_break_on(&self, context: &Context<'_>, finding: &Finding) -> String {
        if finding.outcome != Outcome::Pending || finding.rule != Rule::Grace {
            return String::new();
        }
        let options = context.options;
        let (from, grace) = match (finding.leg, self.right_rows.is_empty()) {
            (Leg::OrderCharge | Leg::ChargeBt, true) => (self.first.created, options.grace_stripe),
            (Leg::OrderCharge | Leg::ChargeBt, false) => (self.first.created, options.grace_ledger),
            (Leg::PayoutBank, true) if self.first.available != 0 => (self.first.available, options.grace_bank),
            (Leg::PayoutBank, true) => (self.first.created, options.grace_bank),
            (Leg::BtPayout, _) | (Leg::PayoutBank, false) => (self.first.created, options.grace_payout),
        };
        show_day(options.zone.day(from.saturating_add(grace)))
    }

    /// `order_id,payment_intent,left_source,right_source,balance_transaction`
    pub(super) fn write_ids(&self, book: &Book, out: &mut impl Write) -> io::Result<()> {
        let both = |key: Key| self.lefts().chain(self.rights()).map(move |row| row.id(key));
        write_names(book, both(Key::Order), out)?;
        out.write_all(b",")?;
        write_names(book, both(Key::Payment), out)?;
        out.write_all(b",")?;
        write_names(book, self.lefts().map(|row| row.id(Key::Source)), out)?;
        out.write_all(b",")?;
        write_names(book, self.rights().map(|row| row.id(Key::Source)), out)?;
        out.write_all(b",")?;
        write_names(book, both(Key::BalanceTransaction), out)
    }

    /// What a break is known by from run to run: leg, class and every id. Rows that say the same are told apart by a number.
    pub(super) fn identity(&self, book: &Book, finding: &Finding) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(finding.leg.name());
        hasher.update(b"\n");
        hasher.update(finding.class.name());
        for (side, table, rows) in [(b"\nleft", self.left_table, &self.left_rows), (b"\nrite", self.right_table, &self.right_rows)] {
            hasher.update(side);
            for row in rows.iter().map(|at| table.row(*at)) {
                for key in [Key::BalanceTransaction, Key::Source, Key::Payment, Key::Order] {
                    hasher.update(b"\t");
                    hasher.update(book.names.bytes(row.id(key)));
                }
            }
        }
        hasher.finalize().into()
    }

    /// A number that is the same for the same identity, and hardly ever for two; made from the numbers of the ids, it is only good within one
    /// run.
    pub(super) fn mark(&self, finding: &Finding) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |mark: u64, word: u32| (mark.rotate_left(29) ^ u64::from(word)).wrapping_mul(ODD);
        let mut mark = mix(u64::from(finding.leg as u8) << 8 | finding.class as u64, 0);
        for row in self.lefts() {
            mark = row.ids.iter().fold(mark, |mark, name| mix(mark, name.0));
        }
        mark = mix(mark, u32::MAX);
        for row in self.rights() {
            mark = row.ids.iter().fold(mark, |mark, name| mix(mark, name.0));
        }
        mark ^ mark >> 32
    }
}

pub(super) fn stable_id(identity: &[u8; 32], number: u32) -> String {
    let digest = Sha256::new_with_prefix(identity).chain_update(number.to_be_bytes()).finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("brk_{hex}")
}

/// Different names, separated by blanks, in one cell. Nearly always there is one.
pub(super) fn write_names(book: &Book, names: impl Iterator<Item = Name> + Clone, out: &mut impl Write) -> io::Result<()> {
    let mut names = names.filter(|name| name.is_some());
    let Some(first) = names.next() else { return Ok(()) };
    let others = names.filter(|name| *name != first);
    if others.clone().next().is_none() {
        let text = book.names.bytes(first);
        return if book.names.any_needs_quotes() { write_cell(out, text) } else { out.write_all(text) };
    }
    let mut different = vec![first];
    for name in others {
        if different.len() <= NAMES_MAX && !different.contains(&name) {
            different.push(name);
        }
    }
    let mut cell = different.iter().take(NAMES_MAX).map(|name| book.names.text(*name)).collect::<Vec<_>>().join(" ");
    if different.len() > NAMES_MAX {
        cell.push_str(" ...");
    }
    write_cell(out, cell.as_bytes())
}

/// An amount, or nothing. Nearly all fit into 64 bits, which is much less work.
pub(super) fn write_amount(out: &mut impl Write, amount: Option<i128>) -> io::Result<()> {
    let Some(amount) = amount else { return Ok(()) };
    let Ok(small) = i64::try_from(amount) else { return write!(out, "{amount}") };
    let mut digits = [b'0'; 20];
    let mut rest = small.unsigned_abs();
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    if small < 0 {
        out.write_all(b"-")?;
    }
    out.write_all(digits.get(digits.len() - length..).unwrap_or_default())
}

/// A cell, in quotes where it has to be.
pub(super) fn write_cell(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    if !needs_quotes(text) {
        return out.write_all(text);
    }
    out.write_all(b"\"")?;
    for part in text.split_inclusive(|byte| *byte == b'"') {
        out.write_all(part)?;
        if part.ends_with(b"\"") {
            out.write_all(b"\"")?;
        }
    }
    out.write_all(b"\"")
}
