//! The store as the rest of the host sees it. What every backend must do is in `conformance`; the rest is about one of them.

mod conformance;
mod crash;
mod histories;
mod migration;
pub(crate) mod postgres;
mod settings;
mod sharing;
mod speed;
pub(crate) mod sqlite;
mod stripe;
pub(crate) mod support;
