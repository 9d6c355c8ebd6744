//! Reconciles a ledger with Stripe: every row ends in one class of a closed set, and the differences add up to the unit, or the verdict
//! is INCOMPLETE.
//!
//! The algorithm is a plain library ([`reconcile`]) that knows nothing of the sandbox; `guest` is the thin plugin around it. It reads by
//! chunks, keeps 56 bytes a row and each id once, and writes its outputs as it makes them.

mod carry;
mod class;
mod findings;
mod guest;
#[cfg(test)]
mod hostile;
mod invariants;
mod kind;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod properties;
mod read;
mod report;
mod request;
mod rows;
mod run;
#[cfg(test)]
mod scenarios;
mod settle;
mod store;
mod sums;
#[cfg(test)]
mod testing;
mod text;

pub use class::{CLASSES_VERSION, Class, Leg, Outcome};
pub use guest::StripeReconcile;
pub use invariants::{Check, Invariants, RollForward};
pub use read::ReadError;
pub use report::{FxLine, Lifecycle, LineKey, Report, Summary, Verdict};
pub use request::{Options, Request};
pub use run::{Inputs, Reconciliation, Sink, reconcile};
pub use sums::Line;
