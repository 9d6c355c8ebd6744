//! What Stripe's objects mean. Pure: no IO, no database, no clock of its own.

pub mod checkout;
pub mod import;
pub mod ledger;
pub mod payout;
