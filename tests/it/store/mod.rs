//! The store as the rest of the host sees it. What every backend must do is in `conformance`; the rest is about one of them.

mod children;
mod complaints;
#[macro_use]
mod conformance;
mod crash;
pub(crate) mod findings;
mod histories;
mod migration;
pub(crate) mod postgres;
mod postgres_away;
mod postgres_rights;
mod postgres_shares;
mod ratings;
pub(crate) mod schedules;
mod settings;
mod sharing;
mod speed;
pub(crate) mod sqlite;
mod stats;
mod stripe;
pub(crate) mod support;
