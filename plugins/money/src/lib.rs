//! Money is an integer of minor units and a currency, and this is how reports write it. Nothing here knows floating point, and nothing adds two currencies.
//!
//! ```
//! use taskwarden_money::{Currency, Rate, Separator, parse_major, parse_minor, show_major};
//!
//! let usd = Currency::parse(b"USD").expect("three letters");
//! assert_eq!(parse_minor(b"6000"), Ok(6000));
//! assert_eq!(parse_major(b"60.00", usd.decimals().expect("known"), Separator::Point), Ok(6000));
//! assert_eq!(show_major(6000, 2), "60.00");
//! assert_eq!(Rate::parse(b"0.88").expect("a rate").convert(6000, 2, 2), Some(5280));
//! ```

#![deny(missing_docs)]

mod amount;
mod cells;
mod currency;
mod rate;

pub use amount::{AmountError, Separator, parse_major, parse_minor, show_major};
pub use cells::cell_separator;
pub use currency::{Currency, CurrencyError};
pub use rate::{Rate, RateError};
