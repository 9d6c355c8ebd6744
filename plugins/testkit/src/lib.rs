//! Test a compiled plugin in the real sandbox: the host's own runtime, limits and capabilities, from plain `cargo test`.
//!
//! ```no_run
//! use taskwarden_testkit::{Kit, Limit, Outcome, TestTask};
//!
//! let kit = Kit::load("target/wasm/echo.wasm").limit(Limit::Fuel, 50_000_000);
//! let run = kit.run(TestTask::new("echo").payload(serde_json::json!({"n": 1})));
//! run.assert_succeeded().assert_fuel_at_most(5_000_000);
//! assert_eq!(run.json()["payload"]["n"], 1);
//!
//! kit.run(TestTask::new("echo").payload(serde_json::json!({"spin_fuel": 100_000_000u64}))).assert_outcome(Outcome::OutOfFuel);
//! ```
//!
//! Everything is decided by what the test hands in: inputs are in memory, the clock stands still unless the test moves it, and the
//! journal of a [`TestTask`] is kept from one attempt to the next. What can go wrong is a panic with a message, as a test wants it.

#![deny(missing_docs)]

mod kit;
mod run;
mod task;

pub use kit::Kit;
pub use run::{TestChild, TestReceipt, TestRun};
pub use task::TestTask;
pub use taskwarden::clock::{UnixMs, VirtualClock};
pub use taskwarden::limits::Limit;
pub use taskwarden::task::{LogLevel, LogLine, Outcome};
