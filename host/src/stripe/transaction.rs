//! One object of Stripe's as it is known from everything that was ever seen of it.
//!
//! Two sights of an object are joined field by field, and each field's rule gives the same whichever comes first, however they are
//! grouped, and however often one of them is seen. So any order and any repetition of the same events ends in the same row.

use super::kind::Kind;
use super::ledger::Owner;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub owner: Owner,
    /// Of which kind.
    pub kind: Kind,
    /// Stripe's id.
    pub id: String,
}

/// What an object looked like at one sight. One whole sight stands for the object at a time, so that its parts fit each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Stripe's word, empty for kinds without states.
    pub status: String,
    /// Minor units.
    pub amount: i64,
    /// Lower case; empty for kinds without money.
    pub currency: String,
    /// When the money arrives, for payouts.
    pub arrival_s: Option<i64>,
    /// The event's time, or that of the request, in seconds.
    pub at_s: i64,
    /// The event's id, or [`BY_API`].
    pub by: String,
    /// Whether a sight of the same rank and second shows the object otherwise, so that only Stripe knows what is true.
    pub contested: bool,
}

/// Stands in place of an event's id where the object itself was fetched. It is less than any event's id, and it does not matter:
/// who fetches after a doubt does so in a later second.
pub const BY_API: &str = "api";

/// An object as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Which.
    pub key: Key,
    /// The sight that counts.
    pub standing: Standing,
    /// Since when its state has had the rank that it has.
    pub rank_since_s: i64,
    /// When Stripe made it.
    pub created_s: i64,
    /// Captured or received so far, and since when it has been that much.
    pub captured: Grown,
    /// Given back so far (or reversed, for transfers), and since when it has been that much.
    pub refunded: Grown,
    /// It was authorised first and captured later, if at all.
    pub held: bool,
    /// It is paid, for checkout sessions.
    pub paid: bool,
    /// Stripe says that it knows all its parts, for payouts.
    pub reconciled: bool,
    /// When its money was taken, for disputes.
    pub withdrawn_s: Option<i64>,
    /// When its money came back, for disputes.
    pub reinstated_s: Option<i64>,
    /// What it belongs to, as far as Stripe said so.
    pub links: Links,
}

/// An amount that only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grown {
    /// Minor units.
    pub amount: i64,
    /// The earliest sight of that amount.
    pub since_s: i64,
}

/// Ids of other objects. Each is unknown until it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// `pi_…`
    pub payment_intent: Option<String>,
    /// `ch_…`
    pub charge: Option<String>,
    /// `txn_…`: the movement of the balance.
    pub balance_transaction: Option<String>,
    /// `txn_…`: the movement that took it back.
    pub failure_balance_transaction: Option<String>,
    /// Our own order. Without one it was made elsewhere on the same account.
    pub order_id: Option<String>,
}

impl Grown {
    fn join(self, other: Self) -> Self {
        match self.amount.cmp(&other.amount) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal => Self { amount: self.amount, since_s: self.since_s.min(other.since_s) },
        }
    }
}

