//! Joins by id. Ids are dense numbers, so a join is a bit for "seen", a bit for "seen twice" and a table from number to row.

use super::RepeatedRows;
use super::compare::{Comparison, Side, compare_rows};
use crate::class::{Class, Rule};
use crate::rows::{Book, Key};
use crate::store::{Bits, Name};

/// So many rows are looked at together.
const BLOCK_ROWS: usize = 256;

/// The fixed order. What an earlier key settles, a later one cannot change.
const KEYS: [(Key, Rule); 4] = [
    (Key::BalanceTransaction, Rule::BalanceTransactionId),
    (Key::Source, Rule::SourceId),
    (Key::Payment, Rule::PaymentIntent),
    (Key::Order, Rule::OrderId),
];

/// Which ids occur on one side, and which more than once.
struct Seen {
    any: bool,
    once: Bits,
    twice: Bits,
}

impl Seen {
    fn of(side: &Side<'_>, key: Key, names: u32) -> Self {
        let mut seen = Self { any: false, once: Bits::new(names), twice: Bits::new(names) };
        side.open().for_each(|(_, row)| {
            seen.add(row.id(key));
        });
        seen
    }

    /// Whether this is an id, and the first time that it is seen.
    #[inline(always)]
    fn add(&mut self, name: Name) -> bool {
        if !name.is_some() {
            return false;
        }
        self.any = true;
        let again = self.once.set(name.0);
        if again {
            self.twice.set(name.0);
        }
        !again
    }
}

impl Comparison<'_> {
    pub(super) fn join_by_ids(&mut self) {
        for (key, rule) in KEYS {
            self.join(key, rule);
        }
    }

    pub(super) fn join(&mut self, key: Key, rule: Rule) {
        let names = self.book().names.count();
        if !self.left.table.has_key(key) || !self.right.table.has_key(key) {
            return;
        }
        let left = Seen::of(&self.left, key, names);
        if !left.any {
            return;
        }
        // The only row of the right side that has the id.
        let mut place = vec![u32::MAX; names as usize];
        let mut right = Seen { any: false, once: Bits::new(names), twice: Bits::new(names) };
        for (at, row) in self.right.open() {
            let name = row.id(key);
            if right.add(name)
                && let Some(place) = place.get_mut(name.0 as usize)
            {
                *place = at;
            }
        }
        let alone = |name: Name| !left.twice.has(name.0) && !right.twice.has(name.0);
        let shared = |name: Name| left.once.has(name.0) && right.once.has(name.0);
        let some_twice = left.twice.ones().chain(right.twice.ones()).next().is_some();
        let many_right: Vec<(Name, u32)> = match some_twice {
            true => self.right.open().map(|(at, row)| (row.id(key), at)).filter(|(name, _)| shared(*name) && !alone(*name)).collect(),
            false => Vec::new(),
        };
        let mut many_left = Vec::new();
        let (lefts, rights) = (self.left.table, self.right.table);
        let rows = lefts.rows.len();
        for begin in (0..rows).step_by(BLOCK_ROWS) {
            let block = begin..rows.min(begin.saturating_add(BLOCK_ROWS as u32));
            // Partners lie all over memory.
            let ids = block.clone().map(|at| lefts.rows.get(at).map_or(Name::NONE, |row| row.id(key)));
            let partners = ids.map(|name| place.get(name.0 as usize).copied().unwrap_or(u32::MAX));
            rights.warm(partners.filter(|partner| *partner != u32::MAX));
            for at in block {
                let Some(row) = lefts.rows.get(at) else { continue };
                let name = row.id(key);
                if !name.is_some() || self.left.taken.has(at) {
                    continue;
                }
                let partner = place.get(name.0 as usize).copied().unwrap_or(u32::MAX);
                let Some(other) = rights.rows.get(partner) else { continue };
                if some_twice && !alone(name) {
                    many_left.push((name, at));
                } else if row.kind().family() == other.kind().family() {
                    self.settle_rows((at, row), (partner, other), rule);
                }
            }
        }
        self.join_many(rule, key, many_left, many_right);
    }

    /// Keys with several rows on a side, one key after another.
    fn join_many(&mut self, rule: Rule, key: Key, mut left: Vec<(Name, u32)>, mut right: Vec<(Name, u32)>) {
        left.sort_unstable();
        right.sort_unstable();
        let mut rest = right.as_slice();
        for group in left.chunk_by(|a, b| a.0 == b.0) {
            let Some((name, _)) = group.first() else { continue };
            let begin = rest.partition_point(|(other, _)| other < name);
            let from = rest.get(begin..).unwrap_or_default();
            let end = from.partition_point(|(other, _)| other == name);
            let (partners, after) = from.split_at(end);
            rest = after;
            let rows = |pairs: &[(Name, u32)]| pairs.iter().map(|(_, at)| *at).collect::<Vec<_>>();
            self.resolve(key, rule, &rows(group), &rows(partners));
        }
    }

    /// The same balance transaction twice: the first in canonical order counts, the others are reported.
    pub(super) fn report_repeats(&mut self) {
        if !self.right_is_stripe() {
            return;
        }
        let repeated: Vec<u32> = self.context.repeats.all.ones().filter(|at| !self.right.taken.has(*at)).collect();
        for at in repeated {
            let rule = if self.context.repeats.exact.has(at) { Rule::ExactRepeat } else { Rule::ConflictingRepeat };
            self.report_right(at, Class::DuplicateInStripe, rule);
        }
    }
}

/// Rows of Stripe whose balance transaction occurs more than once, by that id and then in canonical order.
fn groups_of_repeats(book: &Book) -> Vec<(Name, u32)> {
    let names = book.names.count();
    let (mut once, mut twice) = (Bits::new(names), Bits::new(names));
    for (_, row) in book.stripe.rows.iter() {
        let name = row.id(Key::BalanceTransaction);
        if once.set(name.0) {
            twice.set(name.0);
        }
    }
    let ids = book.stripe.rows.iter().map(|(at, row)| (row.id(Key::BalanceTransaction), at));
    let mut many: Vec<_> = ids.filter(|(name, _)| name.is_some() && twice.has(name.0)).collect();
    many.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| compare_rows(book, &book.stripe, a.1, b.1)));
    many
}

/// Finds Stripe's rows whose balance transaction another row has.
pub(crate) fn find_repeats(book: &Book) -> RepeatedRows {
    let rows = book.stripe.rows.len();
    let mut repeats = RepeatedRows { all: Bits::new(rows), exact: Bits::new(rows) };
    for pair in groups_of_repeats(book).windows(2) {
        if let [(name, before), (other, at)] = pair
            && name == other
        {
            repeats.all.set(*at);
            // Equal rows stand side by side in canonical order.
            if compare_rows(book, &book.stripe, *before, *at).is_eq() {
                repeats.exact.set(*at);
            }
        }
    }
    repeats
}
