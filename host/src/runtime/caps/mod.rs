//! The host capabilities, one file each: what it is for, its state during a run, what the guest can call, how it is linked.
//!
//! Each call begins with [`Meter::call`](super::meter::Meter::call), which counts it and charges fuel.

pub(super) mod http;
pub(super) mod inputs;
pub(super) mod journal;
pub(super) mod log;
pub(super) mod outputs;
pub(super) mod progress;
pub(super) mod settings;
pub(super) mod tasks;
