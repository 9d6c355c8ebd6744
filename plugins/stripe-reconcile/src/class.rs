//! The closed set of classes. A row that fits none is `unclassified`, never dropped.

use serde::{Serialize, Serializer};

/// Changes when a class is added or means something else.
pub const CLASSES_VERSION: u32 = 1;

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $outcome:ident;)+) => {
        /// What became of a row, or of rows that belong together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $($(#[doc = $doc])+ $variant,)+ }

        impl Class {
            /// Every class there is.
            pub const ALL: &'static [Class] = &[$(Class::$variant,)+];

            /// Its name in every output.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Class::$variant => $name,)+ }
            }

            /// What it means unless the rule that decided it says otherwise.
            #[must_use]
            pub fn outcome(self) -> Outcome {
                match self { $(Class::$variant => Outcome::$outcome,)+ }
            }
        }
    };
}

classes! {
    /// All fields that are compared are equal.
    Matched "matched" Ok;
    /// Only the amount or the day differs, inside a declared tolerance.
    MatchedWithinTolerance "matched_within_tolerance" Ok;
    /// The difference is explained by an exchange rate.
    FxDifference "fx_difference" Ok;
    /// The amounts differ by one minor unit.
    Rounding "rounding" Ok;
    /// Captured less than was charged; the rest was reversed.
    PartialCapture "partial_capture" Ok;
    /// The books hold what is left after refunds.
    PartialRefund "partial_refund" Ok;
    /// Fees, taxes, reserves and the like, for which no ledger row is expected.
    FeeOrAdjustmentOnly "fee_or_adjustment_only" Ok;
    /// A payout's own movement, which the payout leg looks at.
    PayoutMovement "payout_movement" Ok;
    /// In the Stripe balance and not paid out yet.
    InBalance "in_balance" Ok;
    /// The ledger says that no money moved, and none did.
    NotPaid "not_paid" Ok;
    /// The other side may still come.
    TimingInTransit "timing_in_transit" Pending;
    /// Stripe has it, the ledger has not.
    MissingInLedger "missing_in_ledger" Break;
    /// The ledger has it, Stripe has not.
    MissingInStripe "missing_in_stripe" Break;
    /// Stripe has more than the ledger.
    AmountOver "amount_over" Break;
    /// Stripe has less than the ledger.
    AmountUnder "amount_under" Break;
    /// The fees differ.
    FeeMismatch "fee_mismatch" Break;
    /// Net is not amount less fee, or the nets differ.
    NetMismatch "net_mismatch" Break;
    /// The currencies differ and no rate explains it.
    CurrencyMismatch "currency_mismatch" Break;
    /// The days differ by more than the declared tolerance.
    DateMismatch "date_mismatch" Break;
    /// One side says paid, the other failed.
    StatusMismatch "status_mismatch" Break;
    /// The ledger has the same key twice.
    DuplicateInLedger "duplicate_in_ledger" Break;
    /// The same balance transaction twice.
    DuplicateInStripe "duplicate_in_stripe" Break;
    /// A second paid charge for one order.
    DoubleCharge "double_charge" Break;
    /// Stripe refunded and the ledger does not know.
    RefundUnrecorded "refund_unrecorded" Break;
    /// A refund came back.
    RefundFailed "refund_failed" Break;
    /// Money is withdrawn for a dispute that is not decided.
    DisputeOpen "dispute_open" Break;
    /// A dispute was lost.
    DisputeLost "dispute_lost" Break;
    /// A dispute was won and the money came back.
    DisputeWon "dispute_won" Info;
    /// The members of a payout do not add up to it.
    PayoutSumMismatch "payout_sum_mismatch" Break;
    /// A payout failed.
    PayoutFailed "payout_failed" Break;
    /// Which movements a payout is made of cannot be known.
    PayoutUnattributable "payout_unattributable" Info;
    /// A payout did not arrive at the bank.
    PayoutNotAtBank "payout_not_at_bank" Break;
    /// Several partners fit equally well; none was taken.
    Ambiguous "ambiguous" Break;
    /// Of another account than the one reconciled.
    WrongAccount "wrong_account" Excluded;
    /// Test rows among live ones, or the reverse.
    TestLiveMixed "test_live_mixed" Excluded;
    /// Nothing says that it is ours.
    NotOurs "not_ours" Excluded;
    /// Without a partner, and outside the period.
    OutsidePeriod "outside_period" Excluded;
    /// A kind of movement that is not known.
    Unclassified "unclassified" Warning;
}

