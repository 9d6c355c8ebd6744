//! Tests of the whole, against the real parts. One binary, a file per subject.
// Everything here is test code, helpers included: this says so to clippy.
#![cfg(test)]

mod anomaly;
mod api;
mod breaks;
mod findings;
mod fuzzed;
mod guests;
mod host;
mod hostile;
mod ledger;
mod outgoing;
mod outgoing_tls;
mod plugins;
mod published;
mod reconciled;
mod runtime;
mod runtime_wasi;
mod schedules;
mod store;
mod tidy;
mod watch;
