//! What a batch of sights changes, decided without a database: a store loads what [`needs`] names, asks [`plan`], and writes the answer,
//! all in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::income::{Deltas, Overflow, of_transaction};
use super::kind::Kind;
use super::transaction::{BY_API, Key, Transaction};

/// What is on record.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Objects.
    pub rows: BTreeMap<Key, Transaction>,
    /// By what refunds name, a charge or else a payment intent (see [`sums_of`]): the sum of all of them on record, whatever became of them.
    pub refunds: BTreeMap<Key, i64>,
}

/// Why an object has to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Two events show different states and none of them is later.
    Contested,
    /// An event named it without showing it.
    Named,
    /// A balance transaction that something points to; no event ever shows one.
    Movement,
}

impl Reason {
    const ALL: [(Self, &'static str); 3] = [(Self::Contested, "contested"), (Self::Named, "named"), (Self::Movement, "movement")];

    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }
}

impl std::str::FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(reason, _)| *reason);
        found.ok_or_else(|| format!("{text:?} is no reason to fetch something"))
    }
}

/// An object to fetch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// Whose.
    pub owner: super::ledger::Owner,
    /// Its kind, as Stripe says it in `object`.
    pub object: String,
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: Reason,
}

impl Wanted {
    fn new(key: &Key, reason: Reason) -> Self {
        Self { owner: key.owner.clone(), object: key.kind.name().to_owned(), id: key.id.clone(), reason }
    }
}

/// Stripe's name for a movement of a balance.
pub const BALANCE_TRANSACTION: &str = "balance_transaction";

/// What to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows that are new or differ from what is on record.
    pub rows: Vec<Transaction>,
    /// What that does to the income.
    pub income: Deltas,
    /// What has to be fetched. A movement only if it is not on record.
    pub wanted: BTreeSet<Wanted>,
    /// What no longer has to be.
    pub settled: BTreeSet<Wanted>,
}

/// The charges whose rows have to be known, given the rows of what was seen.
#[must_use]
pub fn charges_of(rows: &BTreeMap<Key, Transaction>, seen: &[Transaction]) -> BTreeSet<Key> {
    let charge = |row: &Transaction| match row.key.kind {
        Kind::Charge => Some(row.key.clone()),
        _ => refunded_by(row).filter(|key| key.kind == Kind::Charge),
    };
    rows.values().chain(seen).filter_map(charge).collect()
}

/// The payment intents all of whose charges have to be known: refunds name them, and no charge.
#[must_use]
pub fn payments_of(rows: &BTreeMap<Key, Transaction>, seen: &[Transaction]) -> BTreeSet<Key> {
    rows.values().chain(seen).filter_map(refunded_by).filter(|key| key.kind == Kind::PaymentIntent).collect()
}

/// What the sums of refunds have to be known of, once all those charges are: a charge's refunds name it, or its payment intent.
#[must_use]
pub fn sums_of(rows: &BTreeMap<Key, Transaction>, seen: &[Transaction]) -> BTreeSet<Key> {
    rows.values().chain(seen).flat_map(|row| refunded_by(row).into_iter().chain(names_of_charge(row))).collect()
}

/// What a refund takes from: its charge, or the payment intent where it names no charge.
fn refunded_by(row: &Transaction) -> Option<Key> {
    if row.key.kind != Kind::Refund {
        return None;
    }
    let key = |kind: Kind, id: &Option<String>| id.clone().map(|id| Key { kind, id, owner: row.key.owner.clone() });
    key(Kind::Charge, &row.links.charge).or_else(|| key(Kind::PaymentIntent, &row.links.payment_intent))
}

/// What refunds of a charge may name.
fn names_of_charge(row: &Transaction) -> impl Iterator<Item = Key> + use<> {
    let is_charge = row.key.kind == Kind::Charge;
    let payment = row.links.payment_intent.clone().filter(|_| is_charge);
    let payment = payment.map(|id| Key { kind: Kind::PaymentIntent, id, owner: row.key.owner.clone() });
    is_charge.then(|| row.key.clone()).into_iter().chain(payment)
}

