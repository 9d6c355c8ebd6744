//! The kinds of Stripe's objects that are followed, the event types that tell of them, and how far each of their states is.
//!
//! Events come in any order and more than once, and several carry the same second. So a state is not replaced by whichever event came
//! last: each has a rank, and an object never goes back to a lower one. States of the same rank may follow each other either way; among
//! these the later event counts.

use std::str::FromStr;

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `pi_…`
    PaymentIntent,
    /// `ch_…`, `py_…`
    Charge,
    /// `cs_…`
    CheckoutSession,
    /// `re_…`
    Refund,
    /// `dp_…`, `du_…`
    Dispute,
    /// `po_…`
    Payout,
    /// `tr_…`
    Transfer,
    /// `fee_…`
    ApplicationFee,
    /// `tu_…`
    Topup,
    /// `in_…`
    Invoice,
    /// `inpay_…`
    InvoicePayment,
    /// `issfr_…`: a hint that a charge may be disputed; no money.
    EarlyFraudWarning,
    /// `frr_…`: a report that can be fetched, or not; no money.
    ReportRun,
}

/// Rank of a state that is not listed: as far as one can be without being final, so that it neither hides the end nor is hidden by a beginning.
const RANK_UNKNOWN: u8 = 5;

/// Each kind: its name at Stripe, and its states with their ranks.
type States = &'static [(&'static str, u8)];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::PaymentIntent,
        Self::Charge,
        Self::CheckoutSession,
        Self::Refund,
        Self::Dispute,
        Self::Payout,
        Self::Transfer,
        Self::ApplicationFee,
        Self::Topup,
        Self::Invoice,
        Self::InvoicePayment,
        Self::EarlyFraudWarning,
        Self::ReportRun,
    ];

    /// As Stripe writes it in `object`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentIntent => "payment_intent",
            Self::Charge => "charge",
            Self::CheckoutSession => "checkout.session",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::Payout => "payout",
            Self::Transfer => "transfer",
            Self::ApplicationFee => "application_fee",
            Self::Topup => "topup",
            Self::Invoice => "invoice",
            Self::InvoicePayment => "invoice_payment",
            Self::EarlyFraudWarning => "radar.early_fraud_warning",
            Self::ReportRun => "reporting.report_run",
        }
    }

    /// Whether its `amount` is money that moves, so that an object without one is not to be believed.
    #[must_use]
    pub fn has_amount(self) -> bool {
        !matches!(self, Self::EarlyFraudWarning | Self::ReportRun | Self::CheckoutSession | Self::InvoicePayment)
    }

    fn states(self) -> States {
        match self {
            // A failed attempt leads back to requires_payment_method: it is no end, because the customer may try again.
            Self::PaymentIntent => &[
                ("requires_payment_method", 0),
                ("requires_confirmation", 0),
                ("requires_action", 0),
                ("processing", 0),
                ("requires_capture", 0),
                ("succeeded", 9),
                ("canceled", 9),
            ],
            Self::Charge => &[("pending", 0), ("failed", 9), ("succeeded", 9)],
            Self::CheckoutSession => &[("open", 0), ("complete", 9), ("expired", 9)],
            // A refund that succeeded can come back weeks later.
            Self::Refund => &[("pending", 0), ("requires_action", 0), ("succeeded", 7), ("failed", 9), ("canceled", 9)],
            Self::Dispute => &[
                ("warning_needs_response", 0),
                ("warning_under_review", 0),
                ("warning_closed", 0),
                ("needs_response", 3),
                ("under_review", 3),
                ("won", 9),
                ("lost", 9),
                ("prevented", 9),
            ],
            // A payout that was paid can come back from the bank.
            Self::Payout => &[("pending", 0), ("in_transit", 3), ("paid", 7), ("failed", 9), ("canceled", 9)],
            Self::Topup => &[("pending", 0), ("succeeded", 7), ("failed", 9), ("canceled", 9), ("reversed", 9)],
            // What was given up as uncollectible can still be paid.
            Self::Invoice => &[("draft", 0), ("open", 3), ("uncollectible", 7), ("paid", 9), ("void", 9)],
            Self::InvoicePayment => &[("open", 0), ("paid", 9), ("canceled", 9)],
            Self::ReportRun => &[("pending", 0), ("succeeded", 9), ("failed", 9)],
            Self::Transfer | Self::ApplicationFee | Self::EarlyFraudWarning => &[],
        }
    }

    /// How far a state is. Objects without states have the empty one.
    #[must_use]
    pub fn rank(self, status: &str) -> u8 {
        let listed = self.states().iter().find(|(name, _)| *name == status).map(|(_, rank)| *rank);
        listed.unwrap_or(if status.is_empty() { 0 } else { RANK_UNKNOWN })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("{text:?} is no kind of object that is followed"))
    }
}

