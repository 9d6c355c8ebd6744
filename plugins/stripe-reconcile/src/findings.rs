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

    /// The rows of one side of a finding. `room` lends the space for a single row.
    pub(crate) fn rows<'a>(&'a self, members: Members, room: &'a mut [u32; 1]) -> &'a [u32] {
        if members == Members::NONE {
            return &[];
        }
        if members.0 & LIST == 0 {
            *room = [members.0];
            return room;
        }
        self.lists.get((members.0 & !LIST) as usize).map_or(&[], |rows| rows)
    }

    pub(crate) fn count(&self, members: Members) -> usize {
        self.rows(members, &mut [0]).len()
    }
}
