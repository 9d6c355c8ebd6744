//! What was found: which rows belong together, and what that is. Twelve bytes each, since most of a million are plain matches.

use crate::class::{Class, Leg, Outcome, Rule};
use crate::store::Pages;
use crate::sums::Sums;

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

impl Finding {
    /// One row with one row that says the same: nearly all of them.
    pub(crate) fn is_plain_match(&self) -> bool {
        let one = |members: Members| members.0 & LIST == 0;
        self.class == Class::Matched && self.outcome == Outcome::Ok && one(self.left) && one(self.right)
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Findings {
    /// What the plain matches add up to. They themselves are kept only where they will be written.
    pub(crate) plain: Sums,
    pub(crate) all: Pages<Finding>,
    lists: Vec<Box<[u32]>>,
    /// Rows of the other side that would fit a finding, for people to choose from: the finding, and which of `suggested` they are. Findings
    /// are numbered as they come, so this is sorted, and costs eight bytes where a map of lists cost a hundred.
    suggestions: Vec<(u32, Suggestion)>,
    suggested: SuggestionLists,
    /// Rows that would fit as well and are not among the suggestions, over all findings.
    pub(crate) suggestions_left_out: u64,
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
            let list = self.suggested.keep(rows);
            self.suggest_kept(finding, list);
        }
    }

    /// Suggests a list that is kept already.
    pub(crate) fn suggest_kept(&mut self, finding: u32, list: Suggestion) {
        let place = self.suggestions.partition_point(|(known, _)| *known < finding);
        match self.suggestions.get_mut(place) {
            Some(known) if known.0 == finding => known.1 = list,
            _ => self.suggestions.insert(place, (finding, list)),
        }
    }

    /// Keeps a list of rows that may be suggested with many findings. The same rows are kept once.
    pub(crate) fn keep_suggestion(&mut self, rows: &[u32]) -> Suggestion {
        self.suggested.keep(rows)
    }

    /// What a kept list holds.
    pub(crate) fn kept_suggestion(&self, list: Suggestion) -> &[u32] {
        self.suggested.get(list)
    }

    pub(crate) fn suggestions(&self, finding: u32) -> &[u32] {
        self.suggestion(finding).map_or(&[], |list| self.suggested.get(list))
    }

    /// Which list is suggested with a finding.
    pub(crate) fn suggestion(&self, finding: u32) -> Option<Suggestion> {
        let place = self.suggestions.binary_search_by_key(&finding, |(known, _)| *known).ok()?;
        self.suggestions.get(place).map(|(_, list)| *list)
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

/// A list of suggested rows that [`Findings`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suggestion(u32);

/// Lists of suggested rows. Rows that look alike come one after another and have the same few candidates, so a list is compared with the
/// last one only: a million such rows share one list.
#[derive(Default)]
struct SuggestionLists {
    lists: Vec<Box<[u32]>>,
}

impl SuggestionLists {
    fn keep(&mut self, rows: &[u32]) -> Suggestion {
        if self.lists.last().is_none_or(|last| **last != *rows) {
            self.lists.push(rows.into());
        }
        Suggestion(u32::try_from(self.lists.len() - 1).unwrap_or(u32::MAX))
    }

    fn get(&self, list: Suggestion) -> &[u32] {
        self.lists.get(list.0 as usize).map_or(&[], |rows| rows)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_look_alike_share_one_list() {
        const FINDINGS: u32 = 100_000;
        let mut findings = Findings::default();
        for finding in 0..FINDINGS {
            findings.suggest(finding, &[7, 8, 9]);
        }
        findings.suggest(FINDINGS + 1, &[1]);
        findings.suggest(FINDINGS + 2, &[]);
        assert_eq!((findings.suggested.lists.len(), findings.suggestions.len()), (2, FINDINGS as usize + 1));
        assert_eq!((findings.suggestions(0), findings.suggestions(FINDINGS - 1)), ([7, 8, 9].as_slice(), [7, 8, 9].as_slice()));
        assert_eq!(findings.suggestions(FINDINGS + 1), [1]);
        assert!(findings.suggestions(FINDINGS).is_empty() && findings.suggestions(FINDINGS + 2).is_empty());
    }
}
