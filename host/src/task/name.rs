//! Identifiers, checked once when they come in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// A task's identity, a UUIDv7: it sorts by the time of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl TaskId {
    /// A new identity, later than every one this process made before.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "an identity is made on purpose, never by default")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| NameError(format!("{text:?} is not a task id (a UUID)")))
    }
}

/// Why a name was refused, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

macro_rules! name_type {
    ($(#[doc = $doc:literal])+ $name:ident, $check:expr) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// A sentence that says what a valid one looks like.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(text).map_err(NameError)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// What kind of work a task is; with the model it chooses the plugin. 1 to 128 of `A-Z a-z 0-9 . _ - :`.
    TaskType, |text| identifier("a task type", text, 128)
);
name_type!(
    /// Which AI model the work is meant for. 1 to 255 characters, none of them a control character or `*`.
    AiModel, |text| free_text("an AI model", text, 255)
);
name_type!(
    /// Who the work is for. 1 to 128 of `A-Z a-z 0-9 . _ - :`.
    Tenant, |text| identifier("a tenant", text, 128)
);
name_type!(
    /// Chosen by the submitter so that repeating a submission does not repeat the task. 1 to 255 visible characters.
    IdempotencyKey, |text| free_text("an idempotency key", text, 255)
);

fn identifier(what: &str, text: &str, max: usize) -> Result<(), String> {
    let fine = !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b));
    if fine { Ok(()) } else { Err(format!("{} is not {what}: 1 to {max} letters, digits, '.', '_', '-' or ':'", shown(text))) }
}

fn free_text(what: &str, text: &str, max: usize) -> Result<(), String> {
    let fine = !text.is_empty() && text.chars().count() <= max && !text.chars().any(|c| c.is_control() || c == '*');
    if fine { Ok(()) } else { Err(format!("{} is not {what}: 1 to {max} characters, no control characters and no '*'", shown(text))) }
}

/// A name as it may appear in an error: quoted and short, whatever was sent.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// A lane: the tasks of one type for one model. Lanes have a concurrency cap, a pause switch and a weight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneKey {
    /// The task type.
    pub task_type: TaskType,
    /// The model, or none.
    pub ai_model: Option<AiModel>,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ai_model {
            Some(model) => write!(f, "{}/{model}", self.task_type),
            None => write!(f, "{}", self.task_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_and_the_refusal_is_short() {
        assert!(TaskType::new("anomaly.score").is_ok());
        assert!(TaskType::new("no spaces").is_err());
        assert!(AiModel::new("claude-3/opus latest").is_ok());
        assert!(AiModel::new("gpt*").is_err());
        assert!(AiModel::new(&"é".repeat(255)).is_ok());
        assert!(AiModel::new(&"x".repeat(100_000)).is_err_and(|e| e.0.len() < 200));
    }
}
