//! One row that is the sum of several on the other side. Accepted only when exactly one set of rows adds up to it, and when no two such
//! sets share a row.

use std::collections::BTreeMap;

use super::compare::{Comparison, SUGGESTIONS_MAX};
use super::composite::{Candidate, Candidates};
use super::subset::{CANDIDATES_MAX, Found, unique_subset};
use crate::class::{Class, Rule};

const DAY_SECONDS: u32 = 86_400;

impl Comparison<'_> {
    pub(super) fn match_groups(&mut self) {
        self.match_sums(true);
        self.match_sums(false);
    }

    /// `one_is_left`: one row of the left side is several of the right, or the reverse.
    fn match_sums(&mut self, one_is_left: bool) {
        let (ones, parts) = (self.candidates(one_is_left, usize::MAX), self.candidates(!one_is_left, usize::MAX));
        if !ones.can_meet(&parts) {
            return;
        }
        let by_time = by_time(&parts);
        let table = if one_is_left { self.left.table } else { self.right.table };
        // The budget is spent in an order that does not depend on where the rows stood.
        let mut targets = ones.rows;
        targets.sort_by(|a, b| super::compare::compare_rows(self.context.book, table, a.at, b.at));
        let mut solutions = Vec::new();
        let mut uses: BTreeMap<u32, u32> = BTreeMap::new();
        for target in &targets {
            if let Some(members) = self.members_of(target, &by_time) {
                members.iter().for_each(|at| *uses.entry(*at).or_default() += 1);
                solutions.push((target.at, members));
            }
        }
        for (one, members) in solutions {
            let shared = members.iter().any(|at| uses.get(at).is_some_and(|count| *count > 1));
            let members_table = if one_is_left { self.right.table } else { self.left.table };
            let mut members = members;
            self.sort(members_table, &mut members);
            if shared {
                self.findings.suggestions_left_out += members.len().saturating_sub(SUGGESTIONS_MAX) as u64;
                members.truncate(SUGGESTIONS_MAX);
                let finding = match one_is_left {
                    true => self.report_left(one, Class::Ambiguous, Rule::SubsetSum),
                    false => self.report_right(one, Class::Ambiguous, Rule::SubsetSum),
                };
                self.findings.suggest(finding, &members);
                continue;
            }
            let (left, right) = if one_is_left { (vec![one], members) } else { (members, vec![one]) };
            self.report(&left, &right, Class::Matched, Class::Matched.outcome(), Rule::SubsetSum);
        }
    }

    /// The one set of rows in the window that adds up to a row.
    fn members_of(&mut self, target: &Candidate, parts: &BTreeMap<(crate::kind::Family, u8, u8), Vec<Candidate>>) -> Option<Vec<u32>> {
        let window = self.context.options.group_days.saturating_mul(DAY_SECONDS);
        let nodes_max = self.context.options.group_nodes_max;
        let mut fitting: Vec<&Candidate> = Vec::new();
        for ((family, currency, ids), rows) in parts {
            if (*family, *currency) != (target.family, target.currency) || ids & target.ids != 0 {
                continue;
            }
            let begin = rows.partition_point(|row| row.time < target.time.saturating_sub(window));
            let inside = rows.get(begin..).unwrap_or_default().iter().take_while(|row| row.time <= target.time.saturating_add(window));
            for row in inside {
                self.search.nodes += 1;
                if fitting.len() > CANDIDATES_MAX || self.search.nodes > nodes_max {
                    self.search.skipped += 1;
                    return None;
                }
                // Parts have the sign of the whole and are smaller.
                if (row.amount < 0) == (target.amount < 0) && row.amount.unsigned_abs() < target.amount.unsigned_abs() {
                    fitting.push(row);
                }
            }
        }
        if fitting.len() < 2 {
            return None;
        }
        let amounts: Vec<i64> = fitting.iter().map(|row| row.amount).collect();
        match unique_subset(&amounts, target.amount, &mut self.search.nodes, nodes_max) {
            Found::Unique(places) => Some(places.into_iter().filter_map(|place| fitting.get(place).map(|row| row.at)).collect()),
            Found::TooCostly => {
                self.search.skipped += 1;
                None
            }
            Found::Nothing | Found::Several => None,
        }
    }
}

fn by_time(parts: &Candidates) -> BTreeMap<(crate::kind::Family, u8, u8), Vec<Candidate>> {
    let mut groups: BTreeMap<_, Vec<Candidate>> = BTreeMap::new();
    for row in &parts.rows {
        groups.entry((row.family, row.currency, row.ids)).or_default().push(*row);
    }
    groups.values_mut().for_each(|rows| rows.sort_by_key(|row| row.time));
    groups
}
