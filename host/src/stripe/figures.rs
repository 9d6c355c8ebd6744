//! How the sums of a period are shown: each category of Stripe's in one column, and none left out.

use super::income::{Overflow, Sums};

/// Where a category is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// What customers paid, less what was authorised and not captured or came back from a bank.
    Gross,
    /// What was given back.
    Refunds,
    /// What was taken for disputes, and what came back.
    Disputes,
    /// What was paid for services.
    Fees,
    /// What went to the bank. No part of income.
    Payouts,
    /// Everything else that is known.
    Other,
    /// A category of tomorrow: it is in `other`, and counted.
    Unclassified,
}

/// Stripe's reporting categories, as far as they are known. Sorted.
const CATEGORIES: [(&str, Column); 60] = [
    ("advance", Column::Other),
    ("advance_funding", Column::Other),
    ("anticipation_repayment", Column::Other),
    ("charge", Column::Gross),
    ("charge_failure", Column::Gross),
    ("climate_order_purchase", Column::Other),
    ("climate_order_refund", Column::Other),
    ("connect_collection_transfer", Column::Other),
    ("connect_reserved_funds", Column::Other),
    ("contribution", Column::Other),
    ("currency_conversion", Column::Other),
    ("dispute", Column::Disputes),
    ("dispute_reversal", Column::Disputes),
    ("fee", Column::Fees),
    ("fee_credit_funding", Column::Other),
    ("financing_paydown", Column::Other),
    ("financing_paydown_reversal", Column::Other),
    ("financing_payout", Column::Other),
    ("financing_payout_reversal", Column::Other),
    ("inbound_transfer", Column::Other),
    ("inbound_transfer_reversal", Column::Other),
    ("issuing_authorization_hold", Column::Other),
    ("issuing_authorization_release", Column::Other),
    ("issuing_disbursement", Column::Other),
    ("issuing_dispute", Column::Other),
    ("issuing_dispute_fraud_liability_debit", Column::Other),
    ("issuing_dispute_provisional_credit", Column::Other),
    ("issuing_dispute_provisional_credit_reversal", Column::Other),
    ("issuing_transaction", Column::Other),
    ("minimum_balance_hold", Column::Other),
    ("minimum_balance_release", Column::Other),
    ("network_cost", Column::Fees),
    ("obligation", Column::Other),
    ("other_adjustment", Column::Other),
    ("partial_capture_reversal", Column::Gross),
    ("payment_network_reserved_funds", Column::Other),
    ("payout", Column::Payouts),
    ("payout_minimum_balance_hold", Column::Other),
    ("payout_minimum_balance_release", Column::Other),
    ("payout_reversal", Column::Payouts),
    ("platform_earning", Column::Other),
    ("platform_earning_refund", Column::Other),
    ("platform_fee", Column::Fees),
    ("received_credit", Column::Other),
    ("received_credit_reversal", Column::Other),
    ("refund", Column::Refunds),
    ("refund_failure", Column::Refunds),
    ("reserve_hold", Column::Other),
    ("reserve_release", Column::Other),
    ("risk_reserved_funds", Column::Other),
    ("stripe_balance_payment_debit", Column::Other),
    ("stripe_balance_payment_debit_reversal", Column::Other),
    ("tax", Column::Fees),
    ("tax_credit_funding", Column::Other),
    ("topup", Column::Other),
    ("topup_reversal", Column::Other),
    ("transfer", Column::Other),
    ("transfer_reversal", Column::Other),
    ("treasury_transfer", Column::Other),
    ("unreconciled_customer_funds", Column::Other),
];

/// The column of a category.
#[must_use]
pub fn column(category: &str) -> Column {
    let at = CATEGORIES.binary_search_by(|(name, _)| (*name).cmp(category)).ok();
    at.and_then(|at| CATEGORIES.get(at)).map_or(Column::Unclassified, |(_, column)| *column)
}

/// Whether a text is no category that is known, and the beginning of one that is.
#[must_use]
pub fn begins_a_category(text: &str) -> bool {
    column(text) == Column::Unclassified && CATEGORIES.iter().any(|(name, _)| name.starts_with(text))
}

