//! `taskwarden stripe import`: a file of Stripe's into the ledger, without a running host.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::app;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::store::ledger::{LedgerStore, LoadReport, Source, load};
use crate::stripe::import::{DecimalSeparator, ImportKind, ImportOptions, read};
use crate::stripe::ledger::{Mode, Owner};

/// Arguments of `taskwarden stripe import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file
    file: PathBuf,
    /// What it holds: `api` for JSON of Stripe's API, or the report's name, such as `payouts.itemized.3`
    #[arg(long)]
    kind: ImportKind,
    /// Whether it is about real money: `live` or `test`
    #[arg(long)]
    mode: Mode,
    /// The connected account (acct_…) it is about
    #[arg(long, default_value = "")]
    account: String,
    /// The payout that a list of balance transactions was asked for
    #[arg(long, value_name = "ID")]
    payout: Option<String>,
    /// How the report writes its decimals: `point` or `comma`
    #[arg(long, default_value = "point")]
    decimal_separator: DecimalSeparator,
    /// The IANA time zone of a report without UTC columns
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The metadata key of your order's id [default: the configuration's]
    #[arg(long, value_name = "KEY")]
    order_key: Option<String>,
    /// The configuration of the host
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The host's data folder [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads the file. Exit code 1 when some rows could not be read; the others are in the ledger then.
///
/// # Errors
/// When the file is not what it was said to be, or the database cannot be opened.
pub(super) fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(import(args))
}

async fn import(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(data) = args.data {
        config.data_dir = data;
    }
    let owner = Owner { account: args.account, livemode: args.mode == Mode::Live };
    let mut options = ImportOptions::new(args.kind, owner.clone());
    options.payout = args.payout;
    options.decimal_separator = args.decimal_separator;
    let order_key = args.order_key.unwrap_or_else(|| config.stripe.sync.order_key.clone());
    options.order_key.clone_from(&order_key);
    options.time_zone = args
        .time_zone
        .map(|name| jiff::tz::TimeZone::get(&name).map_err(|_| anyhow!("{name:?} is not an IANA time zone such as Europe/Berlin")))
        .transpose()?;
    let opened = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let entries = read(BufReader::with_capacity(1 << 20, opened), options).with_context(|| args.file.display().to_string())?;
    let store = app::open_admin(&config).await?;
    let name = args.file.display().to_string();
    let source = Source { owner: &owner, name: &name, order_key: &order_key };
    let loaded = load(&*store as &dyn LedgerStore, source, entries, &SystemClock::shared()).await;
    let report = loaded.with_context(|| name.clone())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.counts.quarantined == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &LoadReport) {
    let counts = report.counts;
    println!(
        "{} added, {} changed, {} unchanged, {} quarantined; {} other objects",
        counts.added, counts.changed, counts.unchanged, counts.quarantined, report.objects
    );
    for row in &report.first_quarantined {
        eprintln!("line {}: {}", row.line, row.reason);
    }
}
