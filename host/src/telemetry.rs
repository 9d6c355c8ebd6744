//! The host's own log: structured lines on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::config::{Log, LogFormat};

/// Starts logging. Called once, by the binary.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|error| format!("log.filter {:?}: {error}", log.filter))?;
    let lines: SubscriberBuilder = tracing_subscriber::fmt();
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = lines.with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| format!("the log could not be started: {error}"))
}
