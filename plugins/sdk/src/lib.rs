//! Write plugins for Taskwarden: programs that do background tasks inside a WebAssembly sandbox.
//!
//! A plugin is a type that implements [`Plugin`], and one line that exports it:
//!
//! ```
//! use taskwarden_plugin::{Failure, Plugin, Task, log, progress};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Words {
//!     text: String,
//! }
//!
//! #[derive(serde::Serialize)]
//! struct Count {
//!     words: usize,
//! }
//!
//! struct WordCount;
//!
//! impl Plugin for WordCount {
//!     type Payload = Words;
//!     type Output = Count;
//!
//!     fn execute(task: &Task, payload: Words) -> Result<Count, Failure> {
//!         log::info(format!("attempt {} of {}", task.attempt, task.max_attempts));
//!         if payload.text.is_empty() {
//!             return Err(Failure::invalid("text is empty"));
//!         }
//!         progress(1.0, "counted");
//!         Ok(Count { words: payload.text.split_whitespace().count() })
//!     }
//! }
//!
//! taskwarden_plugin::export!(WordCount);
//!
//! // The same code runs natively, against a double of the host that lives in memory:
//! use taskwarden_plugin::double::HostDouble;
//! let ran = HostDouble::new().payload(r#"{"text": "two words"}"#).run::<WordCount>();
//! assert_eq!(ran.json().expect("succeeds")["words"], 2);
//! ```
//!
//! Compile it with `crate-type = ["cdylib"]` for `wasm32-unknown-unknown` (the host wraps the module into a component when it
//! loads it) or for `wasm32-wasip2` (already a component). For other targets the crate compiles against [`double`] instead, so that
//! plain `cargo test` runs the plugin's logic.
//!
//! The sandbox grants nothing by itself: every function here that reaches the host belongs to a capability that `plugin.toml` has
//! to name (`log`, `progress`, `inputs`, `outputs`, `journal`, `settings`, `tasks`, `http`). What is not called is not imported.

#![deny(missing_docs)]

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
#[cfg(not(target_family = "wasm"))]
pub mod double;
mod failure;
mod host;
#[cfg(feature = "http")]
pub mod http;
mod journal;
pub mod log;
mod plugin;
mod streams;
mod tasks;

pub use failure::{Failure, OrFail};
pub use host::{progress, setting};
pub use journal::{forget_step, remembered, step};
pub use plugin::{Plugin, Task, run};
pub use streams::{Input, Output, input, input_names, output};
pub use tasks::{submit, submit_for};
