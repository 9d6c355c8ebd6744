//! Task types that the host runs itself, because they need what no sandbox is given: the key to Stripe's API and the host's own tables.

pub mod stripe_event;
pub mod stripe_repair;
pub mod stripe_sync;
mod stripe_told;
pub mod watch;
