//! One run from streams to streams.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use crate::carry::carry;
use crate::class::Class;
use crate::kind::Kind;
use crate::read::{Input, OpenItem, Quarantine, ReadError, Reading, read_bank, read_ledger, read_open, read_payouts, read_stripe};
use crate::report::{Facts, Report, Said, Summary, measure_breaks, summarise, write_breaks, write_matches, write_quarantine};
use crate::request::Options;
use crate::rows::{Book, Scope, Table};
use crate::settle::{Context, Settled, derive_payouts, find_repeats, settle};
use crate::store::Name;

/// Bytes of input for each different id, roughly: what the first table of ids is made for.
const BYTES_PER_NAME: u64 = 53;

/// What a run reads.
pub struct Inputs<'a> {
    /// Our books.
    pub ledger: Box<dyn BufRead + 'a>,
    /// Balance transactions.
    pub stripe: Box<dyn BufRead + 'a>,
    /// Payouts; without them they are made from their balance transactions.
    pub payouts: Option<Box<dyn BufRead + 'a>>,
    /// The bank's account.
    pub bank: Option<Box<dyn BufRead + 'a>>,
    /// `breaks.csv` of the run before.
    pub open: Option<Box<dyn BufRead + 'a>>,
    /// How many bytes all of them have together, as far as that is known.
    pub size_bytes: u64,
}

/// Where a run's files go.
pub trait Sink {
    /// One file.
    type File: Write;

    /// Starts a file.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn create(&mut self, name: &str, media_type: &str) -> io::Result<Self::File>;
}

/// Everything that was found, ready to be written.
pub struct Reconciliation<'a> {
    options: &'a Options,
    book: Book,
    quarantine: Quarantine,
    open: Vec<OpenItem>,
    payouts_derived: bool,
    facts: Facts,
}

/// Reads everything. Deciding and writing is [`Reconciliation::write`].
///
/// # Errors
/// When an input cannot be read at all. Single rows that cannot be read are quarantined instead.
pub fn reconcile<'a>(inputs: Inputs<'_>, options: &'a Options) -> Result<Reconciliation<'a>, ReadError> {
    let names = usize::try_from(inputs.size_bytes / BYTES_PER_NAME).unwrap_or(0);
    let mut book = Book::with_room(names);
    let mut quarantine = Quarantine::default();
    let mut rows: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut reading = Reading { book: &mut book, options, quarantine: &mut quarantine };
    rows.insert(Input::Ledger.name(), read_ledger(inputs.ledger, &mut reading)?);
    rows.insert(Input::Stripe.name(), read_stripe(inputs.stripe, &mut reading)?);
    if let Some(payouts) = inputs.payouts {
        rows.insert(Input::Payouts.name(), read_payouts(payouts, &mut reading)?);
    }
    if let Some(bank) = inputs.bank {
        rows.insert(Input::Bank.name(), read_bank(bank, &mut reading)?);
    }
    let mut open = Vec::new();
    if let Some(from) = inputs.open {
        open = read_open(from, &mut reading)?;
        rows.insert(Input::Open.name(), open.len() as u64);
    }
    // Before open items come in: payouts among them must not look like an input of payouts.
    let payouts_derived = derive_payouts(&mut book);
    let carried = carry(&mut book, &open);
    book.names.close();
    Ok(Reconciliation { options, book, quarantine, open, payouts_derived, facts: Facts { rows, carried } })
}

