//! Submissions and ends of attempts, rendered to what the tables hold. This happens in the caller's task, so that the one writer
//! has nothing left to do but write.

use serde::Serialize;

use crate::store::stored::{Figures, json_unless, level_name};
use crate::store::{Finish, Result};
use crate::task::fair::Service;
use crate::task::{LaneKey, NewTask, Outcome, Output, Priority};

/// A submission as rows.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: crate::task::TaskId,
    pub(super) id_text: Box<str>,
    pub(super) lane: LaneKey,
    pub(super) priority: Priority,
    pub(super) payload: Box<str>,
    pub(super) inputs: Option<Box<str>>,
    pub(super) tags: Option<Box<str>>,
    pub(super) limits: Option<Box<str>>,
    /// The inputs by name, with the blob each names.
    pub(super) blobs: Vec<(String, Box<str>)>,
    pub(super) run_at_ms: i64,
    pub(super) max_attempts: u32,
    pub(super) tenant: Option<Box<str>>,
    pub(super) idempotency_key: Option<Box<str>>,
    pub(super) digest: [u8; 32],
}

impl Prepared {
    pub(super) fn new(task: NewTask) -> Result<Self> {
        let (idempotency_key, digest) = task.idempotency.map_or((None, [0; 32]), |(key, digest)| (Some(Box::from(key.as_str())), digest));
        Ok(Self {
            id: task.id,
            id_text: Box::from(task.id.to_string()),
            lane: task.lane,
            priority: task.priority,
            payload: Box::<str>::from(task.payload),
            inputs: unless(task.plan.inputs.is_empty(), &task.plan.inputs)?,
            tags: unless(task.plan.tags.is_empty(), &task.plan.tags)?,
            limits: unless(task.plan.limits.is_empty(), &task.plan.limits)?,
            blobs: task.plan.inputs.into_iter().filter_map(|(name, input)| Some((name, Box::from(input.blob()?.0.to_string())))).collect(),
            run_at_ms: task.run_at.0,
            max_attempts: task.max_attempts.max(1),
            tenant: task.tenant.map(|tenant| Box::from(tenant.as_str())),
            idempotency_key,
            digest,
        })
    }
}

/// A line of a guest's log as a row.
#[derive(Debug)]
pub(super) struct PreparedLine {
    pub(super) at_ms: i64,
    pub(super) level: &'static str,
    pub(super) message: Box<str>,
    pub(super) fields: Option<Box<str>>,
}

/// How an attempt ended, as rows.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) error: Option<Box<str>>,
    pub(super) receipt: Option<Box<str>>,
    pub(super) result: Option<Box<str>>,
    pub(super) started_at_ms: Option<i64>,
    pub(super) finished_at_ms: i64,
    pub(super) logs: Vec<PreparedLine>,
    pub(super) outputs: Vec<Output>,
    /// What it cost.
    pub(super) service: Service,
    /// What it counts for in the host's own figures; nothing when no guest had a part in it.
    pub(super) figures: Option<Figures>,
}

impl Ended {
    /// An end that no guest had a part in.
    pub(super) fn without_run(outcome: Outcome, error: Option<&str>, finished_at_ms: i64) -> Self {
        Self {
            outcome,
            error: error.map(Box::from),
            receipt: None,
            result: None,
            started_at_ms: None,
            finished_at_ms,
            logs: Vec::new(),
            outputs: Vec::new(),
            service: Service::from_micros(0),
            figures: None,
        }
    }

    pub(super) fn new(finish: Finish) -> Result<Self> {
        let logs = finish.logs.into_iter().map(|line| {
            Ok(PreparedLine {
                at_ms: line.at_ms.0,
                level: level_name(line.level),
                message: Box::from(line.message),
                fields: unless(line.fields.is_empty(), &line.fields)?,
            })
        });
        let succeeded = finish.outcome == Outcome::Succeeded;
        Ok(Self {
            outcome: finish.outcome,
            error: finish.error.map(Box::from),
            receipt: unless(false, &finish.receipt)?,
            result: finish.result.filter(|_| succeeded),
            started_at_ms: Some(finish.started_at.0),
            finished_at_ms: finish.finished_at.0,
            logs: logs.collect::<Result<_>>()?,
            service: finish.service,
            outputs: if succeeded { finish.outputs } else { Vec::new() },
            figures: Some(Figures::of(&finish.receipt)),
        })
    }
}

/// JSON text, or nothing when there is nothing to say.
fn unless(silent: bool, value: &impl Serialize) -> Result<Option<Box<str>>> {
    Ok(json_unless(silent, value)?.map(Box::from))
}
