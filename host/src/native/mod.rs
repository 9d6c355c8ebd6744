//! Task types that the host runs itself, because they need what no sandbox is given: the host's own tables.

pub mod stripe_event;
