//! Scores series for `anomaly.watch` by the plugin that takes `anomaly.score`, in a sandbox of its own each time.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::limits::{LimitSet, Limits};
use crate::native::watch::{ScoreError, Scorer, score_lane};
use crate::registry::{Code, Registry};
use crate::runtime::ports::{MemoryInputs, Ports};
use crate::runtime::{Job, Runtime};
use crate::task::{LaneKey, NameError, TaskId};

pub(super) struct SandboxScorer {
    registry: Arc<Registry>,
    runtime: Arc<Runtime>,
    ceilings: Limits,
    lane: LaneKey,
}

impl SandboxScorer {
    pub(super) fn new(registry: Arc<Registry>, runtime: Arc<Runtime>, ceilings: Limits) -> Result<Self, NameError> {
        Ok(Self { registry, runtime, ceilings, lane: score_lane()? })
    }
}

#[async_trait]
impl Scorer for SandboxScorer {
    async fn score(&self, payload: Box<str>, cancel: CancellationToken) -> Result<Box<str>, ScoreError> {
        let snapshot = self.registry.snapshot();
        let plugin = snapshot.route(&self.lane).ok_or(ScoreError::NoPlugin)?;
        let Code::Component(component) = &plugin.code else { return Err(ScoreError::NoPlugin) };
        let job = Job {
            id: TaskId::new(),
            task_type: self.lane.task_type.clone(),
            ai_model: None,
            attempt: 1,
            max_attempts: 1,
            payload: Bytes::from(payload.into_string()),
            idempotency_key: None,
            limits: snapshot.effective_limits(&self.ceilings, &self.lane, plugin, &LimitSet::default()),
            grants: Arc::clone(&plugin.grants),
            ports: Ports::in_memory(MemoryInputs::default()),
            cancel,
        };
        let report = self.runtime.run(component, job).await;
        let why = report.error.unwrap_or_default();
        report.result.ok_or_else(|| ScoreError::Failed(format!("{} ended as {}: {why}", plugin.manifest.name, report.outcome)))
    }
}
