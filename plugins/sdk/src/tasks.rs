//! Further tasks that come of this one. Needs the capability `tasks`, and task types that the operator granted.

use serde::Serialize;

use crate::Failure;
use crate::host::calls;

/// Submits a task of `task_type`, when and only when this attempt succeeds, and answers with its id. `key` tells it from its siblings: the same
/// key with the same payload is the same task.
///
/// ```
/// use taskwarden_plugin::{Failure, Plugin, Task, submit};
///
/// struct FanOut;
///
/// impl Plugin for FanOut {
///     type Payload = Vec<String>;
///     type Output = Vec<String>;
///
///     fn execute(_task: &Task, names: Vec<String>) -> Result<Vec<String>, Failure> {
///         names.iter().map(|name| submit("greet", name, &serde_json::json!({"name": name}))).collect()
///     }
/// }
///
/// let ran = taskwarden_plugin::double::HostDouble::new().payload(r#"["Ada", "Grace"]"#).run::<FanOut>();
/// assert_eq!(ran.children.len(), 2);
/// ```
///
/// # Errors
/// [`Failure::Permanent`] when the payload is no JSON, or the host would not take such a task: its type is not granted, no plugin takes it,
/// its payload does not fit.
pub fn submit(task_type: &str, key: &str, payload: &impl Serialize) -> Result<String, Failure> {
    child(task_type, None, key, payload)
}

/// The same for an AI model.
///
/// # Errors
/// As [`submit`].
pub fn submit_for(task_type: &str, ai_model: &str, key: &str, payload: &impl Serialize) -> Result<String, Failure> {
    child(task_type, Some(ai_model), key, payload)
}

fn child(task_type: &str, ai_model: Option<&str>, key: &str, payload: &impl Serialize) -> Result<String, Failure> {
    let payload =
        serde_json::to_vec(payload).map_err(|e| Failure::permanent(format!("child task {key:?}: its payload is no JSON: {e}")))?;
    calls::submit(task_type, ai_model, key, payload).map_err(|e| Failure::permanent(format!("child task {key:?}: {e}")))
}
