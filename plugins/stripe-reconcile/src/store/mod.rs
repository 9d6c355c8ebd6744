//! Where a million rows fit: pages instead of growing vectors, and each id once.

mod bits;
mod names;
mod pages;

pub(crate) use bits::Bits;
pub(crate) use names::{Lookup, Name, Names, needs_quotes};
pub(crate) use pages::Pages;
