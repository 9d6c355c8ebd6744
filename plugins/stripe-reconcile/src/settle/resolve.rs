//! Several rows under one key: split payments, captures of a part, money that came back, and keys that stand there twice.

use std::collections::BTreeMap;

use super::compare::Comparison;
use super::judge::sum;
use crate::class::{Class, Outcome, Rule};
use crate::kind::{Family, Kind};
use crate::rows::{Key, Status, Table};
use crate::store::Name;

impl Comparison<'_> {
    pub(super) fn resolve(&mut self, key: Key, rule: Rule, left: &[u32], right: &[u32]) {
        let mut families: BTreeMap<Family, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for at in left {
            families.entry(self.left.row(*at).kind().family()).or_default().0.push(*at);
        }
        for at in right {
            families.entry(self.right.row(*at).kind().family()).or_default().1.push(*at);
        }
        for (family, (mut left, mut right)) in families {
            if left.is_empty() || right.is_empty() {
                continue;
            }
            self.sort(self.left.table, &mut left);
            self.sort(self.right.table, &mut right);
            self.resolve_family(key, rule, family, left, right);
        }
    }

    fn resolve_family(&mut self, key: Key, rule: Rule, family: Family, left: Vec<u32>, right: Vec<u32>) {
        if let ([left], [right]) = (left.as_slice(), right.as_slice()) {
            self.settle_pair(*left, *right, rule);
            return;
        }
        if let [left] = left.as_slice()
            && self.money_came_back(*left, &right, rule)
        {
            return;
        }
        let sums = sum(self.left.table, &left).zip(sum(self.right.table, &right));
        let amounts = |table: &Table, rows: &[u32]| {
            let mut amounts: Vec<i64> = rows.iter().map(|at| table.row(*at).amount).collect();
            amounts.sort_unstable();
            amounts
        };
        let same_amounts = left.len() == right.len() && amounts(self.left.table, &left) == amounts(self.right.table, &right);
        if !same_amounts && sums.is_some_and(|(left, right)| left == right) {
            self.report(&left, &right, Class::Matched, Outcome::Ok, Rule::KeySum);
            return;
        }
        let (paired, left, right) = self.pair_equals(rule, left, right);
        self.resolve_rest(key, rule, family, &paired, left, right);
    }

    /// One ledger row, and movements of which later ones take back earlier ones.
    fn money_came_back(&mut self, left: u32, right: &[u32], rule: Rule) -> bool {
        let row = self.left.row(left);
        let has = |kind: Kind| right.iter().any(|at| self.right.row(*at).kind() == kind);
        let Some((currency, total)) = sum(self.right.table, right) else { return false };
        let failed = row.status == Status::Failed;
        let (class, outcome) = if has(Kind::RefundFailure) {
            (Class::RefundFailed, if failed && total == 0 { Outcome::Info } else { Outcome::Break })
        } else if has(Kind::DisputeReversal) {
            let denied = row.status == Status::Lost && total == 0;
            if denied { (Class::StatusMismatch, Outcome::Break) } else { (Class::DisputeWon, Outcome::Info) }
        } else if has(Kind::ChargeFailure) {
            if failed && total == 0 { (Class::NotPaid, Outcome::Ok) } else { (Class::StatusMismatch, Outcome::Break) }
        } else if has(Kind::PayoutReversal) {
            (Class::PayoutFailed, if failed && total == 0 { Outcome::Info } else { Outcome::Break })
        } else if has(Kind::PartialCaptureReversal) {
            // The books hold either what was charged or what was captured of it.
            let charged: Vec<u32> = right.iter().copied().filter(|at| self.right.row(*at).kind() == Kind::Charge).collect();
            let captured = (currency, total) == (row.currency, i128::from(row.amount));
            if failed || (!captured && sum(self.right.table, &charged) != Some((row.currency, i128::from(row.amount)))) {
                return false;
            }
            (Class::PartialCapture, Outcome::Ok)
        } else {
            return false;
        };
        self.report(&[left], right, class, outcome, rule);
        true
    }

    /// Pairs rows of equal amount, the earliest first. Answers with the ledger rows that were paired and what is left on both sides.
    fn pair_equals(&mut self, rule: Rule, left: Vec<u32>, right: Vec<u32>) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let mut by_amount: BTreeMap<(u8, i64), Vec<u32>> = BTreeMap::new();
        for at in right.iter().rev() {
            let row = self.right.row(*at);
            by_amount.entry((row.currency, row.amount)).or_default().push(*at);
        }
        let (mut paired, mut unpaired) = (Vec::new(), Vec::new());
        for at in left {
            let row = self.left.row(at);
            match by_amount.get_mut(&(row.currency, row.amount)).and_then(Vec::pop) {
                Some(partner) => {
                    self.settle_pair(at, partner, rule);
                    paired.push(at);
                }
                None => unpaired.push(at),
            }
        }
        let rest = right.into_iter().filter(|at| !self.right.taken.has(*at)).collect();
        (paired, unpaired, rest)
    }

    fn resolve_rest(&mut self, key: Key, rule: Rule, family: Family, paired: &[u32], left: Vec<u32>, right: Vec<u32>) {
        match (left.as_slice(), right.as_slice()) {
            ([], []) => {}
            (_, []) => self.report_ledger_repeats(key, paired, &left),
            ([], _) => self.report_double_charges(key, family, &right),
            ([one], [other]) => self.settle_pair(*one, *other, rule),
            // The id is evidence enough for the first; what else there is under the key is looked at on its own.
            ([one], [first, rest @ ..]) if key == Key::Source || key == Key::BalanceTransaction || family == Family::Payment => {
                self.settle_pair(*one, *first, rule);
                self.report_double_charges(key, family, rest);
            }
            ([first, rest @ ..], [one]) if key == Key::Source || key == Key::BalanceTransaction => {
                self.settle_pair(*first, *one, rule);
                self.report_ledger_repeats(key, &[*first], rest);
            }
            _ => self.report_ambiguous(&left, &right),
        }
    }

    /// A second row for the same thing. Rows that name different objects of Stripe are different things, even under one order.
    fn report_ledger_repeats(&mut self, key: Key, paired: &[u32], rest: &[u32]) {
        let sources: std::collections::BTreeSet<Name> = paired.iter().map(|at| self.left.row(*at).id(Key::Source)).collect();
        for at in rest {
            let source = self.left.row(*at).id(Key::Source);
            if matches!(key, Key::Source | Key::BalanceTransaction) || !source.is_some() || sources.contains(&source) {
                self.report_left(*at, Class::DuplicateInLedger, Rule::SameKey);
            }
        }
    }

    /// Paid charges beyond the one that settled the order. Other movements are left for what they are.
    fn report_double_charges(&mut self, key: Key, family: Family, rest: &[u32]) {
        if family != Family::Payment || !matches!(key, Key::Payment | Key::Order) {
            return;
        }
        for at in rest {
            let row = self.right.row(*at);
            if row.kind() == Kind::Charge && row.status != Status::Failed {
                self.report_right(*at, Class::DoubleCharge, Rule::OrderId);
            }
        }
    }
}
