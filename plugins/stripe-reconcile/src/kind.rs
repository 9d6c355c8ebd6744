//! What a movement is: Stripe's balance-transaction types and reporting categories, as data.

/// What kind of movement a row is, on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Order,
    Charge,
    ChargeFailure,
    PartialCaptureReversal,
    Refund,
    RefundFailure,
    Dispute,
    DisputeReversal,
    Payout,
    PayoutReversal,
    Transfer,
    Topup,
    /// Fees, taxes, reserves, contributions, issuing, financing: no ledger row is expected for them.
    OwnLine,
    /// The type is not in the table.
    Unknown,
}

/// Movements that can be partners of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    Payment,
    Refund,
    Dispute,
    Payout,
    Transfer,
    Other,
}

impl Kind {
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Order | Self::Charge | Self::ChargeFailure | Self::PartialCaptureReversal => Family::Payment,
            Self::Refund | Self::RefundFailure => Family::Refund,
            Self::Dispute | Self::DisputeReversal => Family::Dispute,
            Self::Payout | Self::PayoutReversal => Family::Payout,
            Self::Transfer | Self::Topup => Family::Transfer,
            Self::OwnLine | Self::Unknown => Family::Other,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Charge => "charge",
            Self::ChargeFailure => "charge_failure",
            Self::PartialCaptureReversal => "partial_capture_reversal",
            Self::Refund => "refund",
            Self::RefundFailure => "refund_failure",
            Self::Dispute => "dispute",
            Self::DisputeReversal => "dispute_reversal",
            Self::Payout => "payout",
            Self::PayoutReversal => "payout_reversal",
            Self::Transfer => "transfer",
            Self::Topup => "topup",
            Self::OwnLine => "other",
            Self::Unknown => "unknown",
        }
    }

    /// The kind with this name.
    pub(crate) fn by_name(name: &[u8]) -> Option<Self> {
        const ALL: [Kind; 14] = [
            Kind::Order,
            Kind::Charge,
            Kind::ChargeFailure,
            Kind::PartialCaptureReversal,
            Kind::Refund,
            Kind::RefundFailure,
            Kind::Dispute,
            Kind::DisputeReversal,
            Kind::Payout,
            Kind::PayoutReversal,
            Kind::Transfer,
            Kind::Topup,
            Kind::OwnLine,
            Kind::Unknown,
        ];
        ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// Of a ledger row. None when the word is not known.
    pub(crate) fn of_ledger(word: &[u8]) -> Option<Self> {
        Some(match word {
            // An intent asks for money as an order does; what moves it is its charge.
            b"order" | b"invoice" | b"checkout_session" | b"checkout.session" | b"payment_intent" | b"sale" => Self::Order,
            b"chargeback" => Self::Dispute,
            b"fee" | b"other" => Self::OwnLine,
            other => match Self::of_stripe(other, b"", b"", 0) {
                Self::Unknown => return None,
                kind => kind,
            },
        })
    }

    /// Of a balance transaction: its reporting category decides, else its type. A dispute's type is only `adjustment`, and a partial
    /// capture's only `refund`; there the source and the sign tell.
    pub(crate) fn of_stripe(category: &[u8], bt_type: &[u8], source: &[u8], amount: i64) -> Self {
        if !category.is_empty() {
            return find(&CATEGORIES, category).or_else(|| find(&TYPES, category)).unwrap_or(Self::Unknown);
        }
        let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| source.starts_with(prefix));
        match bt_type {
            b"adjustment" if starts(&[b"dp_", b"du_"]) && amount > 0 => Self::DisputeReversal,
            b"adjustment" if starts(&[b"dp_", b"du_"]) => Self::Dispute,
            b"refund" | b"payment_refund" if starts(&[b"ch_", b"py_"]) => Self::PartialCaptureReversal,
            other => find(&TYPES, other).unwrap_or(Self::Unknown),
        }
    }
}

fn find(table: &[(&[u8], Kind)], word: &[u8]) -> Option<Kind> {
    // Most rows are this.
    if word == b"charge" {
        return Some(Kind::Charge);
    }
    let at = table.binary_search_by(|(name, _)| (*name).cmp(word)).ok()?;
    table.get(at).map(|(_, kind)| *kind)
}

