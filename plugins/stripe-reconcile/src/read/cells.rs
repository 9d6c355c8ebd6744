//! Cells to values. Every function says what is wrong with the cell it was given.
//!
//! What is done for each cell is put in place of its calls: in a sandbox a call also looks at the fuel and at the time.

use taskwarden_money::{Currency, Separator, parse_major, parse_minor};

use super::{Bad, Reading};
use crate::rows::{Scope, Status};
use crate::store::Name;
use crate::text::{ABSENT, Columns, HeaderError, IdCell, Memo, Moment, Record, parse_moment};

/// An amount of money in one of two columns: in minor units as the API writes it, or in major units as reports do.
#[derive(Clone, Copy)]
pub(crate) struct MoneyColumn {
    column: usize,
    major: bool,
    name: &'static str,
}

impl MoneyColumn {
    pub(crate) fn find(columns: &Columns, name: &'static str, minor: &[&str], major: &[&str]) -> Self {
        let column = columns.find(minor);
        if column == ABSENT { Self { column: columns.find(major), major: true, name } } else { Self { column, major: false, name } }
    }

    pub(crate) fn need(columns: &Columns, name: &'static str, minor: &'static [&'static str], major: &[&str]) -> Result<Self, HeaderError> {
        let found = Self::find(columns, name, minor, major);
        if found.column == ABSENT { Err(HeaderError::Missing(minor)) } else { Ok(found) }
    }

    /// Columns of a report are all in major units or none is.
    pub(crate) fn in_major_units(mut self, major: bool) -> Self {
        self.major = major;
        self
    }

    pub(crate) fn is_major(self) -> bool {
        self.major
    }

    pub(crate) fn cell<'a>(self, record: Record<'a>) -> &'a [u8] {
        record.cell(self.column)
    }

    #[inline(always)]
    pub(crate) fn read(self, record: Record<'_>, currency: Currency, separator: Separator) -> Result<i64, Bad> {
        let cell = self.cell(record);
        let read = if self.major {
            let unknown = || Bad::new(self.name, format!("is in major units, and how many decimals {currency} has is not known"), cell);
            parse_major(cell, currency.decimals().ok_or_else(unknown)?, separator)
        } else {
            parse_minor(cell)
        };
        read.map_err(|error| Bad::new(self.name, error, cell))
    }

    /// The same, where the cell may be empty.
    #[inline(always)]
    pub(crate) fn read_if_any(self, record: Record<'_>, currency: Currency, separator: Separator) -> Result<Option<i64>, Bad> {
        if self.cell(record).is_empty() { Ok(None) } else { self.read(record, currency, separator).map(Some) }
    }
}

/// Where the columns are that every input may have.
pub(crate) struct Common {
    currency: usize,
    account: usize,
    livemode: usize,
    known_currency: Memo<(Currency, u8)>,
}

impl Common {
    pub(crate) fn find(columns: &Columns) -> Result<Self, HeaderError> {
        Ok(Self {
            currency: columns.need(&["currency"])?,
            account: columns.find(&["account", "account_id", "stripe_account"]),
            livemode: columns.find(&["livemode"]),
            known_currency: Memo::default(),
        })
    }

    #[inline(always)]
    pub(crate) fn currency(&self, record: Record<'_>, reading: &mut Reading<'_>) -> Result<(Currency, u8), Bad> {
        let cell = record.cell(self.currency);
        self.known_currency.get(cell, || {
            let currency = Currency::parse(cell).map_err(|error| Bad::new("currency", error, cell))?;
            let number = reading.book.currencies.add(currency).ok_or_else(|| Bad::new("currency", "is the 257th currency", cell))?;
            Ok((currency, number))
        })
    }

    /// The number of a row's currency, or of this one where the row has none.
    pub(crate) fn currency_or(&self, record: Record<'_>, other: &[u8], reading: &mut Reading<'_>) -> Result<u8, Bad> {
        let cell = Some(record.cell(self.currency)).filter(|cell| !cell.is_empty()).unwrap_or(other);
        let currency = Currency::parse(cell).map_err(|error| Bad::new("currency", error, cell))?;
        reading.book.currencies.add(currency).ok_or_else(|| Bad::new("currency", "is the 257th currency", cell))
    }

    #[inline(always)]
    pub(crate) fn scope(&self, record: Record<'_>, reading: &mut Reading<'_>) -> Result<u8, Bad> {
        if self.account == ABSENT && self.livemode == ABSENT {
            return Ok(reading.book.scopes.add(Scope::default()).unwrap_or_default());
        }
        let livemode = flag("livemode", record.cell(self.livemode))?;
        let cell = record.cell(self.account);
        let account = name("account", cell, reading)?;
        reading
            .book
            .scopes
            .add(Scope { account, livemode })
            .ok_or_else(|| Bad::new("account", "is one account too many: at most 255", cell))
    }
}

/// The columns of a moment, the UTC ones first: the others are in the report's time zone.
#[inline(always)]
pub(crate) fn moment(column: &'static str, cell: &[u8], reading: &Reading<'_>) -> Result<Moment, Bad> {
    if cell.is_empty() {
        return Ok(0);
    }
    parse_moment(cell, &reading.options.zone).ok_or_else(|| Bad::new(column, "is no moment between 1970 and 2106", cell))
}

/// The same for a column that is in UTC whatever the time zone of the period is.
#[inline(always)]
pub(crate) fn utc_moment(column: &'static str, cell: &[u8]) -> Result<Moment, Bad> {
    if cell.is_empty() {
        return Ok(0);
    }
    parse_moment(cell, &crate::text::Zone::utc()).ok_or_else(|| Bad::new(column, "is no moment between 1970 and 2106", cell))
}

#[inline(always)]
pub(crate) fn name(column: &'static str, cell: &[u8], reading: &mut Reading<'_>) -> Result<Name, Bad> {
    if cell.is_empty() {
        return Ok(Name::NONE);
    }
    reading.book.names.add(cell).map_err(|error| Bad::new(column, error.reason(), cell))
}

/// The name of a cell that was looked ahead at.
#[inline(always)]
pub(crate) fn id(column: &'static str, cell: IdCell<'_>, reading: &mut Reading<'_>) -> Result<Name, Bad> {
    if cell.is_empty() {
        return Ok(Name::NONE);
    }
    let Some(lookup) = cell.lookup else { return name(column, cell.text, reading) };
    reading.book.names.add_at(cell.text, lookup).map_err(|error| Bad::new(column, error.reason(), cell.text))
}

pub(crate) fn status(cell: &[u8]) -> Result<Status, Bad> {
    match Status::read(cell) {
        Some(status) => Ok(status),
        None => Status::read(&cell.to_ascii_lowercase()).ok_or_else(|| Bad::new("status", "is no status that is known", cell)),
    }
}

pub(crate) fn flag(column: &'static str, cell: &[u8]) -> Result<Option<bool>, Bad> {
    match cell {
        b"" => Ok(None),
        b"true" | b"TRUE" | b"True" | b"t" | b"1" | b"yes" => Ok(Some(true)),
        b"false" | b"FALSE" | b"False" | b"f" | b"0" | b"no" => Ok(Some(false)),
        _ => Err(Bad::new(column, "is neither true nor false", cell)),
    }
}
