//! `taskwarden migrate`: bring a database to the shape this build expects.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app;
use crate::config::Config;
use crate::secret::DatabaseUrl;
use crate::store::{postgres, sqlite};

/// Arguments of `taskwarden migrate`.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// The configuration of the host
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The host's data folder [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A database that several hosts share, as postgres://user:password@host/name; where others can see command lines, set
    /// TASKWARDEN_DATABASE instead
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Migrates, or says what that would do.
///
/// # Errors
/// When the database cannot be opened or a migration fails; the database is as before then.
pub(super) fn run(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(data) = args.data {
        config.data_dir = data;
    }
    if let Some(database) = args.database {
        config.database = DatabaseUrl::new(&database).map_err(anyhow::Error::msg)?;
    }
    let (report, place) = match config.database.expose() {
        Some(url) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            (runtime.block_on(postgres::migrate(url, args.dry_run))?, "the database".to_owned())
        }
        None => {
            let path = app::database_path(&config);
            if !args.dry_run {
                app::make_data_dir(&config.data_dir)?;
            }
            (sqlite::migrate(&path, args.dry_run)?, path.display().to_string())
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (verb, tense) = if report.dry_run { ("would run", "would be") } else { ("ran", "are now") };
    println!("{place}: {}", if report.existed { "a database is there" } else { "no database is there yet" });
    if report.applied.is_empty() {
        println!("up to date; nothing to do");
    }
    for name in &report.applied {
        println!("{verb} {name}");
    }
    let before = |table: &str| report.rows_before.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows);
    for (table, rows) in &report.rows_after {
        let was = before(table);
        if was.is_some_and(|was| was > 0) || *rows > 0 {
            println!("{table}: {} rows, {tense} {rows}", was.unwrap_or(0));
        }
    }
    Ok(ExitCode::SUCCESS)
}
