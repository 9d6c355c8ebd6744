//! Taskwarden: a host that runs background tasks inside WebAssembly sandboxes.
//!
//! The floors of the house, each of which uses only those below it: `app` and `cli`; `http` and `scheduler`; `registry`;
//! `store` and `runtime`; `plugin` and `stripe`; `task`, `limits`, `clock` and `event`. ARCHITECTURE.md is the map.

pub mod app;
pub mod builtin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod event;
pub mod finding;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod native;
pub mod outgoing;
pub mod payments;
pub mod plugin;
pub mod registry;
pub mod runtime;
pub mod schedule;
pub mod scheduler;
pub mod secret;
pub mod store;
pub mod stripe;
pub mod stripe_api;
pub mod task;
pub mod telemetry;
pub mod token;
pub mod zone;