/// Joins what was seen to what is on record. `known` must hold every object seen, every charge of [`charges_of`] and [`payments_of`], and the
/// sums of [`sums_of`], as far as they are on record.
///
/// # Errors
/// [`Overflow`].
pub fn plan(known: &Known, seen: Vec<Transaction>, named: Vec<Key>) -> Result<Plan, Overflow> {
    let mut plan = Plan::default();
    plan.wanted.extend(named.iter().map(|key| Wanted::new(key, Reason::Named)));
    let mut now = BTreeMap::<Key, Transaction>::new();
    for sight in seen {
        if sight.standing.by == BY_API {
            plan.settled.extend([Reason::Contested, Reason::Named].map(|reason| Wanted::new(&sight.key, reason)));
        }
        let key = sight.key.clone();
        let joined = match now.remove(&key).or_else(|| known.rows.get(&key).cloned()) {
            Some(there) => there.join(sight),
            None => sight,
        };
        now.insert(key, joined);
    }
    now.retain(|key, row| known.rows.get(key) != Some(row));

    let (mut charges, mut payments) = (BTreeSet::new(), BTreeSet::new());
    let mut refunds = known.refunds.clone();
    for (key, row) in &now {
        let before = known.rows.get(key);
        match key.kind {
            Kind::Charge => {
                charges.insert(key.clone());
            }
            Kind::Refund => {
                for (row, sign) in before.map(|row| (row, -1)).into_iter().chain([(row, 1)]) {
                    if let Some(named) = refunded_by(row) {
                        let sum = refunds.entry(named.clone()).or_default();
                        *sum = sum.checked_add(sign * row.standing.amount).ok_or(Overflow)?;
                        if named.kind == Kind::Charge {
                            charges.insert(named)
                        } else {
                            payments.insert(named)
                        };
                    }
                }
                count(&mut plan.income, before, 0, row, 0)?;
            }
            _ => count(&mut plan.income, before, 0, row, 0)?,
        }
        follow(&mut plan, before, row);
    }
    let paid = known.rows.values().chain(now.values()).filter(|row| names_of_charge(row).any(|key| payments.contains(&key)));
    charges.extend(paid.map(|row| row.key.clone()));
    for charge in charges {
        let before = known.rows.get(&charge);
        if let Some(row) = now.get(&charge).or(before) {
            let sum = |refunds: &BTreeMap<Key, i64>, row: &Transaction| {
                names_of_charge(row).filter_map(|key| refunds.get(&key).copied()).try_fold(0_i64, i64::checked_add).ok_or(Overflow)
            };
            let refunds_before = before.map_or(Ok(0), |before| sum(&known.refunds, before))?;
            count(&mut plan.income, before, refunds_before, row, sum(&refunds, row)?)?;
        }
    }
    plan.rows = now.into_values().collect();
    Ok(plan)
}

fn count(income: &mut Deltas, before: Option<&Transaction>, refunds_before: i64, row: &Transaction, refunds: i64) -> Result<(), Overflow> {
    income.take(before.map(|before| of_transaction(before, refunds_before)).unwrap_or_default())?;
    income.add(of_transaction(row, refunds))
}

