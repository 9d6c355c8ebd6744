//! Reading CSV by chunks, and what stands in its cells.

mod columns;
mod csv;
mod marks;
mod memo;
mod time;

pub(crate) use columns::{ABSENT, Columns, HeaderError};
pub(crate) use csv::{Csv, CsvError, IdCell, Record};
pub(crate) use memo::Memo;
pub(crate) use time::{Moment, Zone, parse_date, parse_moment, show_day, show_moment};
