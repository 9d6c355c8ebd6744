//! What the columns of a finding are made from.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::class::{Leg, Outcome, Rule};
use crate::findings::Finding;
use crate::rows::{Book, Key, Row};
use crate::settle::{Context, Settled};
use crate::store::Name;
use crate::text::show_day;

/// So many ids stand in one cell; a payout has thousands of members.
const NAMES_MAX: usize = 20;

pub(super) struct Cells {
    left_rows: Vec<Row>,
    right_rows: Vec<Row>,
    /// The one whose currency, kind and status are shown: the right side's, where there is one.
    pub(super) first: Row,
    pub(super) left: Option<i128>,
    pub(super) right: Option<i128>,
}

impl Cells {
    pub(super) fn of(context: &Context<'_>, settled: &Settled, finding: &Finding) -> Self {
        let (left_table, right_table) = context.tables(finding.leg);
        let (mut left_room, mut right_room) = ([0], [0]);
        let left_rows: Vec<Row> = settled.findings.rows(finding.left, &mut left_room).iter().map(|at| left_table.row(*at)).collect();
        let right_rows: Vec<Row> = settled.findings.rows(finding.right, &mut right_room).iter().map(|at| right_table.row(*at)).collect();
        let sum = |rows: &[Row], left: bool| match rows {
            [] => None,
            rows => Some(rows.iter().map(|row| context.value(finding.leg, left, row)).sum()),
        };
        let (left, right) = (sum(&left_rows, true), sum(&right_rows, false));
        let first = right_rows.first().or(left_rows.first()).copied().unwrap_or_default();
        Self { left_rows, right_rows, first, left, right }
    }

    pub(super) fn currency<'a>(&self, book: &'a Book) -> &'a str {
        book.currency(self.first.currency)
    }

    /// Only where it is another.
    pub(super) fn left_currency<'a>(&self, book: &'a Book) -> &'a str {
        self.left_rows.first().filter(|row| row.currency != self.first.currency).map_or("", |row| book.currency(row.currency))
    }

    pub(super) fn difference(&self) -> Option<i128> {
        let same = self.left_rows.first().is_none_or(|row| row.currency == self.first.currency);
        same.then(|| self.right.unwrap_or(0) - self.left.unwrap_or(0))
    }

    pub(super) fn created(&self) -> Option<u32> {
        let moments = self.left_rows.iter().chain(&self.right_rows);
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
        let both = |key: Key| self.left_rows.iter().chain(&self.right_rows).map(move |row| row.id(key));
        write_names(book, both(Key::Order), out)?;
        out.write_all(b",")?;
        write_names(book, both(Key::Payment), out)?;
        out.write_all(b",")?;
        write_names(book, self.left_rows.iter().map(|row| row.id(Key::Source)), out)?;
        out.write_all(b",")?;
        write_names(book, self.right_rows.iter().map(|row| row.id(Key::Source)), out)?;
        out.write_all(b",")?;
        write_names(book, both(Key::BalanceTransaction), out)
    }

    /// What a break is known by from run to run: leg, class and every id. Rows that say the same are told apart by a number.
    pub(super) fn identity(&self, book: &Book, finding: &Finding) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(finding.leg.name());
        hasher.update(b"\n");
        hasher.update(finding.class.name());
        for (side, rows) in [(b"\nleft", &self.left_rows), (b"\nrite", &self.right_rows)] {
            hasher.update(side);
            for row in rows {
                for key in [Key::BalanceTransaction, Key::Source, Key::Payment, Key::Order] {
                    hasher.update(b"\t");
                    hasher.update(book.names.bytes(row.id(key)));
                }
            }
        }
        hasher.finalize().into()
    }
}

pub(super) fn stable_id(identity: &[u8; 32], number: u32) -> String {
    let digest = Sha256::new_with_prefix(identity).chain_update(number.to_be_bytes()).finalize();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("brk_{hex}")
}

/// Different names, separated by blanks, in one cell.
pub(super) fn write_names(book: &Book, names: impl Iterator<Item = Name>, out: &mut impl Write) -> io::Result<()> {
    let mut different: Vec<Name> = Vec::new();
    for name in names.filter(|name| name.is_some()) {
        if !different.contains(&name) && different.len() <= NAMES_MAX {
            different.push(name);
        }
    }
    match different.as_slice() {
        [] => Ok(()),
        [name] => write_cell(out, book.names.bytes(*name)),
        names => {
            let mut cell = names.iter().take(NAMES_MAX).map(|name| book.names.text(*name)).collect::<Vec<_>>().join(" ");
            if names.len() > NAMES_MAX {
                cell.push_str(" ...");
            }
            write_cell(out, cell.as_bytes())
        }
    }
}

/// A cell, in quotes where it has to be.
pub(super) fn write_cell(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    if !text.iter().any(|byte| matches!(byte, b',' | b';' | b'"' | b'\n' | b'\r')) {
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
