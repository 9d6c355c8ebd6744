//! `taskwarden income …`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::app;
use crate::clock::UnixMs;
use crate::config::Config;
use crate::store::stripe::Difference;
use crate::stripe::income::Sums;

/// Arguments of `taskwarden income`.
#[derive(Debug, Args)]
pub(super) struct IncomeArgs {
    #[command(subcommand)]
    command: IncomeCommand,
}

#[derive(Debug, Subcommand)]
enum IncomeCommand {
    /// Compute all sums anew from the facts and compare them with the running ones: exit code 0 when all are equal
    Verify {
        /// The configuration of the host
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The host's data folder [default: the configuration's]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs one of the verbs.
///
/// # Errors
/// When the database cannot be opened.
pub(super) fn run(args: IncomeArgs) -> anyhow::Result<ExitCode> {
    let IncomeCommand::Verify { config, data, json } = args.command;
    let mut config = Config::load(config.as_deref())?;
    if let Some(data) = data {
        config.data_dir = data;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(verify(&config, json))
}

async fn verify(config: &Config, as_json: bool) -> anyhow::Result<ExitCode> {
    let audit = app::open_admin(config).await?.audit_income().await?;
    let equal = audit.differences.is_empty();
    if as_json {
        let differences: Vec<_> = audit.differences.iter().map(shown).collect();
        println!("{}", json!({ "equal": equal, "facts": audit.facts, "sums": audit.cells, "differences": differences }));
    } else {
        for difference in &audit.differences {
            println!("{}", shown(difference));
        }
        println!("{} facts, {} sums, {} of them differ", audit.facts, audit.cells, audit.differences.len());
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(difference: &Difference) -> serde_json::Value {
    let cell = &difference.cell;
    let sums = |sums: &Sums| json!({ "count": sums.count, "amount": sums.amount, "fee": sums.fee, "net": sums.net });
    json!({
        "start": UnixMs(cell.bucket_ms).to_rfc3339(),
        "account": cell.owner.account,
        "livemode": cell.owner.livemode,
        "basis": cell.basis.name(),
        "balance_type": cell.balance_type,
        "currency": cell.currency,
        "category": cell.category,
        "running": sums(&difference.running),
        "recomputed": sums(&difference.recomputed),
    })
}
