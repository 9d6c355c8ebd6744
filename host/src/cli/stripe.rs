//! `taskwarden stripe …`: what can be asked about Stripe's messages without a host.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::stripe_import::{self as import, ImportArgs};
use crate::clock::{Clock as _, SystemClock};
use crate::secret::Secret;
use crate::stripe::signature::{self, TOLERANCE_S};

/// Larger than anything that Stripe sends.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `taskwarden stripe`.
#[derive(Debug, Args)]
pub(super) struct StripeArgs {
    #[command(subcommand)]
    command: StripeCommand,
}

#[derive(Debug, Subcommand)]
enum StripeCommand {
    /// Say whether the webhook body on stdin is genuine: exit code 0 if it is, 1 if it is refused, 2 for wrong usage
    Verify(VerifyArgs),
    /// Read a file of Stripe's, JSON of its API or a report, into the ledger; exit code 1 if some rows could not be read
    Import(Box<ImportArgs>),
}

#[derive(Args)]
struct VerifyArgs {
    /// The endpoint's signing secret, whole; several while one is being replaced
    #[arg(long = "secret", value_name = "SECRET", required = true, num_args = 1..)]
    secrets: Vec<String>,
    /// What the Stripe-Signature header said
    #[arg(long, value_name = "HEADER", allow_hyphen_values = true)]
    header: String,
    /// What time it is, in seconds since 1970 [default: now]
    #[arg(long, value_name = "UNIX", allow_negative_numbers = true)]
    now: Option<i64>,
    /// How far the time of signing may be from that, either way
    #[arg(long, value_name = "SECONDS", default_value_t = TOLERANCE_S)]
    tolerance: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl std::fmt::Debug for VerifyArgs {
    /// Shows that there are secrets and not which.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyArgs").field("secrets", &self.secrets.len()).field("header", &self.header).finish_non_exhaustive()
    }
}

/// Runs one of the verbs.
///
/// # Errors
/// When the body cannot be read.
pub(super) fn run(args: StripeArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        StripeCommand::Verify(args) => verify(&args),
        StripeCommand::Import(args) => import::run(*args),
    }
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        eprintln!("taskwarden: reading the body from the terminal; usually one says < FILE");
    }
    let mut body = Vec::new();
    std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut body).context("the body cannot be read from stdin")?;
    if body.len() as u64 > BODY_BYTES_MAX {
        bail!("the body is larger than {BODY_BYTES_MAX} bytes, which no webhook of Stripe's is");
    }
    let now_s = args.now.unwrap_or_else(|| SystemClock::new().now().0.div_euclid(1000));
    // One bad secret among good ones is a mistake too: better said than ignored.
    let secrets: Result<Vec<_>, _> = args.secrets.iter().map(|text| Secret::new(text)).collect();
    let verdict = secrets.map_err(|error| ("no_secret", error.to_string())).and_then(|secrets| {
        signature::verify(&secrets, args.header.as_bytes(), &body, now_s, args.tolerance)
            .map_err(|refusal| (refusal.code(), refusal.to_string()))
    });
    match verdict {
        Ok(genuine) if args.json => println!("{}", json!({ "genuine": true, "signed_at": genuine.signed_at_s })),
        Ok(genuine) => println!("genuine, signed at {}", genuine.signed_at_s),
        Err((code, why)) if args.json => {
            println!("{}", json!({ "genuine": false, "refusal": code, "detail": why }));
            return Ok(ExitCode::FAILURE);
        }
        Err((_, why)) => {
            eprintln!("refused: {why}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