/// `type` of a balance transaction, as of API version 2026-09-30. Sorted.
const TYPES: [(&[u8], Kind); 50] = [
    (b"adjustment", Kind::OwnLine),
    (b"advance", Kind::OwnLine),
    (b"advance_funding", Kind::OwnLine),
    (b"anticipation_repayment", Kind::OwnLine),
    (b"application_fee", Kind::OwnLine),
    (b"application_fee_refund", Kind::OwnLine),
    (b"charge", Kind::Charge),
    (b"climate_order_purchase", Kind::OwnLine),
    (b"climate_order_refund", Kind::OwnLine),
    (b"connect_collection_transfer", Kind::OwnLine),
    (b"contribution", Kind::OwnLine),
    (b"fee_credit_funding", Kind::OwnLine),
    (b"inbound_transfer", Kind::OwnLine),
    (b"inbound_transfer_reversal", Kind::OwnLine),
    (b"issuing_authorization_hold", Kind::OwnLine),
    (b"issuing_authorization_release", Kind::OwnLine),
    (b"issuing_dispute", Kind::OwnLine),
    (b"issuing_transaction", Kind::OwnLine),
    (b"obligation_outbound", Kind::OwnLine),
    (b"obligation_reversal_inbound", Kind::OwnLine),
    (b"payment", Kind::Charge),
    (b"payment_failure_refund", Kind::ChargeFailure),
    (b"payment_network_reserve_hold", Kind::OwnLine),
    (b"payment_network_reserve_release", Kind::OwnLine),
    (b"payment_refund", Kind::Refund),
    (b"payment_reversal", Kind::ChargeFailure),
    (b"payment_unreconciled", Kind::OwnLine),
    (b"payout", Kind::Payout),
    (b"payout_cancel", Kind::PayoutReversal),
    (b"payout_failure", Kind::PayoutReversal),
    (b"payout_minimum_balance_hold", Kind::OwnLine),
    (b"payout_minimum_balance_release", Kind::OwnLine),
    (b"refund", Kind::Refund),
    (b"refund_failure", Kind::RefundFailure),
    (b"reserve_hold", Kind::OwnLine),
    (b"reserve_release", Kind::OwnLine),
    (b"reserve_transaction", Kind::OwnLine),
    (b"reserved_funds", Kind::OwnLine),
    (b"stripe_balance_payment_debit", Kind::OwnLine),
    (b"stripe_balance_payment_debit_reversal", Kind::OwnLine),
    (b"stripe_fee", Kind::OwnLine),
    (b"stripe_fx_fee", Kind::OwnLine),
    (b"tax_fee", Kind::OwnLine),
    (b"tax_fund", Kind::OwnLine),
    (b"topup", Kind::Topup),
    (b"topup_reversal", Kind::Topup),
    (b"transfer", Kind::Transfer),
    (b"transfer_cancel", Kind::Transfer),
    (b"transfer_failure", Kind::Transfer),
    (b"transfer_refund", Kind::Transfer),
];

/// `reporting_category`, where it is no type of the same meaning. Sorted.
const CATEGORIES: [(&[u8], Kind); 33] = [
    (b"charge_failure", Kind::ChargeFailure),
    (b"connect_reserved_funds", Kind::OwnLine),
    (b"currency_conversion", Kind::OwnLine),
    (b"dispute", Kind::Dispute),
    (b"dispute_reversal", Kind::DisputeReversal),
    (b"fee", Kind::OwnLine),
    (b"financing_paydown", Kind::OwnLine),
    (b"financing_paydown_reversal", Kind::OwnLine),
    (b"financing_payout", Kind::OwnLine),
    (b"financing_payout_reversal", Kind::OwnLine),
    (b"issuing_disbursement", Kind::OwnLine),
    (b"issuing_dispute_fraud_liability_debit", Kind::OwnLine),
    (b"issuing_dispute_provisional_credit", Kind::OwnLine),
    (b"issuing_dispute_provisional_credit_reversal", Kind::OwnLine),
    (b"minimum_balance_hold", Kind::OwnLine),
    (b"minimum_balance_release", Kind::OwnLine),
    (b"network_cost", Kind::OwnLine),
    (b"obligation", Kind::OwnLine),
    (b"other_adjustment", Kind::OwnLine),
    (b"partial_capture_reversal", Kind::PartialCaptureReversal),
    (b"payment_network_reserved_funds", Kind::OwnLine),
    (b"payout_reversal", Kind::PayoutReversal),
    (b"platform_earning", Kind::OwnLine),
    (b"platform_earning_refund", Kind::OwnLine),
    (b"platform_fee", Kind::OwnLine),
    (b"received_credit", Kind::OwnLine),
    (b"received_credit_reversal", Kind::OwnLine),
    (b"risk_reserved_funds", Kind::OwnLine),
    (b"tax", Kind::OwnLine),
    (b"tax_credit_funding", Kind::OwnLine),
    (b"transfer_reversal", Kind::Transfer),
    (b"treasury_transfer", Kind::OwnLine),
    (b"unreconciled_customer_funds", Kind::OwnLine),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0) && CATEGORIES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_category_decides_before_a_type() {
        assert_eq!(Kind::of_stripe(b"partial_capture_reversal", b"refund", b"ch_1", -40), Kind::PartialCaptureReversal);
        assert_eq!(Kind::of_stripe(b"dispute", b"adjustment", b"dp_1", -1000), Kind::Dispute);
        assert_eq!(Kind::of_stripe(b"moon_tax", b"charge", b"ch_1", 1), Kind::Unknown);
    }

    #[test]
    fn where_a_type_says_too_little_the_source_tells() {
        assert_eq!(Kind::of_stripe(b"", b"adjustment", b"dp_1", -1000), Kind::Dispute);
        assert_eq!(Kind::of_stripe(b"", b"adjustment", b"dp_1", 1000), Kind::DisputeReversal);
        assert_eq!(Kind::of_stripe(b"", b"adjustment", b"", 5), Kind::OwnLine);
        assert_eq!(Kind::of_stripe(b"", b"refund", b"re_1", -5), Kind::Refund);
        assert_eq!(Kind::of_stripe(b"", b"refund", b"ch_1", -5), Kind::PartialCaptureReversal);
        assert_eq!(Kind::of_ledger(b"moon"), None);
    }
}
