//! What was found: which rows belong together, and what that is. Twelve bytes each, since most of a million are plain matches.

use std::collections::BTreeMap;

use crate::class::{Class, Leg, Outcome, Rule};
use crate::store::Pages;

/// No row, one row, or a list of rows that [`Findings`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Members(u32);

const LIST: u32 = 1 << 31;

impl Members {
    pub(crate) const NONE: Members = Members(u32::MAX);

    pub(crate) fn one(row: u32) -> Self {
        Self(row & !LIST)
    }
}

/// One finding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding {
    pub(crate) left: Members,
    pub(crate) right: Members,
    pub(crate) leg: Leg,
    pub(crate) class: Class,
    pub(crate) outcome: Outcome,
    pub(crate) rule: Rule,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) all: Pages<Finding>,
    lists: Vec<Box<[u32]>>,
    /// Rows of the other side that would fit a finding, for people to choose from.
    suggestions: BTreeMap<u32, Box<[u32]>>,
}

impl Findings {
    /// Keeps a list of rows.
    pub(crate) fn members(&mut self, rows: &[u32]) -> Members {
        match rows {
            [] => Members::NONE,
            [row] => Members::one(*row),
            rows => {
                self.lists.push(rows.into());
                Members(LIST | u32::try_from(self.lists.len() - 1).unwrap_or(!LIST))
            }
        }
    }

    pub(crate) fn push(&mut self, finding: Finding) -> u32 {
        self.all.push(finding).unwrap_or(u32::MAX)
    }

    pub(crate) fn suggest(&mut self, finding: u32, rows: &[u32]) {
        if !rows.is_empty() {
            self.suggestions.insert(finding, rows.into());
        }
    }

    pub(crate) fn suggestions(&self, finding: u32) -> &[u32] {
        self.suggestions.get(&finding).map_or(&[], |rows| rows)
    }

    /// The rows of one side of a finding.
    pub(crate) fn rows(&self, members: Members) -> Rows<'_> {
        if members == Members::NONE {
            Rows::Many(&[])
        } else if members.0 & LIST == 0 {
            Rows::One([members.0])
        } else {
            Rows::Many(self.lists.get((members.0 & !LIST) as usize).map_or(&[], |rows| rows))
        }
    }
}

/// Rows of one side.
pub(crate) enum Rows<'a> {
    One([u32; 1]),
    Many(&'a [u32]),
}

impl std::ops::Deref for Rows<'_> {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::One(row) => row,
            Self::Many(rows) => rows,
        }
    }
}
