//! The whole host, as its users and operators meet it.

mod children;
mod crash;
mod exposure;
mod full;
mod import;
mod postgres;
mod process;
mod scheduling;
mod stripe;

pub(crate) use process::binary;
