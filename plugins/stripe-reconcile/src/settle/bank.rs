//! Payouts and what the bank has. A payout at the bank is no customer's payment: counted here and nowhere else.

use super::compare::Comparison;
use crate::class::{Class, Rule};
use crate::kind::Kind;
use crate::rows::{Flags, Key, Row, Status};

impl Comparison<'_> {
    pub(super) fn settle_bank(&mut self) {
        self.exclude();
        let nothing_moves = |row: &Row| row.status == Status::Failed || row.kind() == Kind::PayoutReversal || row.amount == 0;
        let still: Vec<u32> = self.left.open().filter(|(_, row)| nothing_moves(row)).map(|(at, _)| at).collect();
        for at in still {
            self.report_left(at, Class::NotPaid, Rule::Status);
        }
        self.join(Key::Source, Rule::PayoutId);
        self.join(Key::Payment, Rule::TraceId);
        self.match_composites();
        self.match_groups();
        let left: Vec<_> = self.left.open().map(|(at, row)| (at, self.class_of_payout(row))).collect();
        for (at, (class, rule)) in left {
            self.report_left(at, class, rule);
        }
        let right: Vec<_> = self.right.open().map(|(at, row)| (at, self.class_of_bank_line(row))).collect();
        for (at, (class, rule)) in right {
            self.report_right(at, class, rule);
        }
    }

    fn class_of_payout(&self, row: &Row) -> (Class, Rule) {
        let context = self.context;
        let arrives = if row.available == 0 { row.created } else { row.available };
        if context.is_outside_at(row, arrives) {
            (Class::OutsidePeriod, Rule::Period)
        } else if row.status == Status::Pending {
            (Class::TimingInTransit, Rule::Status)
        } else if context.is_young(arrives, context.options.grace_bank) {
            (Class::TimingInTransit, Rule::Grace)
        } else {
            (Class::PayoutNotAtBank, Rule::NoPartner)
        }
    }

    fn class_of_bank_line(&self, row: &Row) -> (Class, Rule) {
        let context = self.context;
        if !row.flags.has(Flags::SAYS_STRIPE) {
            (Class::NotOurs, Rule::NoMetadata)
        } else if context.is_outside(row) {
            (Class::OutsidePeriod, Rule::Period)
        } else if context.is_young(row.created, context.options.grace_payout) {
            (Class::TimingInTransit, Rule::Grace)
        } else {
            (Class::MissingInStripe, Rule::NoPartner)
        }
    }
}
