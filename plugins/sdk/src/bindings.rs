//! What `wit-bindgen` makes of the WIT package, and the way from the exported function to [`Plugin`]. Not for direct use.

use std::time::Duration;

wit_bindgen::generate!({
    path: "wit",
    world: "executor",
    pub_export_macro: true,
    export_macro_name: "export_executor",
    default_bindings_module: "taskwarden_plugin::bindings",
    runtime_path: "wit_bindgen::rt",
});

/// Runs `P` for the exported `execute`.
pub fn execute<P: crate::Plugin>(task: taskwarden::plugin::types::Task) -> Result<Vec<u8>, taskwarden::plugin::types::Failure> {
    #[cfg(feature = "panic-log")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(panic)));
    let task_for_plugin = crate::Task {
        id: task.id,
        task_type: task.task_type,
        ai_model: task.ai_model,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        idempotency_key: task.idempotency_key,
    };
    crate::run::<P>(&task_for_plugin, &task.payload).map_err(|failure| {
        use taskwarden::plugin::types::{Failure, Transient};
        match failure {
            crate::Failure::Invalid(reason) => Failure::Invalid(reason),
            crate::Failure::Permanent(reason) => Failure::Permanent(reason),
            crate::Failure::Transient { reason, retry_after } => Failure::Transient(Transient {
                reason,
                retry_after_ms: retry_after.map(|d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            }),
        }
    })
}
