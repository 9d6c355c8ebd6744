//! Balance transactions and payouts. Stripe says which movements an automatic payout is made of; of a manual one nobody can know, unless
//! only one set of movements adds up to it.

use std::collections::BTreeMap;

use super::compare::{Comparison, SUGGESTIONS_MAX};
use super::subset::{CANDIDATES_MAX, Found, unique_subset};
use crate::class::{Class, Outcome, Rule};
use crate::kind::Kind;
use crate::rows::{Flags, Key, Row, Status};
use crate::store::{Bits, Name};

const DAY_SECONDS: u32 = 86_400;

impl Comparison<'_> {
    pub(super) fn settle_payouts(&mut self) {
        self.exclude();
        let mut members: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for (at, row) in self.left.open().filter(|(_, row)| row.payout.is_some()) {
            members.entry(row.payout).or_default().push(at);
        }
        let returned = self.returned_payouts();
        let mut payouts: Vec<u32> = self.right.open().map(|(at, _)| at).collect();
        self.sort(self.right.table, &mut payouts);
        let mut seen = Bits::new(self.book().names.count());
        let mut unknown = Vec::new();
        for at in payouts {
            let row = self.right.row(at);
            let id = row.id(Key::Source);
            if row.kind() == Kind::PayoutReversal {
                self.report(&[], &[at], Class::PayoutFailed, Outcome::Info, Rule::Returned);
            } else if seen.set(id.0) {
                self.report_right(at, Class::DuplicateInStripe, Rule::SameKey);
            } else {
                let mut members = members.remove(&id).unwrap_or_default();
                self.sort(self.left.table, &mut members);
                if members.is_empty() && row.status != Status::Failed && row.amount != 0 {
                    unknown.push(at);
                } else {
                    self.settle_payout(at, &row, &members, returned.has(id.0));
                }
            }
        }
        for at in unknown {
            self.settle_without_members(at);
        }
        for (_, mut rows) in members {
            self.sort(self.left.table, &mut rows);
            // Without an input of payouts nothing says that the list is complete.
            let (class, outcome) = match self.context.payouts_derived {
                true => (Class::PayoutUnattributable, Outcome::Info),
                false => (Class::PayoutSumMismatch, Outcome::Break),
            };
            self.report(&rows, &[], class, outcome, Rule::UnknownPayout);
        }
        self.classify_unpaid();
    }

    fn settle_payout(&mut self, at: u32, row: &Row, members: &[u32], returned: bool) {
        let nets: i128 = members.iter().map(|member| self.left.table.net(&self.left.row(*member))).sum();
        let one_currency = members.iter().all(|member| self.left.row(*member).currency == row.currency);
        let (class, outcome, rule) = if row.status == Status::Failed || returned {
            // The money is back when a movement says so, not when the status does.
            if returned {
                (Class::PayoutFailed, Outcome::Info, Rule::Returned)
            } else {
                (Class::PayoutFailed, Outcome::Break, Rule::Status)
            }
        } else if row.flags.has(Flags::NOT_FINAL) {
            (Class::TimingInTransit, Outcome::Pending, Rule::NotFinal)
        } else if one_currency && nets == i128::from(row.amount) {
            (Class::Matched, Outcome::Ok, Rule::PayoutSum)
        } else {
            (Class::PayoutSumMismatch, Outcome::Break, Rule::PayoutSum)
        };
        self.report(members, &[at], class, outcome, rule);
    }

    /// Payouts that a movement brought back, or a row of the report does.
    fn returned_payouts(&self) -> Bits {
        let mut returned = Bits::new(self.book().names.count());
        let reversals = |row: &Row| row.kind() == Kind::PayoutReversal;
        for (_, row) in self.book().stripe.rows.iter().filter(|(_, row)| reversals(row)) {
            returned.set(row.id(Key::Source).or(row.payout).0);
        }
        for (_, row) in self.right.table.rows.iter().filter(|(_, row)| reversals(row)) {
            returned.set(row.id(Key::Source).0);
        }
        returned
    }

    /// A payout of which no member is known.
    fn settle_without_members(&mut self, at: u32) {
        let row = self.right.row(at);
        let automatic = row.flags.has(Flags::AUTOMATIC);
        let manual = row.flags.has(Flags::SCHEDULE_KNOWN) && !automatic;
        if self.context.is_outside(&row) && !manual {
            self.report_right(at, Class::OutsidePeriod, Rule::Period);
            return;
        }
        if row.flags.has(Flags::NOT_FINAL) && !manual {
            self.report(&[], &[at], Class::TimingInTransit, Outcome::Pending, Rule::NotFinal);
            return;
        }
        if !manual && !self.context.payouts_derived {
            // Stripe knows the members and the input does not say them: this must not look settled.
            self.report(&[], &[at], Class::PayoutUnattributable, Outcome::Warning, Rule::EmptyMembership);
            return;
        }
        let candidates = self.candidates_for(&row);
        let amounts: Option<Vec<i64>> = candidates.iter().map(|at| i64::try_from(self.left.table.net(&self.left.row(*at))).ok()).collect();
        let found = match amounts {
            Some(amounts) if candidates.len() <= CANDIDATES_MAX => {
                unique_subset(&amounts, row.amount, &mut self.search.nodes, self.context.options.group_nodes_max)
            }
            _ => Found::TooCostly,
        };
        match found {
            Found::Unique(places) => {
                let members: Vec<u32> = places.into_iter().filter_map(|place| candidates.get(place).copied()).collect();
                self.report(&members, &[at], Class::Matched, Outcome::Ok, Rule::SubsetSum);
            }
            other => {
                self.search.skipped += u64::from(other == Found::TooCostly);
                let first = self.first_in_first_out(&candidates, &row);
                let finding = self.report_right(at, Class::PayoutUnattributable, Rule::Manual);
                let shown = first.get(..first.len().min(SUGGESTIONS_MAX)).unwrap_or_default();
                self.findings.suggestions_left_out += (first.len() - shown.len()) as u64;
                self.findings.suggest(finding, shown);
            }
        }
    }

    /// What was in the balance when a payout was made, the oldest first.
    fn candidates_for(&self, payout: &Row) -> Vec<u32> {
        let made = payout.created.max(1);
        let from = made.saturating_sub(self.context.options.group_days.saturating_mul(DAY_SECONDS));
        let fits = |row: &Row| {
            let available = if row.available == 0 { row.created } else { row.available };
            row.currency == payout.currency && !row.payout.is_some() && (from..=made).contains(&available)
        };
        let mut rows: Vec<u32> = self.left.open().filter(|(_, row)| fits(row)).map(|(at, _)| at).collect();
        rows.sort_by(|a, b| {
            let (x, y) = (self.left.row(*a), self.left.row(*b));
            x.available.cmp(&y.available).then_with(|| super::compare::compare_rows(self.context.book, self.left.table, *a, *b))
        });
        rows
    }

    /// The oldest movements that add up to a payout: the likeliest, and no proof.
    fn first_in_first_out(&self, candidates: &[u32], payout: &Row) -> Vec<u32> {
        let mut sum = 0;
        for (place, at) in candidates.iter().enumerate() {
            sum += self.left.table.net(&self.left.row(*at));
            if sum == i128::from(payout.amount) {
                return candidates.get(..=place).unwrap_or_default().to_vec();
            }
        }
        Vec::new()
    }

    /// Movements that no payout has.
    fn classify_unpaid(&mut self) {
        let context = self.context;
        let grace = context.options.grace_payout;
        let class = |row: &Row| {
            if context.is_outside(row) {
                (Class::OutsidePeriod, Outcome::Excluded, Rule::Period)
            } else if row.available > context.as_of {
                (Class::TimingInTransit, Outcome::Pending, Rule::Status)
            } else if grace > 0 && row.available != 0 && !context.is_young(row.available, grace) {
                (Class::PayoutUnattributable, Outcome::Break, Rule::Grace)
            } else {
                (Class::InBalance, Outcome::Ok, Rule::NoPartner)
            }
        };
        let rows: Vec<_> = self.left.open().map(|(at, row)| (at, class(row))).collect();
        for (at, (class, outcome, rule)) in rows {
            self.report(&[at], &[], class, outcome, rule);
        }
    }
}
