//! Rows without a partner: each gets the class that says why, and what is to be done.

use std::collections::BTreeMap;

use super::Context;
use super::compare::{Comparison, Side};
use super::judge::sum;
use crate::class::{Class, Outcome, Rule};
use crate::kind::Kind;
use crate::request::Foreign;
use crate::rows::{Flags, Key, Row, Status};
use crate::store::{Bits, Name};
use crate::text::Moment;

impl Context<'_> {
    /// Whether a row without a partner lies outside the period: its partner may do so too.
    pub(super) fn is_outside(&self, row: &Row) -> bool {
        self.is_outside_at(row, row.created)
    }

    /// The same by another moment. What was open before stays open whatever the period is.
    pub(super) fn is_outside_at(&self, row: &Row, moment: Moment) -> bool {
        moment != 0 && !row.flags.has(Flags::CARRIED) && self.options.period.is_some_and(|(from, to)| !(from..to).contains(&moment))
    }

    /// Whether something of this moment may still come.
    pub(super) fn is_young(&self, moment: Moment, grace_seconds: u32) -> bool {
        moment != 0 && moment.saturating_add(grace_seconds) > self.as_of
    }
}

impl Comparison<'_> {
    pub(super) fn classify_leftovers(&mut self) {
        self.classify_returned();
        let left: Vec<_> = self.left.open().map(|(at, row)| (at, self.class_of_left(row))).collect();
        for (at, (class, rule)) in left {
            self.report_left(at, class, rule);
        }
        let settled_orders = self.settled_orders();
        let expected = Expected::of(&self.left);
        let right: Vec<_> = self.right.open().map(|(at, row)| (at, self.class_of_right(row, &settled_orders, &expected))).collect();
        for (at, (class, rule)) in right {
            self.report_right(at, class, rule);
        }
    }

    fn class_of_left(&self, row: &Row) -> (Class, Rule) {
        let context = self.context;
        if matches!(row.status, Status::Failed | Status::Inquiry) {
            (Class::NotPaid, Rule::Status)
        } else if context.is_outside(row) {
            (Class::OutsidePeriod, Rule::Period)
        } else if row.kind() == Kind::OwnLine {
            (Class::FeeOrAdjustmentOnly, Rule::Category)
        } else if row.status == Status::Pending {
            (Class::TimingInTransit, Rule::Status)
        } else if context.is_young(row.created, context.options.grace_stripe) {
            (Class::TimingInTransit, Rule::Grace)
        } else {
            (Class::MissingInStripe, Rule::NoPartner)
        }
    }

    fn class_of_right(&self, row: &Row, settled_orders: &Bits, expected: &Expected) -> (Class, Rule) {
        let context = self.context;
        if context.is_outside(row) {
            return (Class::OutsidePeriod, Rule::Period);
        }
        let young = context.is_young(row.created, context.options.grace_ledger);
        let unless_young = |class: Class| if young { (Class::TimingInTransit, Rule::Grace) } else { (class, Rule::NoPartner) };
        match row.kind() {
            Kind::OwnLine => (Class::FeeOrAdjustmentOnly, Rule::Category),
            Kind::Unknown => (Class::Unclassified, Rule::Category),
            Kind::Payout | Kind::PayoutReversal if !expected.payouts => (Class::PayoutMovement, Rule::Category),
            Kind::Transfer | Kind::Topup if !expected.transfers => (Class::FeeOrAdjustmentOnly, Rule::Category),
            Kind::PartialCaptureReversal => (Class::PartialCapture, Rule::Category),
            Kind::ChargeFailure => (Class::StatusMismatch, Rule::Category),
            Kind::RefundFailure => (Class::RefundFailed, Rule::Category),
            Kind::DisputeReversal => (Class::DisputeWon, Rule::Category),
            Kind::Dispute if row.status == Status::Lost => (Class::DisputeLost, Rule::Status),
            Kind::Dispute => (Class::DisputeOpen, Rule::Category),
            Kind::Charge if row.status == Status::Failed => (Class::NotPaid, Rule::Status),
            Kind::Charge if settled_orders.has(row.id(Key::Order).0) => (Class::DoubleCharge, Rule::OrderId),
            Kind::Charge if context.options.foreign == Foreign::Exclude && !row.id(Key::Order).is_some() => {
                (Class::NotOurs, Rule::NoMetadata)
            }
            Kind::Refund => unless_young(Class::RefundUnrecorded),
            _ => unless_young(Class::MissingInLedger),
        }
    }

    /// Orders that have a paid charge that is settled.
    fn settled_orders(&self) -> Bits {
        if !self.right.table.has_key(Key::Order) {
            return Bits::default();
        }
        let mut orders = Bits::new(self.book().names.count());
        let pays = |row: &Row| row.kind() == Kind::Charge && row.status != Status::Failed && row.id(Key::Order).is_some();
        for (at, row) in self.right.table.rows.iter().filter(|(_, row)| pays(row)) {
            let repeat = self.right_is_stripe() && self.context.repeats.all.has(at);
            if self.right.taken.has(at) && self.context.is_right(self.leg, at, row) && !repeat {
                orders.set(row.id(Key::Order).0);
            }
        }
        orders
    }

    /// Movements of one object that cancel each other, and that the ledger knows nothing of.
    fn classify_returned(&mut self) {
        let takes_back = |kind: Kind| matches!(kind, Kind::ChargeFailure | Kind::RefundFailure | Kind::DisputeReversal);
        let mut objects: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for (_, row) in self.right.open().filter(|(_, row)| takes_back(row.kind()) && row.id(Key::Source).is_some()) {
            objects.entry(row.id(Key::Source)).or_default();
        }
        if objects.is_empty() {
            return;
        }
        for (at, row) in self.right.open() {
            if let Some(rows) = objects.get_mut(&row.id(Key::Source)) {
                rows.push(at);
            }
        }
        for mut rows in objects.into_values() {
            let Some((_, 0)) = sum(self.right.table, &rows).filter(|_| rows.len() > 1) else { continue };
            self.sort(self.right.table, &mut rows);
            let has = |kind: Kind| rows.iter().any(|at| self.right.row(*at).kind() == kind);
            let (class, outcome) = if has(Kind::RefundFailure) {
                (Class::RefundFailed, Outcome::Info)
            } else if has(Kind::DisputeReversal) {
                (Class::DisputeWon, Outcome::Info)
            } else {
                (Class::NotPaid, Outcome::Ok)
            };
            self.report(&[], &rows, class, outcome, Rule::Returned);
        }
    }
}

/// Movements for which a ledger row is expected only when the ledger has rows of that kind.
struct Expected {
    payouts: bool,
    transfers: bool,
}

impl Expected {
    fn of(ledger: &Side<'_>) -> Self {
        let has = |kinds: [Kind; 2]| ledger.table.has_kind(&kinds);
        Self { payouts: has([Kind::Payout, Kind::PayoutReversal]), transfers: has([Kind::Transfer, Kind::Topup]) }
    }
}
