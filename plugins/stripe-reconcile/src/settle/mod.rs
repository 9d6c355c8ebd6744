//! The algorithm: exact ids first, in a fixed order; then what is unique in both directions; then sums that have one solution. Whatever is
//! left is given a class of its own. Nothing depends on the order of the rows.

mod bank;
mod compare;
mod composite;
mod groups;
mod join;
mod judge;
mod leftovers;
mod payouts;
mod refunds;
mod resolve;
mod subset;

use std::collections::BTreeMap;

use crate::class::{Class, Leg};
use crate::findings::Findings;
use crate::kind::Kind;
use crate::request::{Options, Repeats};
use crate::rows::{Book, Flags, Row, Table};
use crate::store::Bits;
use crate::text::Moment;

use compare::Comparison;
pub(crate) use compare::compare_rows;

/// What all legs share.
pub(crate) struct Context<'a> {
    pub(crate) book: &'a Book,
    pub(crate) options: &'a Options,
    /// The moment the reconciliation speaks of.
    pub(crate) as_of: Moment,
    /// By scope number: why rows of it are left out, if they are.
    pub(crate) excluded: Vec<Option<Class>>,
    pub(crate) repeats: RepeatedRows,
    /// Orders are compared with the ledger's own charges, because it has some.
    pub(crate) orders_meet_ledger: bool,
    /// Payouts were made from their balance transactions, because there was no input of them.
    pub(crate) payouts_derived: bool,
    pub(crate) has_orders: bool,
}

/// Everything that was found.
pub(crate) struct Settled {
    pub(crate) findings: Findings,
    pub(crate) legs: Vec<LegTotals>,
    pub(crate) groups: GroupSearch,
    /// Exact repeats that were left out.
    pub(crate) repeats_dropped: u64,
}

/// How the search for sums went.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct GroupSearch {
    pub(crate) nodes: u64,
    /// Searches that were left out because there were too many candidates or the budget was spent.
    pub(crate) skipped: u64,
}

/// Stripe's rows whose balance transaction another row has that comes first in canonical order.
pub(crate) struct RepeatedRows {
    pub(crate) all: Bits,
    /// Those that also say exactly the same.
    pub(crate) exact: Bits,
}

/// What one leg was about, counted before anything is decided.
pub(crate) struct LegTotals {
    pub(crate) leg: Leg,
    pub(crate) left_rows: u64,
    pub(crate) right_rows: u64,
    /// By currency number: the sums of both sides.
    pub(crate) sums: BTreeMap<u8, (i128, i128)>,
    /// Rows that ended in no class, or in two. Both have to be zero.
    pub(crate) rows_unclassified: u64,
    pub(crate) rows_twice: u64,
}

impl Context<'_> {
    /// The tables that a leg compares.
    pub(crate) fn tables(&self, leg: Leg) -> (&Table, &Table) {
        match leg {
            Leg::OrderCharge if self.orders_meet_ledger => (&self.book.ledger, &self.book.ledger),
            Leg::OrderCharge | Leg::ChargeBt => (&self.book.ledger, &self.book.stripe),
            Leg::BtPayout => (&self.book.stripe, &self.book.payouts),
            Leg::PayoutBank => (&self.book.payouts, &self.book.bank),
        }
    }

    /// Whether a row of the left table belongs to a leg.
    pub(crate) fn is_left(&self, leg: Leg, at: u32, row: &Row) -> bool {
        match leg {
            Leg::OrderCharge => row.kind() == Kind::Order,
            Leg::ChargeBt => row.kind() != Kind::Order,
            Leg::BtPayout => {
                let own = matches!(row.kind(), Kind::Payout | Kind::PayoutReversal);
                !own && !self.repeats.all.has(at) && !row.flags.has(Flags::CARRIED)
            }
            Leg::PayoutBank => true,
        }
    }

    /// Whether a row of the right table belongs to a leg.
    pub(crate) fn is_right(&self, leg: Leg, at: u32, row: &Row) -> bool {
        let dropped = || self.options.repeats == Repeats::Drop && self.repeats.exact.has(at);
        let pays = |row: &Row| matches!(row.kind(), Kind::Charge | Kind::ChargeFailure | Kind::PartialCaptureReversal);
        match leg {
            Leg::OrderCharge if self.orders_meet_ledger => row.kind() == Kind::Charge,
            Leg::OrderCharge => pays(row) && !dropped(),
            Leg::ChargeBt => !(dropped() || self.has_orders && !self.orders_meet_ledger && pays(row)),
            Leg::BtPayout | Leg::PayoutBank => true,
        }
    }

    /// What a row adds to its side of a leg: payouts are made of nets.
    pub(crate) fn value(&self, leg: Leg, left: bool, row: &Row) -> i128 {
        if leg == Leg::BtPayout && left { self.book.stripe.net(row) } else { i128::from(row.amount) }
    }
}

