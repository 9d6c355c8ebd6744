//! The trait that a plugin implements, and how one attempt goes through it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// What the host says of the attempt beside the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// The task's identity, a UUID.
    pub id: String,
    /// What kind of work it is.
    pub task_type: String,
    /// The AI model it is meant for, if it names one.
    pub ai_model: Option<String>,
    /// The number of this attempt, counting from 1.
    pub attempt: u32,
    /// How many attempts will be made before the task is given up.
    pub max_attempts: u32,
    /// The same for every attempt of this task and for no other task. Pass it on to services that take an idempotency key.
    pub idempotency_key: String,
}

/// A plugin: what it takes, what it answers and how it does one task.
///
/// Only `execute` has to be written. Payload and result are JSON unless [`Plugin::decode`] or [`Plugin::encode`] say otherwise.
pub trait Plugin {
    /// The payload. With `#[serde(deny_unknown_fields)]` a misspelt field is reported to the submitter.
    type Payload: DeserializeOwned;
    /// The result.
    type Output: Serialize;

    /// Does one attempt of one task.
    ///
    /// # Errors
    /// [`Failure`] says whether trying again may help.
    fn execute(task: &Task, payload: Self::Payload) -> Result<Self::Output, Failure>;

    /// Reads the payload. By default as JSON; what does not fit is the submitter's mistake. A task that was submitted without a payload
    /// has `null`; where that does not fit it is read as `{}`, so that a payload whose fields all have defaults may be left out.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with the place in the payload.
    fn decode(payload: &[u8]) -> Result<Self::Payload, Failure> {
        let read = serde_json::from_slice(payload);
        let read = if payload == b"null" { read.or_else(|_| serde_json::from_slice(b"{}")) } else { read };
        read.map_err(|e| Failure::invalid(format!("payload: {e}")))
    }

    /// Writes the result, which has to be JSON text.
    ///
    /// # Errors
    /// When it cannot be said in JSON: a map whose keys are not strings, for example.
    fn encode(output: &Self::Output) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(output).map_err(|e| Failure::permanent(format!("result: {e}")))
    }
}

/// One attempt from payload bytes to result bytes: what the exported function calls. For tests, see `double::HostDouble`.
///
/// # Errors
/// What the plugin answers.
pub fn run<P: Plugin>(task: &Task, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let payload = P::decode(payload)?;
    let output = P::execute(task, payload)?;
    P::encode(&output)
}

/// Makes a [`Plugin`] the one that this `.wasm` exports. Once per crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;
            impl $crate::bindings::Guest for Exported {
                fn execute(
                    task: $crate::bindings::taskwarden::plugin::types::Task,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::bindings::taskwarden::plugin::types::Failure> {
                    $crate::bindings::execute::<$plugin>(task)
                }
            }
    $crate::bindings::export_executor!(Exported with_types_in $crate::bindings);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&$crate::Task, &[u8]) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::Failure> = $crate::run::<$plugin>;
    };
}