impl Reconciliation<'_> {
    /// Decides what every row is, writes `breaks.csv`, `matches.csv`, `report.json` and, if there are any, `quarantine.csv`.
    ///
    /// # Errors
    /// When a file cannot be written, or the rows are of several accounts and none was named.
    pub fn write(self, sink: &mut impl Sink) -> Result<Summary, ReadError> {
        let excluded = excluded_scopes(&self.book, self.options)?;
        let has = |kind: Kind| self.book.ledger.has_kind(&[kind]);
        let context = Context {
            book: &self.book,
            options: self.options,
            as_of: self.as_of(),
            excluded,
            repeats: find_repeats(&self.book),
            orders_meet_ledger: has(Kind::Order) && has(Kind::Charge),
            has_orders: has(Kind::Order),
            payouts_derived: self.payouts_derived,
        };
        let settled = settle(&context);
        refuse_endless(&context, &settled)?;
        self.write_all(&context, &settled, sink).map_err(ReadError::Io)
    }

    fn write_all(&self, context: &Context<'_>, settled: &Settled, sink: &mut impl Sink) -> io::Result<Summary> {
        let Said { mut summary, legs, invariants, fx } = summarise(context, settled, &self.quarantine, &self.facts);
        let text = |name: Name| self.book.names.text(name).to_owned();
        let before: BTreeMap<String, String> = self.open.iter().map(|item| (text(item.id), text(item.first_seen))).collect();
        summary.lifecycle = write_breaks(context, settled, &before, sink.create("breaks.csv", "text/csv")?)?;
        if self.options.write_matches {
            write_matches(context, settled, sink.create("matches.csv", "text/csv")?)?;
        }
        if self.quarantine.rows > 0 {
            write_quarantine(&self.quarantine, sink.create("quarantine.csv", "text/csv")?)?;
        }
        let show = crate::text::show_moment;
        let report = Report {
            summary: &summary,
            period: self.options.period.map(|(from, to)| (show(from), show(to))),
            timezone: self.options.zone.name().to_owned(),
            legs: &legs,
            invariants: &invariants,
            fx: &fx,
            group_search: settled.groups.into(),
            suggestions_left_out: settled.findings.suggestions_left_out,
            carried_rows: self.facts.carried,
            repeats_dropped: settled.repeats_dropped,
        };
        let mut file = sink.create("report.json", "application/json")?;
        serde_json::to_writer_pretty(&mut file, &report)?;
        file.write_all(b"\n")?;
        file.flush()?;
        Ok(summary)
    }

    /// As declared; else the end of the period; else the last moment that any row knows of. A sandbox has no clock, and should not: the same
    /// input gives the same answer on any day.
    fn as_of(&self) -> u32 {
        let last = || {
            let tables = [&self.book.ledger, &self.book.stripe, &self.book.payouts, &self.book.bank];
            tables.into_iter().map(Table::latest).max().unwrap_or(0)
        };
        self.options.as_of.or(self.options.period.map(|(_, to)| to)).unwrap_or_else(last)
    }
}

/// Says before anything is written that it would be too much: rows that look alike, without an id in common, are all breaks.
fn refuse_endless(context: &Context<'_>, settled: &Settled) -> Result<(), ReadError> {
    let (lines, least_bytes) = measure_breaks(context, settled);
    let most = context.options.breaks_bytes_max;
    if least_bytes <= most {
        return Ok(());
    }
    let alike = settled.findings.all.iter().filter(|(_, finding)| finding.class == Class::Ambiguous).count();
    Err(ReadError::Invalid(format!(
        "breaks.csv would have {lines} lines, {alike} of them for rows that look alike, and more than {least_bytes} bytes: breaks_bytes_max \
         allows {most}. Give the rows an id that the other side has too, or reconcile a shorter period; if so many breaks are meant, raise \
         breaks_bytes_max in the payload and the limit output_bytes"
    )))
}

/// Which scopes are left out, and why. Sums over two accounts mean nothing, so one has to be named when there are several.
fn excluded_scopes(book: &Book, options: &Options) -> Result<Vec<Option<Class>>, ReadError> {
    let scopes: Vec<Scope> = book.scopes.iter().map(|(_, scope)| scope).collect();
    let accounts: BTreeSet<&str> =
        scopes.iter().filter(|scope| scope.account.is_some()).map(|scope| book.names.text(scope.account)).collect();
    if accounts.len() > 1 && options.account.is_none() {
        let names: Vec<&str> = accounts.into_iter().take(5).collect();
        return Err(ReadError::Invalid(format!(
            "the inputs have rows of several accounts ({}): name the one to reconcile in the payload's account",
            names.join(", ")
        )));
    }
    let any_live = scopes.iter().any(|scope| scope.livemode == Some(true));
    let livemode = options.livemode.unwrap_or(any_live);
    let class = |scope: &Scope| {
        let other = options.account.as_ref().is_some_and(|account| scope.account.is_some() && book.names.text(scope.account) != account);
        if other { Some(Class::WrongAccount) } else { scope.livemode.filter(|mode| *mode != livemode).map(|_| Class::TestLiveMixed) }
    };
    Ok(scopes.iter().map(class).collect())
}
