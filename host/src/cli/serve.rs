//! `taskwarden serve`: the host itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Host;
use crate::clock::SystemClock;
use crate::config::{Config, LogFormat};
use crate::secret::DatabaseUrl;
use crate::telemetry;

/// Arguments of `taskwarden serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Settings; `taskwarden config print-default` shows them all
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database and the caches live
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A database that several hosts share, as postgres://user:password@host/name; where others can see command lines, set
    /// TASKWARDEN_DATABASE instead
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where the HTTP API listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// Runs a host until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(data) = args.data {
        config.data_dir = data;
    }
    if let Some(database) = args.database {
        config.database = DatabaseUrl::new(&database).map_err(anyhow::Error::msg)?;
    }
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    telemetry::start(&config.log.filter, config.log.format == LogFormat::Json).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let host = Host::start(config, SystemClock::shared()).await?;
        // Alone on stdout, for whoever started us on port 0.
        println!("listening on http://{}", host.address());
        told_to_stop().await?;
        tracing::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = host.stop() => Ok(ExitCode::SUCCESS),
            again = told_to_stop() => again.map(|()| ExitCode::FAILURE),
        }
    })
}

async fn told_to_stop() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
