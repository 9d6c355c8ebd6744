//! From bytes to rows. A row that cannot be read is quarantined with its line and the reason; nothing is guessed and nothing is lost.

mod bank;
mod cells;
mod ledger;
mod open;
mod payouts;
mod stripe;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use crate::request::Options;
use crate::rows::Book;
use crate::store::Lookup;
use crate::text::{ABSENT, Columns, Csv, CsvError, HeaderError, Record};

pub(crate) use bank::read_bank;
pub(crate) use ledger::read_ledger;
pub(crate) use open::{OpenItem, read_open};
pub(crate) use payouts::read_payouts;
pub(crate) use stripe::read_stripe;

/// So many quarantined rows are listed; all are counted.
const LISTED_MAX: usize = 10_000;

/// Why an input cannot be read at all.
#[derive(Debug)]
pub enum ReadError {
    /// The stream failed; the input itself may be good.
    Io(io::Error),
    /// The submitter's mistake.
    Invalid(String),
}

impl ReadError {
    fn header(input: Input, error: &HeaderError) -> Self {
        Self::Invalid(format!("input {:?} {error}", input.name()))
    }
}

/// Which input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    Ledger,
    Stripe,
    Payouts,
    Bank,
    Open,
}

impl Input {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Stripe => "stripe",
            Self::Payouts => "payouts",
            Self::Bank => "bank",
            Self::Open => "open",
        }
    }
}

/// Why one row was set aside: which column, what is wrong with it, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) column: &'static str,
    pub(crate) reason: String,
    pub(crate) cell: String,
}

impl Bad {
    pub(crate) fn new(column: &'static str, reason: impl ToString, cell: &[u8]) -> Self {
        let cell = String::from_utf8_lossy(cell).chars().take(40).collect();
        Self { column, reason: reason.to_string(), cell }
    }
}

/// A row that was set aside.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) input: Input,
    pub(crate) line: u64,
    pub(crate) bad: Bad,
}

/// Rows that were set aside.
#[derive(Default)]
pub(crate) struct Quarantine {
    pub(crate) listed: Vec<Quarantined>,
    pub(crate) counts: BTreeMap<(&'static str, &'static str, String), u64>,
    pub(crate) rows: u64,
}

impl Quarantine {
    pub(crate) fn add(&mut self, input: Input, line: u64, bad: Bad) {
        self.rows += 1;
        *self.counts.entry((input.name(), bad.column, bad.reason.clone())).or_default() += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Quarantined { input, line, bad });
        }
    }
}

/// Everything that reading needs besides the stream.
pub(crate) struct Reading<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) options: &'a Options,
    pub(crate) quarantine: &'a mut Quarantine,
}

/// So many records are looked at together.
const BLOCK_RECORDS: usize = 64;

/// How the columns of an input are read.
trait Columned: Sized {
    /// The columns whose cells are ids.
    fn keys(&self) -> Vec<usize> {
        Vec::new()
    }
}

/// Reads every row of one input: `plan` makes a layout of the columns, `row` takes one record by it. Answers with the number of records.
fn each_row<L: Columned>(
    from: impl BufRead,
    input: Input,
    reading: &mut Reading<'_>,
    plan: impl FnOnce(&Columns, &mut Reading<'_>) -> Result<L, HeaderError>,
    mut row: impl FnMut(&L, Record<'_>, &mut Reading<'_>) -> Result<(), Bad>,
) -> Result<u64, ReadError> {
    let mut csv = Csv::new(from);
    let trouble = |error| match error {
        CsvError::Io(error) => ReadError::Io(error),
        CsvError::TooLong(line) => {
            ReadError::Invalid(format!("input {:?}, line {line}: a record of more than 1 MiB; is a quote not closed?", input.name()))
        }
    };
    let columns = Columns::read(csv.header().map_err(trouble)?).map_err(|error| ReadError::header(input, &error))?;
    let layout = plan(&columns, reading).map_err(|error| ReadError::header(input, &error))?;
    let mut count = 0;
    let keys: Vec<usize> = layout.keys().into_iter().filter(|column| *column != ABSENT).collect();
    let mut lookups = Vec::with_capacity(BLOCK_RECORDS * keys.len());
    while let Some(block) = csv.block(BLOCK_RECORDS).map_err(trouble)? {
        lookups.clear();
        for record in block.records() {
            lookups.extend(keys.iter().map(|column| Lookup::of(record.cell(*column))));
        }
        reading.book.names.look_ahead(&mut lookups);
        let mut lookups = lookups.as_slice();
        let unclosed = block.unclosed();
        for record in block.records() {
            let (these, others) = lookups.split_at_checked(keys.len()).unwrap_or_default();
            let record = record.with_lookups(&keys, these);
            lookups = others;
            count += 1;
            let read = if unclosed == Some(record.line) {
                Err(Bad::new(
                    "",
                    "has a quote that is never closed: it is torn, or the rows behind it are inside the quote",
                    record.cell(0),
                ))
            } else if record.len() == columns.len() {
                row(&layout, record, reading)
            } else {
                Err(Bad::new("", format!("has {} cells where the header has {}", record.len(), columns.len()), record.cell(0)))
            };
            if let Err(bad) = read {
                reading.quarantine.add(input, record.line, bad);
            }
        }
    }
    Ok(count)
}
