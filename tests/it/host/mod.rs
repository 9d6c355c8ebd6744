//! The whole host, as its users and operators meet it.

mod crash;
mod exposure;
mod full;
mod import;
mod postgres;
mod process;
mod scheduling;
mod stripe;
