//! Open items of the run before take part again, unless the inputs have them anyway.

use crate::class::Leg;
use crate::read::OpenItem;
use crate::rows::{Book, Key, Row, Table};
use crate::store::Bits;

/// Adds to the book what the inputs do not have. Answers with how many rows were added.
pub(crate) fn carry(book: &mut Book, items: &[OpenItem]) -> u64 {
    let mut added = 0;
    for (leg, is_left) in [
        (Leg::OrderCharge, true),
        (Leg::ChargeBt, true),
        (Leg::ChargeBt, false),
        (Leg::OrderCharge, false),
        (Leg::PayoutBank, true),
        (Leg::PayoutBank, false),
    ] {
        let rows: Vec<Row> = items
            .iter()
            .filter_map(|item| item.row)
            .filter(|(of, left, _)| (*of, *left) == (leg, is_left))
            .map(|(_, _, row)| row)
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mut present = Bits::new(book.names.count());
        let table = table(book, leg, is_left, rows.first());
        for (_, row) in table.rows.iter() {
            identities(row).for_each(|name| {
                present.set(name);
            });
        }
        for row in rows {
            if !identities(&row).any(|name| present.has(name)) && table.push(row, Default::default()).is_some() {
                identities(&row).for_each(|name| {
                    present.set(name);
                });
                added += 1;
            }
        }
    }
    added
}

/// An order's charge without an order may come from either table; where it has a balance transaction it is Stripe's.
fn table<'a>(book: &'a mut Book, leg: Leg, is_left: bool, example: Option<&Row>) -> &'a mut Table {
    match (leg, is_left) {
        (Leg::OrderCharge | Leg::ChargeBt, true) => &mut book.ledger,
        (Leg::OrderCharge, false) if example.is_some_and(|row| !row.id(Key::BalanceTransaction).is_some()) => &mut book.ledger,
        (Leg::OrderCharge | Leg::ChargeBt, false) => &mut book.stripe,
        (_, true) => &mut book.payouts,
        (_, false) => &mut book.bank,
    }
}

/// What a row is known by. An object that was open may have got more ids since; one in common is enough. A payment names a charge and all
/// its refunds, so it tells only where there is nothing else.
fn identities(row: &Row) -> impl Iterator<Item = u32> {
    let strong = [Key::BalanceTransaction, Key::Source, Key::Order].map(|key| row.id(key));
    let weak = if strong.iter().any(|name| name.is_some()) { crate::store::Name::NONE } else { row.id(Key::Payment) };
    strong.into_iter().chain([weak]).filter(|name| name.is_some()).map(|name| name.0)
}
