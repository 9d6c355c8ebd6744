//! The host's own log: structured lines on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// Starts logging lines that pass `filter` (as in `EnvFilter`), as text or as JSON. Called once, by the binary.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, as_json: bool) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| format!("log.filter {filter:?}: {error}"))?;
    let lines: SubscriberBuilder = tracing_subscriber::fmt();
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = lines.with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let started = if as_json { lines.json().try_init() } else { lines.try_init() };
    started.map_err(|error| format!("the log could not be started: {error}"))
}
