//! What Stripe's signatures, events, objects and reports mean, and what they say of the income. Pure: no IO, no database, no clock of its own.

pub mod breaks;
pub mod checkout;
pub mod event;
pub mod figures;
pub mod import;
pub mod income;
pub mod kind;
pub mod ledger;
pub mod movements;
pub mod object;
pub mod payout;
pub mod plan;
pub mod signature;
pub mod transaction;