/// What a changed row wants to be fetched, and what it no longer does.
fn follow(plan: &mut Plan, before: Option<&Transaction>, row: &Transaction) {
    let contested = Wanted::new(&row.key, Reason::Contested);
    if row.standing.contested {
        plan.settled.remove(&contested);
        plan.wanted.insert(contested);
    } else if before.is_some_and(|before| before.standing.contested) {
        plan.settled.insert(contested);
    }
    let links = |row: &Transaction| [row.links.balance_transaction.clone(), row.links.failure_balance_transaction.clone()];
    let known = before.map(links).unwrap_or_default();
    for id in links(row).into_iter().filter(|link| !known.contains(link)).flatten() {
        let owner = row.key.owner.clone();
        plan.wanted.insert(Wanted { owner, object: BALANCE_TRANSACTION.to_owned(), id, reason: Reason::Movement });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::Event;
    use super::super::income::{Cell, Sums};
    use super::super::ledger::ORDER_KEY;
    use super::super::object::told;
    use super::*;

    /// A store in memory.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Memory {
        rows: BTreeMap<Key, Transaction>,
        income: BTreeMap<Cell, Sums>,
        wanted: BTreeSet<Wanted>,
    }

    impl Memory {
        fn sum(&self, named: &Key) -> i64 {
            let refunds = self.rows.values().filter(|row| refunded_by(row).as_ref() == Some(named));
            refunds.map(|row| row.standing.amount).sum()
        }

        fn apply(&mut self, body: &str) {
            let told = told(&Event::parse(body.as_bytes()).unwrap(), ORDER_KEY).unwrap();
            let mut known = Known::default();
            known.rows.extend(told.seen.iter().filter_map(|seen| Some((seen.key.clone(), self.rows.get(&seen.key)?.clone()))));
            let charges = charges_of(&known.rows, &told.seen);
            known.rows.extend(charges.into_iter().filter_map(|key| Some((key.clone(), self.rows.get(&key)?.clone()))));
            let payments = payments_of(&known.rows, &told.seen);
            let paid = self.rows.values().filter(|row| names_of_charge(row).any(|key| payments.contains(&key)));
            known.rows.extend(paid.map(|row| (row.key.clone(), row.clone())));
            known.refunds.extend(sums_of(&known.rows, &told.seen).into_iter().map(|key| (key.clone(), self.sum(&key))));
            let plan = plan(&known, told.seen, told.fetch.into_iter().collect()).unwrap();
            self.rows.extend(plan.rows.into_iter().map(|row| (row.key.clone(), row)));
            for (cell, sums) in plan.income.iter() {
                let there = self.income.entry(cell.clone()).or_default();
                *there = there.plus(sums).unwrap();
            }
            self.income.retain(|_, sums| !sums.is_zero());
            self.wanted.retain(|wanted| !plan.settled.contains(wanted));
            self.wanted.extend(plan.wanted);
        }

        /// The income as it follows from the facts.
        fn recomputed(&self) -> BTreeMap<Cell, Sums> {
            let mut all = Deltas::default();
            for row in self.rows.values() {
                let refunds = names_of_charge(row).map(|key| self.sum(&key)).sum();
                all.add(of_transaction(row, refunds)).unwrap();
            }
            all.iter().map(|(cell, sums)| (cell.clone(), sums)).collect()
        }
    }

    fn event(id: u32, at_s: i64, event_type: &str, object: &str) -> String {
        format!(
            r#"{{"id":"evt_{id}","type":"{event_type}","created":{at_s},"livemode":true,"data":{{"object":{{"currency":"usd",{object}}}}}}}"#
        )
    }

    /// A shop's week: a payment that fails first, a partial capture, refunds of both kinds, one of them failing, a dispute that is won, a payout
    /// that comes back, states in the same second, and a refund that names its payment only.
    fn history() -> Vec<String> {
        let charge = |captured: i64, refunded: i64, more: &str| {
            format!(
                r#""object":"charge","id":"ch_1","status":"succeeded","amount":1000,"amount_captured":{captured},"amount_refunded":{refunded},"captured":{},"created":1000{more}"#,
                captured > 0
            )
        };
        let other = |refunded: i64, more: &str| {
            format!(
                r#""object":"charge","id":"ch_2","status":"succeeded","amount":500,"amount_captured":500,"amount_refunded":{refunded},"captured":true,"created":1000,"payment_intent":"pi_2"{more}"#
            )
        };
        let unnamed =
            r#""object":"refund","id":"re_2","status":"succeeded","amount":100,"charge":null,"payment_intent":"pi_2","created":6000"#;
        let refund = |id: &str, status: &str| {
            format!(
                r#""object":"refund","id":"{id}","status":"{status}","amount":200,"charge":"ch_1","created":5000,"balance_transaction":"txn_{id}""#
            )
        };
        let intent = |status: &str| format!(r#""object":"payment_intent","id":"pi_1","status":"{status}","amount":1000"#);
        let dispute = |status: &str| format!(r#""object":"dispute","id":"dp_1","status":"{status}","amount":500,"charge":"ch_2""#);
        let payout = |status: &str| format!(r#""object":"payout","id":"po_1","status":"{status}","amount":800,"arrival_date":90000"#);
        let list = [
            (1000, "payment_intent.created", intent("requires_payment_method")),
            (1000, "payment_intent.processing", intent("processing")),
            (1001, "payment_intent.payment_failed", intent("requires_payment_method")),
            (1002, "payment_intent.succeeded", intent("succeeded")),
            (1002, "payment_intent.payment_failed", intent("requires_payment_method")),
            (1002, "charge.succeeded", charge(0, 0, "")),
            (4000, "charge.captured", charge(700, 300, "")),
            (4000, "charge.updated", charge(700, 300, r#","balance_transaction":"txn_1""#)),
            (5000, "refund.created", refund("re_1", "pending")),
            (5000, "charge.refunded", charge(700, 500, "")),
            (5001, "refund.updated", refund("re_1", "succeeded")),
            (95_000, "refund.failed", refund("re_1", "failed")),
            (95_000, "charge.refund.updated", refund("re_1", "failed")),
            (1002, "charge.succeeded", other(0, "")),
            (6000, "charge.refunded", other(100, "")),
            (6000, "refund.created", unnamed.to_owned()),
            (6000, "charge.dispute.created", dispute("needs_response")),
            (6000, "charge.dispute.funds_withdrawn", dispute("needs_response")),
            (6000, "charge.dispute.updated", dispute("under_review")),
            (90_000, "charge.dispute.closed", dispute("won")),
            (90_000, "charge.dispute.funds_reinstated", dispute("won")),
            (80_000, "payout.created", payout("paid")),
            (80_000, "payout.paid", payout("paid")),
            (99_000, "payout.failed", payout("failed")),
        ];
        (1..).zip(list).map(|(id, (at_s, event_type, object))| event(id, at_s, event_type, &object)).collect()
    }

    fn after(events: &[String]) -> Memory {
        let mut memory = Memory::default();
        events.iter().for_each(|body| memory.apply(body));
        memory
    }

    #[test]
    fn the_week_as_it_was() {
        let memory = after(&history());
        let sum =
            |category: &str| memory.income.iter().filter(|(cell, _)| cell.category == category).map(|(_, sums)| sums.amount).sum::<i64>();
        assert_eq!((sum("charge"), sum("refund"), sum("refund_failure")), (1200, -300, 200));
        assert_eq!((sum("dispute"), sum("dispute_reversal"), sum("payout"), sum("payout_reversal")), (-500, 500, -800, 800));
        let wanted: Vec<_> = memory.wanted.iter().map(|wanted| (wanted.id.as_str(), wanted.reason)).collect();
        assert_eq!(wanted, [("txn_1", Reason::Movement), ("txn_re_1", Reason::Movement)]);
        assert_eq!(memory.recomputed(), memory.income);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn any_order_and_any_repetition_ends_the_same_and_sums_are_right_at_every_step(
            order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
            again in proptest::collection::vec(0..24_usize, 0..12),
            before in any::<prop::sample::Index>(),
        ) {
            let events = history();
            let mut picked: Vec<_> = order.iter().map(|at| events[*at].clone()).collect();
            let at = before.index(picked.len());
            picked.splice(at..at, again.iter().map(|at| events[*at].clone()));
            let mut memory = Memory::default();
            for body in &picked {
                memory.apply(body);
                prop_assert_eq!(memory.recomputed(), memory.income.clone());
            }
            prop_assert_eq!(memory, after(&events));
        }
    }

    #[test]
    fn doubt_is_settled_by_fetching() {
        let mut memory = after(&history()[..2]);
        assert_eq!(memory.wanted.iter().map(|wanted| wanted.reason).collect::<Vec<_>>(), [Reason::Contested]);
        let owner = super::super::ledger::Owner { account: String::new(), livemode: true };
        let object = r#"{"object":"payment_intent","id":"pi_1","status":"processing","amount":1000,"currency":"usd"}"#;
        let seen = super::super::object::fetched(&owner, object, 1003, ORDER_KEY).unwrap();
        let known = Known { rows: memory.rows.clone(), ..Known::default() };
        let plan = plan(&known, seen, Vec::new()).unwrap();
        memory.wanted.retain(|wanted| !plan.settled.contains(wanted));
        assert!(memory.wanted.is_empty() && plan.wanted.is_empty());
        assert_eq!(plan.rows[0].standing.status, "processing");
    }

    #[test]
    fn what_is_named_and_not_shown_is_wanted() {
        let mut memory = Memory::default();
        memory.apply(
            r#"{"id":"evt_1","object":"v2.core.event","type":"v1.charge.updated","livemode":true,"related_object":{"id":"ch_9","type":"charge"}}"#,
        );
        assert_eq!(memory.wanted.iter().map(|wanted| (wanted.id.as_str(), wanted.reason)).collect::<Vec<_>>(), [("ch_9", Reason::Named)]);
    }
}