/// What has to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing.
    Ok,
    /// Nothing; worth knowing.
    Info,
    /// Wait until the day that is named.
    Pending,
    /// Somebody has to look.
    Break,
    /// Something is not understood.
    Warning,
    /// Not part of this reconciliation; counted.
    Excluded,
}

impl Outcome {
    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Pending => "pending",
            Self::Break => "break",
            Self::Warning => "warning",
            Self::Excluded => "excluded",
        }
    }
}

/// The four comparisons, reported apart: money that passes from one to the next would be counted twice otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Orders and the charges that pay them.
    OrderCharge,
    /// What the ledger says of charges, refunds and disputes, and the balance transactions.
    ChargeBt,
    /// Balance transactions and the payouts they are part of.
    BtPayout,
    /// Payouts and what the bank has.
    PayoutBank,
}

impl Leg {
    /// In the order of the money.
    pub const ALL: [Leg; 4] = [Leg::OrderCharge, Leg::ChargeBt, Leg::BtPayout, Leg::PayoutBank];

    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderCharge => "order_charge",
            Self::ChargeBt => "charge_bt",
            Self::BtPayout => "bt_payout",
            Self::PayoutBank => "payout_bank",
        }
    }
}

impl Class {
    /// 1 is the most urgent. Goods that left without cash come first; what only costs attention comes last.
    #[must_use]
    pub fn priority(self) -> u8 {
        match self {
            Self::StatusMismatch => 1,
            Self::PayoutFailed | Self::PayoutSumMismatch | Self::PayoutNotAtBank | Self::DoubleCharge | Self::MissingInStripe => 2,
            Self::AmountOver
            | Self::AmountUnder
            | Self::CurrencyMismatch
            | Self::MissingInLedger
            | Self::RefundUnrecorded
            | Self::RefundFailed
            | Self::DisputeOpen
            | Self::DisputeLost => 3,
            _ => 4,
        }
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Which rule decided. It stands beside the class in every output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    BalanceTransactionId,
    SourceId,
    PaymentIntent,
    OrderId,
    Composite,
    SubsetSum,
    KeySum,
    TraceId,
    PayoutId,
    PayoutSum,
    Category,
    Status,
    Grace,
    NoPartner,
    SameKey,
    ExactRepeat,
    ConflictingRepeat,
    Scope,
    Period,
    NoMetadata,
    Candidates,
    EmptyMembership,
    NotFinal,
    Manual,
    UnknownPayout,
    Returned,
}

impl Rule {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BalanceTransactionId => "balance_transaction_id",
            Self::SourceId => "source_id",
            Self::PaymentIntent => "payment_intent",
            Self::OrderId => "order_id",
            Self::Composite => "unique_composite",
            Self::SubsetSum => "unique_subset_sum",
            Self::KeySum => "sum_by_key",
            Self::TraceId => "trace_id",
            Self::PayoutId => "payout_id",
            Self::PayoutSum => "payout_membership_sum",
            Self::Category => "category",
            Self::Status => "status",
            Self::Grace => "inside_grace",
            Self::NoPartner => "no_partner",
            Self::SameKey => "same_key",
            Self::ExactRepeat => "exact_repeat",
            Self::ConflictingRepeat => "conflicting_repeat",
            Self::Scope => "scope",
            Self::Period => "period",
            Self::NoMetadata => "no_metadata",
            Self::Candidates => "several_candidates",
            Self::EmptyMembership => "empty_membership",
            Self::NotFinal => "membership_not_final",
            Self::Manual => "manual_payout",
            Self::UnknownPayout => "unknown_payout",
            Self::Returned => "money_returned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Class::ALL.len());
    }
}
