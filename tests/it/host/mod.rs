//! The whole host, as its users and operators meet it.

mod crash;
mod exposure;
mod import;
mod process;
mod scheduling;
mod stripe;