/// The figures of a period, in minor units of one currency. Money out is negative everywhere except in `fees`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// How many facts.
    pub count: i64,
    /// See [`Column::Gross`].
    pub gross: i64,
    /// See [`Column::Refunds`].
    pub refunds: i64,
    /// See [`Column::Disputes`].
    pub disputes: i64,
    /// What Stripe kept of the above and what was paid to it besides; positive is a cost.
    pub fees: i64,
    /// See [`Column::Other`] and [`Column::Unclassified`].
    pub other: i64,
    /// `gross + refunds + disputes + other − fees`.
    pub net: i64,
    /// See [`Column::Payouts`]. With `net` it is the change of the balance.
    pub payouts: i64,
    /// How many facts are of a category that is not known.
    pub unclassified: i64,
}

impl Figures {
    /// Adds the sums of one category.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn add(&mut self, category: &str, sums: Sums) -> Result<(), Overflow> {
        let put = |into: &mut i64, more: i64| {
            *into = into.checked_add(more).ok_or(Overflow)?;
            Ok(())
        };
        put(&mut self.count, sums.count)?;
        put(&mut self.fees, sums.fee)?;
        match column(category) {
            Column::Gross => put(&mut self.gross, sums.amount)?,
            Column::Refunds => put(&mut self.refunds, sums.amount)?,
            Column::Disputes => put(&mut self.disputes, sums.amount)?,
            Column::Fees => put(&mut self.fees, sums.amount.checked_neg().ok_or(Overflow)?)?,
            Column::Payouts => put(&mut self.payouts, sums.amount)?,
            Column::Other => put(&mut self.other, sums.amount)?,
            Column::Unclassified => {
                put(&mut self.other, sums.amount)?;
                put(&mut self.unclassified, sums.count)?;
            }
        }
        let all = [self.gross, self.refunds, self.disputes, self.other, self.fees.checked_neg().ok_or(Overflow)?];
        self.net = all.into_iter().try_fold(0_i64, i64::checked_add).ok_or(Overflow)?;
        Ok(())
    }

    /// The figures before these were added.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn minus(self, late: Self) -> Result<Self, Overflow> {
        let less = |now: i64, late: i64| now.checked_sub(late).ok_or(Overflow);
        Ok(Self {
            count: less(self.count, late.count)?,
            gross: less(self.gross, late.gross)?,
            refunds: less(self.refunds, late.refunds)?,
            disputes: less(self.disputes, late.disputes)?,
            fees: less(self.fees, late.fees)?,
            other: less(self.other, late.other)?,
            net: less(self.net, late.net)?,
            payouts: less(self.payouts, late.payouts)?,
            unclassified: less(self.unclassified, late.unclassified)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_found_whole() {
        assert!(CATEGORIES.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!([column("charge"), column("unreconciled_customer_funds")], [Column::Gross, Column::Other]);
        assert!(begins_a_category("charg") && !begins_a_category("charge") && !begins_a_category("of_tomorrow"));
    }

    #[test]
    fn columns_add_up_and_nothing_unknown_is_dropped() {
        let mut figures = Figures::default();
        let sums = |amount: i64, fee: i64| Sums { count: 1, amount, fee, net: amount - fee };
        for (category, amount, fee) in [
            ("charge", 10_000, 320),
            ("partial_capture_reversal", -400, 0),
            ("refund", -2_000, 0),
            ("dispute", -1_000, 1_500),
            ("dispute_reversal", 1_000, -1_500),
            ("fee", -250, 0),
            ("transfer", -100, 0),
            ("of_tomorrow", 7, 0),
            ("payout", -5_000, 0),
        ] {
            figures.add(category, sums(amount, fee)).unwrap();
        }
        let expected = Figures {
            count: 9,
            gross: 9_600,
            refunds: -2_000,
            disputes: 0,
            fees: 570,
            other: -93,
            net: 9_600 - 2_000 - 93 - 570,
            payouts: -5_000,
            unclassified: 1,
        };
        assert_eq!(figures, expected);
        assert_eq!(figures.add("charge", Sums { amount: i64::MAX, ..Sums::default() }), Err(Overflow));
    }

    #[test]
    fn start_and_activity_and_payouts_make_the_end() {
        // Stripe's own example: 30 at the start, 150 of activity, 60 paid out, 120 at the end.
        let mut figures = Figures::default();
        figures.add("charge", Sums { count: 1, amount: 15_000, fee: 0, net: 15_000 }).unwrap();
        figures.add("payout", Sums { count: 1, amount: -6_000, fee: 0, net: -6_000 }).unwrap();
        assert_eq!(3_000 + figures.net + figures.payouts, 12_000);
    }
}
