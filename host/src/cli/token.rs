//! `taskwarden token …`: tokens without a running host.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::app;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::secret::DatabaseUrl;
use crate::store::{SideStore, TokenRecord, TokenScope};
use crate::token::NewToken;

/// Arguments of `taskwarden token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it alone on stdout; it cannot be shown again
    Create {
        /// What it may do; several are separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        scope: Vec<Scope>,
        /// For your own memory
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the tokens there are
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Forget a token; a running host notices within seconds
    Revoke {
        /// The id that `list` shows
        id: uuid::Uuid,
        #[command(flatten)]
        place: Place,
    },
}

/// Which database.
#[derive(Debug, Args)]
struct Place {
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
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    Submit,
    Read,
    Admin,
}

impl Scope {
    fn token_scope(self) -> TokenScope {
        match self {
            Self::Submit => TokenScope::Submit,
            Self::Read => TokenScope::Read,
            Self::Admin => TokenScope::Admin,
        }
    }
}

/// Runs one of the verbs.
///
/// # Errors
/// When the database cannot be opened.
pub(super) fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(act(args.command))
}

async fn act(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create { scope, label, place } => {
            let store = open(place).await?;
            let token = NewToken::generate();
            let mut scopes: Vec<_> = scope.into_iter().map(Scope::token_scope).collect();
            scopes.sort_unstable();
            scopes.dedup();
            let record = TokenRecord { id: uuid::Uuid::now_v7(), hash: token.hash(), scopes, label, created_at: SystemClock::new().now() };
            store.put_token(record).await?;
            println!("{}", token.reveal());
        }
        TokenCommand::List { json: as_json, place } => {
            let tokens = open(place).await?.tokens().await?;
            if as_json {
                let list: Vec<_> = tokens
                    .iter()
                    .map(|t| json!({ "id": t.id, "scopes": t.scopes, "label": t.label, "created_at": t.created_at.to_rfc3339() }))
                    .collect();
                println!("{}", serde_json::to_string_pretty(&json!({ "tokens": list }))?);
            } else {
                for token in tokens {
                    println!("{}  {:<40} {}", token.id, format!("{:?}", token.scopes), token.label);
                }
            }
        }
        TokenCommand::Revoke { id, place } => {
            if !open(place).await?.remove_token(id).await? {
                bail!("there is no token {id}; `taskwarden token list` shows those there are");
            }
            eprintln!("revoked {id}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(place: Place) -> anyhow::Result<Box<dyn SideStore>> {
    let mut config = Config::load(place.config.as_deref())?;
    if let Some(data) = place.data {
        config.data_dir = data;
    }
    if let Some(database) = place.database {
        config.database = DatabaseUrl::new(&database).map_err(anyhow::Error::msg)?;
    }
    app::open_admin(&config).await
}
