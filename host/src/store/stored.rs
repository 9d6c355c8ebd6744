//! Between checked types and stored text, in both directions, for every database.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{LimitScope, Result, StoreError};
use crate::task::{AiModel, IdempotencyKey, LaneKey, LogLevel, Priority, Receipt, TaskId, TaskPlan, TaskType, Tenant};

/// What one attempt counts for in the host's own figures.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) plugin: Box<str>,
    pub(super) plugin_version: Box<str>,
    pub(super) queue_ms: u64,
    pub(super) run_ms: u64,
    pub(super) fuel: u64,
}

impl Figures {
    pub(super) fn of(receipt: &Receipt) -> Self {
        Self {
            plugin: receipt.plugin.as_str().into(),
            plugin_version: receipt.plugin_version.as_str().into(),
            queue_ms: receipt.queue_ms,
            run_ms: receipt.run_ms,
            fuel: receipt.fuel_used,
        }
    }
}

/// A stored value that this host would never have written.
pub(super) fn damaged(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(format!("{what} cannot be read back ({why}); was the table changed by hand?"))
}

/// A lane's name. People may write into the public table by hand; a name that could never have come in is mended rather than
/// refused, so that one odd row does not hide all the others.
pub(super) fn lane_key(task_type: &str, ai_model: Option<&str>) -> LaneKey {
    let task_type = TaskType::new(task_type).unwrap_or_else(|_| {
        let mended: String =
            task_type.chars().take(128).map(|c| if c.is_ascii_alphanumeric() || "._-:".contains(c) { c } else { '_' }).collect();
        TaskType::new(&mended).unwrap_or_else(|_| unnamed())
    });
    LaneKey { task_type, ai_model: ai_model.and_then(|model| AiModel::new(model).ok()) }
}

#[expect(clippy::expect_used, reason = "a constant that is a valid name")]
fn unnamed() -> TaskType {
    TaskType::new("unknown").expect("a valid name")
}

pub(super) fn task_id(text: &str) -> Result<TaskId> {
    text.parse().map_err(|error| damaged("a task's id", error))
}

/// An unknown word reads as normal: urgency is no reason to lose a task.
pub(super) fn priority(text: &str) -> Priority {
    text.parse().unwrap_or_default()
}

/// JSON as it was kept; text that is not JSON (written by hand) reads as a JSON string.
pub(super) fn json(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text.clone()).or_else(|_| serde_json::value::to_raw_value(&text)).map_err(|error| damaged("a JSON value", error))
}

fn parsed<T: DeserializeOwned + Default>(what: &str, text: Option<&str>) -> Result<T> {
    text.map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|error| damaged(what, error)))
}

pub(super) fn plan(inputs: Option<&str>, tags: Option<&str>, limits: Option<&str>) -> Result<TaskPlan> {
    Ok(TaskPlan {
        inputs: parsed("a task's inputs", inputs)?,
        tags: parsed("a task's tags", tags)?,
        limits: parsed("a task's limits", limits)?,
    })
}

pub(super) fn tenant(text: Option<&str>) -> Option<Tenant> {
    text.and_then(|text| Tenant::new(text).ok())
}

pub(super) fn idempotency_key(text: Option<&str>) -> Option<IdempotencyKey> {
    text.and_then(|text| IdempotencyKey::new(text).ok())
}

/// JSON text, or nothing when there is nothing to say.
pub(super) fn json_unless(silent: bool, value: &impl Serialize) -> Result<Option<String>> {
    if silent {
        return Ok(None);
    }
    let text = serde_json::to_string(value).map_err(|error| StoreError::Broken(format!("a value cannot be written as JSON: {error}")))?;
    Ok(Some(text))
}

/// The name of a log line's level.
pub(super) fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// A SHA-256.
pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32]> {
    <[u8; 32]>::try_from(bytes).map_err(|error| damaged("a digest", error))
}

/// The two columns of a limit setting's scope.
pub(super) fn scope_text(scope: LimitScope) -> (&'static str, String) {
    match scope {
        LimitScope::Host => ("host", String::new()),
        LimitScope::TaskType(name) => ("task_type", name.to_string()),
        LimitScope::AiModel(name) => ("ai_model", name.to_string()),
        LimitScope::Plugin(name) => ("plugin", name),
    }
}

/// The scope of a limit setting from its two columns.
pub(super) fn scope_back(scope: &str, name: String) -> Result<LimitScope> {
    match scope {
        "host" => Ok(LimitScope::Host),
        "task_type" => Ok(LimitScope::TaskType(TaskType::new(&name).map_err(|error| damaged("a limit's scope", error))?)),
        "ai_model" => Ok(LimitScope::AiModel(AiModel::new(&name).map_err(|error| damaged("a limit's scope", error))?)),
        "plugin" => Ok(LimitScope::Plugin(name)),
        other => Err(damaged("a limit's scope", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_hand_is_mended_rather_than_hidden() {
        assert_eq!(lane_key("two words", Some("a*")).to_string(), "two_words");
        assert_eq!(lane_key("", None).to_string(), "unknown");
        assert_eq!(priority("urgent"), Priority::Normal);
        assert!(json("{oops".to_owned()).is_ok_and(|json| json.get() == r#""{oops""#));
        assert!(plan(Some("[]"), None, None).is_err());
        assert!(task_id("17").is_err());
    }
}
