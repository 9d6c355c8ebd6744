//! Lines for the task's log, which the submitter and the operator can read. Needs the capability `log`.

use std::fmt::Display;

use crate::host::calls;

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For following single steps.
    Trace,
    /// For finding mistakes.
    Debug,
    /// What happened.
    Info,
    /// Something is odd, the work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line with fields. It counts towards `log_bytes`; going over that limit ends the run.
pub fn write(level: Level, message: impl Display, fields: &[(&str, &str)]) {
    calls::log(level, &message.to_string(), fields);
}

/// A line for following single steps.
pub fn trace(message: impl Display) {
    write(Level::Trace, message, &[]);
}

/// A line for finding mistakes.
pub fn debug(message: impl Display) {
    write(Level::Debug, message, &[]);
}

/// What happened.
pub fn info(message: impl Display) {
    write(Level::Info, message, &[]);
}

/// Something is odd, the work goes on.
pub fn warn(message: impl Display) {
    write(Level::Warn, message, &[]);
}

/// Something failed.
pub fn error(message: impl Display) {
    write(Level::Error, message, &[]);
}
