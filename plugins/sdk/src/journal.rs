//! What survives a retry. Needs the capability `journal`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::host::calls;

/// Does `work` once per task: a retry gets what the first attempt remembered instead of doing it again.
///
/// The value is on the host's disk before this returns. A crash between the end of `work` and that moment repeats the work, so
/// work that must not happen twice outside also needs the task's idempotency key.
///
/// # Errors
/// What `work` answers (nothing is remembered then); [`Failure::Permanent`] if what an earlier version of the plugin remembered
/// cannot be read, because doing the step again might do harm; [`Failure::Transient`] if the host could not keep the value.
pub fn step<T: Serialize + DeserializeOwned>(name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if let Some(value) = remembered(name)? {
        return Ok(value);
    }
    let value = work()?;
    let bytes = serde_json::to_vec(&value).map_err(|e| Failure::permanent(format!("step {name:?}: its value cannot be kept: {e}")))?;
    calls::journal_put(name, &bytes).map_err(|e| Failure::transient(format!("step {name:?}: {e}")))?;
    Ok(value)
}

/// What this or an earlier attempt remembered under `name`.
///
/// # Errors
/// When what was remembered is not a `T`.
pub fn remembered<T: DeserializeOwned>(name: &str) -> Result<Option<T>, Failure> {
    let Some(bytes) = calls::journal_get(name) else { return Ok(None) };
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Failure::permanent(format!("step {name:?}: an earlier attempt remembered something else: {e}")))
}

/// Lets the next attempt do the step again.
///
/// # Errors
/// When the host could not note it.
pub fn forget_step(name: &str) -> Result<(), Failure> {
    calls::journal_put(name, &[]).map_err(|e| Failure::transient(format!("step {name:?}: {e}")))
}
