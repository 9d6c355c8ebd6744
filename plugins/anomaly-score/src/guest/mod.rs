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

/// What a task comes to, by its type.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of `anomaly.score`.
    Series(Box<series::Answer>),
    /// Of `anomaly.rows`.
    Rows(Box<rows::Answer>),
}

impl Plugin for AnomalyScore {
    /// Which fields there may be depends on the task type, so the payload is read when that is known.
    type Payload = serde_json::Value;
    type Output = Answer;

    fn execute(task: &Task, payload: serde_json::Value) -> Result<Answer, Failure> {
        if task.task_type == ROWS_TYPE {
            return Ok(Answer::Rows(Box::new(rows::run(request::read(payload)?)?)));
        }
        Ok(Answer::Series(Box::new(series::run(request::read(payload)?)?)))
    }
}

taskwarden_plugin::export!(AnomalyScore);
