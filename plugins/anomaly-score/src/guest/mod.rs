//! The plugin: reads what it is asked, calls the library, writes the answer. One file for each task type.

mod request;
mod rows;
mod series;
#[cfg(test)]
mod tests;

use taskwarden_plugin::{Failure, Plugin, Task};

pub(crate) use request::{RowsRequest, SeriesRequest};

/// The plugin.
pub struct AnomalyScore;

/// What scores rows; every other task type scores a series.
const ROWS_TYPE: &str = "anomaly.rows";

impl Plugin for AnomalyScore {
    /// Which fields there may be depends on the task type, so the payload is read when that is known.
    type Payload = serde_json::Value;
    type Output = serde_json::Value;

    fn execute(task: &Task, payload: serde_json::Value) -> Result<serde_json::Value, Failure> {
        if task.task_type == ROWS_TYPE {
            answer(&rows::run(request::read(payload)?)?)
        } else {
            answer(&series::run(request::read(payload)?)?)
        }
    }
}

fn answer(answer: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(answer).map_err(|e| Failure::permanent(format!("result: {e}")))
}

taskwarden_plugin::export!(AnomalyScore);
