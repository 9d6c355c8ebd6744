//! Tests of the whole, against the real parts. One binary, a file per subject.
// Everything here is test code, helpers included: this says so to clippy.
#![cfg(test)]

mod host;
mod store;
mod tidy;
