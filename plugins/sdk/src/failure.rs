//! Why a task was not done, and how other errors become that.

use std::any::Any;
use std::fmt::Display;
use std::io;
use std::time::Duration;

/// Why a task was not done; the kind decides whether the host tries again.
///
/// `?` turns any error into a [`Failure::Permanent`], except I/O errors whose kind says that they pass (interrupted, timed out, …) and
/// errors of the host's own streams, which become [`Failure::Transient`]. To choose yourself, see [`OrFail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The task itself is wrong; it is not retried.
    Invalid(String),
    /// Trying again will not help; it is not retried.
    Permanent(String),
    /// Trying again may help; it is retried until its attempts are used up.
    Transient {
        /// Why, in words for the operator.
        reason: String,
        /// How long to wait before the next attempt; without it the host backs off exponentially.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// The submitter's mistake: say which field and what was expected.
    pub fn invalid(reason: impl Display) -> Self {
        Self::Invalid(reason.to_string())
    }

    /// Trying again will not help.
    pub fn permanent(reason: impl Display) -> Self {
        Self::Permanent(reason.to_string())
    }

    /// Trying again may help; the host decides when.
    pub fn transient(reason: impl Display) -> Self {
        Self::Transient { reason: reason.to_string(), retry_after: None }
    }

    /// Trying again may help, not before `wait` has passed.
    pub fn transient_after(reason: impl Display, wait: Duration) -> Self {
        Self::Transient { reason: reason.to_string(), retry_after: Some(wait) }
    }

    /// The words without the kind.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Invalid(reason) | Self::Permanent(reason) | Self::Transient { reason, .. } => reason,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Invalid(_) => "invalid",
            Self::Permanent(_) => "permanent",
            Self::Transient { .. } => "transient",
        };
        write!(f, "{kind}: {}", self.reason())
    }
}

// `Failure` itself is not a `std::error::Error`: the blanket conversion below would then overlap with the one of every type to itself.
impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let passes = (&error as &dyn Any).downcast_ref::<io::Error>().is_some_and(may_pass);
        if passes { Self::transient(chain(&error)) } else { Self::permanent(chain(&error)) }
    }
}

/// The error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = deeper.source();
    }
    text
}

fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let passing =
        [Kind::Interrupted, Kind::TimedOut, Kind::WouldBlock, Kind::ConnectionReset, Kind::ConnectionAborted, Kind::ConnectionRefused];
    passing.contains(&error.kind()) || error.get_ref().is_some_and(|inner| inner.is::<HostTrouble>())
}

/// What the host answered when one of its streams failed. The stream, not the task, is at fault.
#[derive(Debug)]
pub(crate) struct HostTrouble(pub(crate) String);

impl Display for HostTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostTrouble {}

/// Chooses the kind of failure where `?` alone would choose wrongly.
pub trait OrFail<T> {
    /// An error here is the submitter's mistake; `what` says where.
    ///
    /// # Errors
    /// [`Failure::Invalid`].
    fn or_invalid(self, what: impl Display) -> Result<T, Failure>;
    /// An error here will not go away.
    ///
    /// # Errors
    /// [`Failure::Permanent`].
    fn or_permanent(self, what: impl Display) -> Result<T, Failure>;
    /// An error here may go away by itself.
    ///
    /// # Errors
    /// [`Failure::Transient`].
    fn or_transient(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_invalid(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::invalid(format!("{what}: {e}")))
    }

    fn or_permanent(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::permanent(format!("{what}: {e}")))
    }

    fn or_transient(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|e| Failure::transient(format!("{what}: {e}")))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_invalid(self, what: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::invalid(what))
    }

    fn or_permanent(self, what: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::permanent(what))
    }

    fn or_transient(self, what: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::transient(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(error: impl Into<Failure>) -> Failure {
        error.into()
    }

    #[test]
    fn the_question_mark_chooses_by_what_the_error_is() {
        let not_a_number = "x".parse::<u8>().expect_err("no number");
        assert_eq!(asked(not_a_number.clone()), Failure::permanent(&not_a_number));
        assert!(matches!(asked(io::Error::from(io::ErrorKind::TimedOut)), Failure::Transient { .. }));
        assert!(
            matches!(asked(io::Error::other(HostTrouble("blob store away".into()))), Failure::Transient { reason, .. } if reason == "blob store away")
        );
        assert!(matches!(asked(io::Error::from(io::ErrorKind::InvalidData)), Failure::Permanent(_)));
    }

    #[test]
    fn context_comes_first() {
        assert_eq!("x".parse::<u8>().or_invalid("field size"), Err(Failure::invalid("field size: invalid digit found in string")));
        assert_eq!(None::<u8>.or_permanent("no size"), Err(Failure::permanent("no size")));
    }
}
