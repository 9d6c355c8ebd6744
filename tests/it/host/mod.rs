//! The whole host, as its users and operators meet it.

mod crash;
mod exposure;
mod process;
mod scheduling;
mod stripe;
