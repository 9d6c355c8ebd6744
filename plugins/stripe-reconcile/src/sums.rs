//! Sums over findings, by numbers: how a million of them are added up.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::class::{Class, Leg, Outcome};
use crate::findings::Finding;

/// One line of the summary. Amounts are minor units.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How many findings.
    pub findings: u64,
    /// How many rows of the left side.
    pub left_rows: u64,
    /// How many rows of the right side.
    pub right_rows: u64,
    /// What the left side says.
    pub left_total: i128,
    /// What the right side says.
    pub right_total: i128,
    /// Right less left.
    pub difference: i128,
    /// The sizes of all differences, which do not cancel each other.
    pub gross_value: i128,
}

impl Line {
    pub(crate) fn add(&mut self, other: &Line) {
        self.findings += other.findings;
        self.left_rows += other.left_rows;
        self.right_rows += other.right_rows;
        self.left_total += other.left_total;
        self.right_total += other.right_total;
        self.gross_value += other.gross_value;
        self.difference = self.right_total - self.left_total;
    }
}

/// Leg, class, outcome, currency number and balance number.
pub(crate) type Numbers = (Leg, Class, Outcome, u8, u8);

/// What a finding is, whatever it is about.
pub(crate) struct What(Leg, Class, Outcome);

impl From<&Finding> for What {
    fn from(finding: &Finding) -> Self {
        Self(finding.leg, finding.class, finding.outcome)
    }
}

/// Most findings go to the same line as the one before.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sums {
    lines: BTreeMap<Numbers, Line>,
    last: Option<Numbers>,
    line: Line,
}

impl Sums {
    #[inline(always)]
    pub(crate) fn line(&mut self, key: Numbers) -> &mut Line {
        if self.last != Some(key) {
            self.change_to(key);
        }
        &mut self.line
    }

    /// Adds a finding of two rows that differ in nothing: the currency and the value of each.
    pub(crate) fn add_pair(&mut self, what: What, balance: u8, left: (u8, i128), right: (u8, i128)) {
        let What(leg, class, outcome) = what;
        let line = self.line((leg, class, outcome, left.0, balance));
        line.left_rows += 1;
        line.left_total += left.1;
        let line = self.line((leg, class, outcome, right.0, balance));
        line.right_rows += 1;
        line.right_total += right.1;
        line.findings += 1;
    }

    fn change_to(&mut self, key: Numbers) {
        self.put_back();
        self.line = self.lines.remove(&key).unwrap_or_default();
        self.last = Some(key);
    }

    fn put_back(&mut self) {
        if let Some(key) = self.last.take() {
            self.lines.insert(key, std::mem::take(&mut self.line));
        }
    }

    /// All of them.
    pub(crate) fn lines(mut self) -> BTreeMap<Numbers, Line> {
        self.put_back();
        self.lines
    }
}