/// Settles all legs for which there is something on both sides.
pub(crate) fn settle(context: &Context<'_>) -> Settled {
    let mut settled = Settled { findings: Findings::default(), legs: Vec::new(), groups: GroupSearch::default(), repeats_dropped: 0 };
    if context.options.repeats == Repeats::Drop {
        let rows = context.book.stripe.rows.iter();
        settled.repeats_dropped = rows.filter(|(at, _)| context.repeats.exact.has(*at)).count() as u64;
    }
    for leg in Leg::ALL {
        if !is_examined(context, leg) {
            continue;
        }
        let mut comparison = Comparison::new(context, leg, &mut settled.findings, &mut settled.groups);
        match leg {
            Leg::OrderCharge | Leg::ChargeBt => {
                comparison.exclude();
                comparison.report_repeats();
                comparison.join_by_ids();
                comparison.explain_by_refunds();
                comparison.match_composites();
                comparison.match_groups();
                comparison.classify_leftovers();
            }
            Leg::BtPayout => comparison.settle_payouts(),
            Leg::PayoutBank => comparison.settle_bank(),
        }
        settled.legs.push(comparison.totals());
    }
    settled
}

/// A leg without anything to compare with says nothing; it is reported as not examined.
pub(crate) fn is_examined(context: &Context<'_>, leg: Leg) -> bool {
    let book = context.book;
    match leg {
        Leg::OrderCharge => context.has_orders,
        Leg::ChargeBt => true,
        Leg::BtPayout => book.payouts.rows.len() > 0 && book.stripe.rows.len() > 0,
        Leg::PayoutBank => book.bank.rows.len() > 0,
    }
}

/// Payouts from their own balance transactions, where there is no input of payouts.
pub(crate) fn derive_payouts(book: &mut Book) -> bool {
    if book.payouts.rows.len() > 0 {
        return false;
    }
    if !book.stripe.has_kind(&[Kind::Payout, Kind::PayoutReversal]) {
        return true;
    }
    let moved = |row: &Row| matches!(row.kind(), Kind::Payout | Kind::PayoutReversal);
    let mut own: Vec<u32> = book.stripe.rows.iter().filter(|(_, row)| moved(row)).map(|(at, _)| at).collect();
    own.sort_unstable_by(|a, b| compare_rows(book, &book.stripe, *a, *b));
    let own: Vec<Row> = own.into_iter().map(|at| book.stripe.row(at)).collect();
    let members_say: Bits = {
        let mut said = Bits::new(book.names.count());
        book.stripe.rows.iter().filter(|(_, row)| row.payout.is_some() && !moved(row)).for_each(|(_, row)| {
            said.set(row.payout.0);
        });
        said
    };
    let mut seen = Bits::new(book.names.count());
    for mut row in own {
        let payout = row.id(crate::rows::Key::Source).or(row.payout);
        if !payout.is_some() || (row.kind() == Kind::Payout && seen.set(payout.0)) {
            continue;
        }
        let Some(amount) = row.amount.checked_neg() else { continue };
        row.amount = amount;
        row.extra = 0;
        row.flags = Flags::default();
        // Members that name their payout are known for automatic payouts only.
        if members_say.has(payout.0) {
            row.flags.set(Flags::SCHEDULE_KNOWN);
            row.flags.set(Flags::AUTOMATIC);
        }
        row.ids = [row.id(crate::rows::Key::BalanceTransaction), payout, Default::default(), Default::default()];
        row.status = crate::rows::Status::Unsaid;
        row.payout = Default::default();
        book.payouts.push(row, Default::default());
    }
    true
}

pub(crate) use join::find_repeats;