/// What an event type is to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// It tells of an object that is followed.
    Object(Kind),
    /// It is known and changes nothing: what it tells of is read elsewhere.
    Noted,
}

/// What an event tells of, by its type; `None` for types that are not known. Thin events of version 1 objects carry a prefix.
#[must_use]
pub fn subject(event_type: &str) -> Option<Subject> {
    let event_type = event_type.strip_prefix("v1.").unwrap_or(event_type);
    let (of, what) = event_type.rsplit_once('.')?;
    let listed = |names: &[&str]| names.contains(&what);
    let (kind, known) = match of {
        "payment_intent" => (
            Kind::PaymentIntent,
            listed(&[
                "created",
                "processing",
                "requires_action",
                "amount_capturable_updated",
                "partially_funded",
                "succeeded",
                "payment_failed",
                "canceled",
            ]),
        ),
        "charge" => (Kind::Charge, listed(&["pending", "succeeded", "captured", "failed", "expired", "updated", "refunded"])),
        "charge.refund" => (Kind::Refund, listed(&["updated"])),
        "charge.dispute" => (Kind::Dispute, listed(&["created", "updated", "closed", "funds_withdrawn", "funds_reinstated"])),
        "checkout.session" => (Kind::CheckoutSession, listed(&["completed", "async_payment_succeeded", "async_payment_failed", "expired"])),
        "refund" => (Kind::Refund, listed(&["created", "updated", "failed"])),
        "radar.early_fraud_warning" => (Kind::EarlyFraudWarning, listed(&["created", "updated"])),
        "payout" => (Kind::Payout, listed(&["created", "updated", "paid", "failed", "canceled", "reconciliation_completed"])),
        "reporting.report_run" => (Kind::ReportRun, listed(&["succeeded", "failed"])),
        "invoice" => (Kind::Invoice, listed(&["paid", "payment_failed"])),
        "invoice_payment" => (Kind::InvoicePayment, listed(&["paid"])),
        "transfer" => (Kind::Transfer, listed(&["created", "updated", "reversed"])),
        "application_fee" => (Kind::ApplicationFee, listed(&["created", "refunded"])),
        "topup" => (Kind::Topup, listed(&["created", "succeeded", "failed", "canceled", "reversed"])),
        "balance" => return listed(&["available"]).then_some(Subject::Noted),
        // The refund of a fee; the fee itself says how much of it was given back.
        "application_fee.refund" => return listed(&["updated"]).then_some(Subject::Noted),
        _ => return None,
    };
    known.then_some(Subject::Object(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("customer".parse::<Kind>().is_err());
    }

    #[test]
    fn what_may_follow_what() {
        let goes = |kind: Kind, from: &str, to: &str| kind.rank(to) > kind.rank(from);
        assert!(goes(Kind::PaymentIntent, "requires_payment_method", "succeeded"));
        assert!(!goes(Kind::PaymentIntent, "succeeded", "requires_payment_method"));
        assert!(!goes(Kind::PaymentIntent, "succeeded", "canceled"));
        assert!(goes(Kind::Refund, "succeeded", "failed") && !goes(Kind::Refund, "failed", "succeeded"));
        assert!(goes(Kind::Payout, "paid", "failed") && goes(Kind::Payout, "in_transit", "paid"));
        assert!(goes(Kind::Dispute, "warning_closed", "needs_response") && goes(Kind::Dispute, "under_review", "lost"));
        assert_eq!(Kind::Dispute.rank("needs_response"), Kind::Dispute.rank("under_review"));
    }

    #[test]
    fn a_state_of_tomorrow_neither_ends_an_object_nor_begins_it() {
        assert!(Kind::Charge.rank("pending") < Kind::Charge.rank("thawing"));
        assert!(Kind::Charge.rank("thawing") < Kind::Charge.rank("succeeded"));
        assert_eq!(Kind::Transfer.rank(""), 0);
    }

    #[test]
    fn types_and_their_thin_forms() {
        assert_eq!(subject("charge.updated"), Some(Subject::Object(Kind::Charge)));
        assert_eq!(subject("charge.refund.updated"), Some(Subject::Object(Kind::Refund)));
        assert_eq!(subject("v1.charge.dispute.funds_withdrawn"), Some(Subject::Object(Kind::Dispute)));
        assert_eq!(subject("balance.available"), Some(Subject::Noted));
        for unknown in
            ["customer.created", "charge", "charge.updated.v2", "v1.billing.meter.error_report_triggered", "v2.charge.updated", ""]
        {
            assert_eq!(subject(unknown), None, "{unknown}");
        }
    }
}
