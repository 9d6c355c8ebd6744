//! Rows without a common id: the same currency, amount and kind within a few days, where each has exactly one partner.

use std::collections::BTreeSet;

use super::compare::{Comparison, SUGGESTIONS_MAX};
use crate::class::{Class, Leg, Rule};
use crate::findings::Suggestion;
use crate::kind::{Family, Kind};
use crate::rows::{Key, Row, Status};
use crate::text::Moment;

const DAY_SECONDS: u32 = 86_400;

/// An open row with everything that decides whether another can be its partner.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) family: Family,
    pub(super) currency: u8,
    pub(super) amount: i64,
    /// Which ids it has. Two rows that both have an id of one sort are different things: if it were the same, it would have joined them.
    pub(super) ids: u8,
    pub(super) time: Moment,
    pub(super) at: u32,
}

impl Candidate {
    /// Amount and currency are gates, and so are ids that contradict each other; likeness is none.
    fn gate(&self) -> (Family, u8, i64, u8) {
        (self.family, self.currency, self.amount, self.ids)
    }
}

/// The open rows of one side, by gate, then by time, then by what they say.
pub(super) struct Candidates {
    pub(super) rows: Vec<Candidate>,
    pub(super) id_sets: BTreeSet<u8>,
}

impl Comparison<'_> {
    pub(super) fn match_composites(&mut self) {
        let (left, right) = (self.candidates(true, SUGGESTIONS_MAX), self.candidates(false, SUGGESTIONS_MAX));
        if !left.can_meet(&right) {
            return;
        }
        let forward = self.partners(&left, &right, true);
        let backward = self.partners(&right, &left, false);
        // What follows needs room of its own, and a sandbox never gives memory back.
        drop((left, right));
        let findings = &self.findings;
        let only_partner = |of: &[(u32, Suggestion)], at: u32| {
            let place = of.binary_search_by_key(&at, |(row, _)| *row).ok()?;
            match findings.kept_suggestion(of.get(place)?.1) {
                [one] => Some(*one),
                _ => None,
            }
        };
        let mutual = |at: u32| only_partner(&forward, at).filter(|partner| only_partner(&backward, *partner) == Some(at));
        let pairs: Vec<_> = forward.iter().filter_map(|(at, _)| Some((*at, mutual(*at)?))).collect();
        for (left, right) in pairs {
            self.settle_pair(left, right, Rule::Composite);
        }
        for (at, found) in forward {
            if !self.left.taken.has(at) {
                let finding = self.report_left(at, Class::Ambiguous, Rule::Candidates);
                self.findings.suggest_kept(finding, found);
            }
        }
        for (at, found) in backward {
            if !self.right.taken.has(at) {
                let finding = self.report_right(at, Class::Ambiguous, Rule::Candidates);
                self.findings.suggest_kept(finding, found);
            }
        }
    }

    /// When a row happened: a payout, for the bank, when it arrives.
    fn time_of(&self, row: &Row, is_left: bool) -> Moment {
        if self.leg == Leg::PayoutBank && is_left && row.available != 0 { row.available } else { row.created }
    }

    /// Which ids a row has, one bit each. A payment may be named by its intent or by its charge; those cannot be compared.
    fn ids_of(&self, row: &Row) -> u8 {
        let has = |key: Key, bit: u8| if row.id(key).is_some() { bit } else { 0 };
        let intent = self.context.book.names.bytes(row.id(Key::Payment)).starts_with(b"pi_");
        has(Key::BalanceTransaction, 1) | has(Key::Source, 2) | has(Key::Payment, if intent { 4 } else { 8 }) | has(Key::Order, 16)
    }

    /// The open rows of a side that may have a partner at all. Of rows of the same gate and time so many are in order and come first: a
    /// million rows that look alike would be compared by their texts for seconds, for the sake of the few that are shown.
    pub(super) fn candidates(&self, is_left: bool, in_order: usize) -> Candidates {
        let side = if is_left { &self.left } else { &self.right };
        let moves = |row: &Row| {
            let other = matches!(row.kind(), Kind::OwnLine | Kind::Unknown | Kind::RefundFailure | Kind::ChargeFailure);
            !other && row.status != Status::Failed && row.amount != 0
        };
        let mut rows: Vec<Candidate> = Vec::new();
        for (at, row) in side.open().filter(|(_, row)| moves(row)) {
            let time = self.time_of(row, is_left);
            if time != 0 {
                let (family, currency, amount) = (row.kind().family(), row.currency, row.amount);
                rows.push(Candidate { family, currency, amount, ids: self.ids_of(row), time, at });
            }
        }
        let id_sets = rows.iter().map(|row| row.ids).collect();
        let mut candidates = Candidates { rows, id_sets };
        let order = |a: &Candidate, b: &Candidate| super::compare::compare_rows(self.context.book, side.table, a.at, b.at);
        candidates.rows.sort_unstable_by_key(|row| (row.gate(), row.time));
        for alike in candidates.rows.chunk_by_mut(|a, b| (a.gate(), a.time) == (b.gate(), b.time)) {
            let first = if alike.len() > in_order { alike.select_nth_unstable_by(in_order, order).0 } else { alike };
            first.sort_unstable_by(order);
        }
        candidates
    }

    /// For each row the rows of the other side that may be its partner: one, or a few when there are more. By row.
    fn partners(&mut self, from: &Candidates, among: &Candidates, from_left: bool) -> Vec<(u32, Suggestion)> {
        let window = self.context.options.composite_days.saturating_mul(DAY_SECONDS);
        let other = if from_left { self.right.table } else { self.left.table };
        let mut found = Vec::new();
        let mut fitting = Vec::new();
        let mut left_out = 0;
        // Rows that look alike come one after another and have the same candidates.
        let mut last: (Vec<u32>, Option<Suggestion>) = (Vec::new(), None);
        for row in &from.rows {
            fitting.clear();
            let mut all = 0;
            for ids in among.id_sets.iter().filter(|ids| **ids & row.ids == 0) {
                let gate = (row.family, row.currency, row.amount, *ids);
                let begin = among.rows.partition_point(|other| (other.gate(), other.time) < (gate, row.time.saturating_sub(window)));
                let near = among.rows.get(begin..).unwrap_or_default();
                let inside = near.partition_point(|other| (other.gate(), other.time) <= (gate, row.time.saturating_add(window)));
                all += inside;
                fitting.extend(near.iter().take(inside.min(SUGGESTIONS_MAX)).map(|other| other.at));
            }
            if !fitting.is_empty() {
                // Only a row with one candidate can be settled here: the others will be shown with these.
                left_out += all - fitting.len().min(SUGGESTIONS_MAX);
                let known = last.1.filter(|_| last.0 == fitting);
                let list = known.unwrap_or_else(|| {
                    last.0.clone_from(&fitting);
                    self.sort(other, &mut fitting);
                    fitting.truncate(SUGGESTIONS_MAX);
                    self.findings.keep_suggestion(&fitting)
                });
                last.1 = Some(list);
                found.push((row.at, list));
            }
        }
        found.sort_unstable();
        self.findings.suggestions_left_out += left_out as u64;
        found
    }
}

impl Candidates {
    /// Whether there is any pair of rows whose ids do not contradict each other.
    pub(super) fn can_meet(&self, other: &Candidates) -> bool {
        self.id_sets.iter().any(|ids| other.id_sets.iter().any(|others| ids & others == 0))
    }
}