impl Links {
    fn join(self, other: Self) -> Self {
        // `None` is less than everything. Where two ids differ, one of them was corrected; the greater is as good a choice as any that
        // does not depend on order.
        Self {
            payment_intent: self.payment_intent.max(other.payment_intent),
            charge: self.charge.max(other.charge),
            balance_transaction: self.balance_transaction.max(other.balance_transaction),
            failure_balance_transaction: self.failure_balance_transaction.max(other.failure_balance_transaction),
            order_id: self.order_id.max(other.order_id),
        }
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Standing {
    fn shows_the_same(&self, other: &Self) -> bool {
        (&self.status, self.amount, &self.currency) == (&other.status, other.amount, &other.currency)
    }
}

impl Transaction {
    /// How far its state is.
    #[must_use]
    pub fn rank(&self) -> u8 {
        self.key.kind.rank(&self.standing.status)
    }

    /// What is known after both sights. They must be of the same object.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        debug_assert_eq!(self.key, other.key);
        let (rank, other_rank) = (self.rank(), other.rank());
        let rank_since_s = match rank.cmp(&other_rank) {
            std::cmp::Ordering::Less => other.rank_since_s,
            std::cmp::Ordering::Greater => self.rank_since_s,
            std::cmp::Ordering::Equal => self.rank_since_s.min(other.rank_since_s),
        };
        Self {
            standing: join_standing((rank, self.standing), (other_rank, other.standing)),
            rank_since_s,
            created_s: self.created_s.min(other.created_s),
            captured: self.captured.join(other.captured),
            refunded: self.refunded.join(other.refunded),
            held: self.held || other.held,
            paid: self.paid || other.paid,
            reconciled: self.reconciled || other.reconciled,
            withdrawn_s: earlier(self.withdrawn_s, other.withdrawn_s),
            reinstated_s: earlier(self.reinstated_s, other.reinstated_s),
            links: self.links.join(other.links),
            key: self.key,
        }
    }
}

/// The higher rank, then the later second, then the greater id. Sights of the same rank and second that differ leave the mark that they do,
/// until something that is above both of them comes.
fn join_standing((rank, one): (u8, Standing), (other_rank, other): (u8, Standing)) -> Standing {
    match (rank, one.at_s).cmp(&(other_rank, other.at_s)) {
        std::cmp::Ordering::Less => other,
        std::cmp::Ordering::Greater => one,
        std::cmp::Ordering::Equal => {
            let contested = one.contested || other.contested || !one.shows_the_same(&other);
            // The id alone would do for events; the rest makes it a total order for whatever else is joined.
            let key = |s: &Standing| (s.by.clone(), s.status.clone(), s.amount, s.currency.clone(), s.arrival_s);
            Standing { contested, ..if key(&other) > key(&one) { other } else { one } }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sight(kind: Kind, status: &str, at_s: i64, by: &str) -> Transaction {
        Transaction {
            key: Key { owner: Owner { account: String::new(), livemode: true }, kind, id: "x_1".to_owned() },
            standing: Standing {
                status: status.to_owned(),
                amount: 1000,
                currency: "eur".to_owned(),
                arrival_s: None,
                at_s,
                by: by.to_owned(),
                contested: false,
            },
            rank_since_s: at_s,
            created_s: 0,
            captured: Grown::default(),
            refunded: Grown::default(),
            held: false,
            paid: false,
            reconciled: false,
            withdrawn_s: None,
            reinstated_s: None,
            links: Links::default(),
        }
    }

    /// The same row from both orders.
    fn both(one: Transaction, other: Transaction) -> Transaction {
        let joined = one.clone().join(other.clone());
        assert_eq!(joined, other.join(one));
        joined
    }

    #[test]
    fn success_wins_over_a_failed_attempt_whichever_comes_last() {
        let kind = Kind::PaymentIntent;
        let joined = both(sight(kind, "succeeded", 10, "evt_1"), sight(kind, "requires_payment_method", 20, "evt_2"));
        assert_eq!((joined.standing.status.as_str(), joined.standing.contested), ("succeeded", false));
    }

    #[test]
    fn a_refund_that_succeeded_can_fail_and_not_the_other_way() {
        let joined = both(sight(Kind::Refund, "failed", 10, "evt_1"), sight(Kind::Refund, "succeeded", 20, "evt_2"));
        assert_eq!((joined.standing.status.as_str(), joined.rank_since_s), ("failed", 10));
    }

    #[test]
    fn states_that_cannot_be_compared_are_marked_until_something_is_above_them() {
        let kind = Kind::PaymentIntent;
        let doubtful = both(sight(kind, "processing", 10, "evt_1"), sight(kind, "requires_action", 10, "evt_2"));
        assert_eq!((doubtful.standing.status.as_str(), doubtful.standing.contested), ("requires_action", true));
        assert!(both(doubtful.clone(), sight(kind, "processing", 9, "evt_0")).standing.contested);
        let settled = both(doubtful.clone(), sight(kind, "processing", 11, BY_API));
        assert_eq!((settled.standing.status.as_str(), settled.standing.contested), ("processing", false));
        assert!(!both(doubtful, sight(kind, "succeeded", 10, "evt_0")).standing.contested);
    }

    #[test]
    fn amounts_only_grow_and_ids_are_only_found() {
        let mut early = sight(Kind::Charge, "succeeded", 10, "evt_1");
        early.refunded = Grown { amount: 300, since_s: 10 };
        let mut late = sight(Kind::Charge, "succeeded", 20, "evt_2");
        late.refunded = Grown { amount: 500, since_s: 20 };
        late.links.balance_transaction = Some("txn_1".to_owned());
        let mut again = sight(Kind::Charge, "succeeded", 30, "evt_3");
        again.refunded = Grown { amount: 500, since_s: 30 };
        let joined = both(both(early, again), late);
        assert_eq!(joined.refunded, Grown { amount: 500, since_s: 20 });
        assert_eq!(joined.links.balance_transaction.as_deref(), Some("txn_1"));
    }

    prop_compose! {
        /// Few values in each field, so that ties are common.
        fn any_sight(kind: Kind, statuses: &'static [&'static str])(
            status in proptest::sample::select(statuses),
            (at_s, by, amount, arrival_s) in (0_i64..3, 0_u8..4, 1_i64..3, proptest::option::of(0_i64..2)),
            (captured, refunded, held, paid, reconciled) in ((0_i64..3, 0_i64..3), (0_i64..3, 0_i64..3), any::<bool>(), any::<bool>(), any::<bool>()),
            (withdrawn_s, reinstated_s) in (proptest::option::of(0_i64..3), proptest::option::of(0_i64..3)),
            (charge, balance, order) in (proptest::option::of("[ab]"), proptest::option::of("[ab]"), proptest::option::of("[ab]")),
        ) -> Transaction {
            let mut sight = sight(kind, status, at_s, &format!("evt_{by}"));
            sight.standing.amount = amount;
            sight.standing.arrival_s = arrival_s;
            sight.created_s = at_s;
            sight.captured = Grown { amount: captured.0, since_s: captured.1 };
            sight.refunded = Grown { amount: refunded.0, since_s: refunded.1 };
            (sight.held, sight.paid, sight.reconciled) = (held, paid, reconciled);
            (sight.withdrawn_s, sight.reinstated_s) = (withdrawn_s, reinstated_s);
            sight.links = Links { charge, balance_transaction: balance, order_id: order, ..Links::default() };
            sight
        }
    }

    const STATUSES: &[&str] = &["pending", "in_transit", "paid", "failed", "canceled", "of_tomorrow"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn joining_knows_neither_order_nor_grouping_nor_repetition(
            a in any_sight(Kind::Payout, STATUSES), b in any_sight(Kind::Payout, STATUSES), c in any_sight(Kind::Payout, STATUSES),
        ) {
            prop_assert_eq!(a.clone().join(b.clone()), b.clone().join(a.clone()));
            prop_assert_eq!(a.clone().join(b.clone()).join(c.clone()), a.clone().join(b.clone().join(c)));
            prop_assert_eq!(a.clone().join(a.clone()), a.clone());
            let joined = a.clone().join(b.clone());
            prop_assert_eq!(joined.clone().join(b).join(a), joined);
        }
    }
}
