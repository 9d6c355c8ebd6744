//! The task that a test runs, over one or several attempts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use taskwarden::runtime::ports::MemoryJournal;
use taskwarden::task::{AiModel, TaskId, TaskType};
use tokio_util::sync::CancellationToken;

/// One task. Running it again is its next attempt: it keeps its id and finds its journal.
#[derive(Clone)]
pub struct TestTask {
    pub(crate) id: TaskId,
    pub(crate) task_type: TaskType,
    pub(crate) ai_model: Option<AiModel>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) payload: Bytes,
    pub(crate) inputs: BTreeMap<String, Bytes>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) cancel: CancellationToken,
}

impl TestTask {
    /// The first of three attempts of a task without payload or inputs.
    ///
    /// # Panics
    /// When `task_type` cannot be one.
    #[must_use]
    pub fn new(task_type: &str) -> Self {
        Self {
            id: TaskId::new(),
            task_type: TaskType::new(task_type).unwrap_or_else(|e| wrong(&e)),
            ai_model: None,
            attempt: 1,
            max_attempts: 3,
            payload: Bytes::from_static(b"null"),
            inputs: BTreeMap::new(),
            journal: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// Sets the payload.
    ///
    /// # Panics
    /// When `payload` cannot be said in JSON.
    #[must_use]
    pub fn payload(mut self, payload: impl Serialize) -> Self {
        self.payload = serde_json::to_vec(&payload).unwrap_or_else(|e| wrong(&e)).into();
        self
    }

    /// Sets the payload's bytes, whatever they are: for plugins that are to stand up to anything.
    #[must_use]
    pub fn payload_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = bytes.into();
        self
    }

    /// Sets the AI model.
    ///
    /// # Panics
    /// When `model` cannot be one.
    #[must_use]
    pub fn ai_model(mut self, model: &str) -> Self {
        self.ai_model = Some(AiModel::new(model).unwrap_or_else(|e| wrong(&e)));
        self
    }

    /// Gives it an input.
    #[must_use]
    pub fn input(mut self, name: &str, bytes: impl Into<Bytes>) -> Self {
        self.inputs.insert(name.to_owned(), bytes.into());
        self
    }

    /// Sets how many attempts it has.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The same task at its next attempt: same id, same inputs, and the journal as the last attempt left it.
    #[must_use]
    pub fn retry(mut self) -> Self {
        self.attempt = self.attempt.saturating_add(1);
        self
    }

    /// What cancels it, also while it runs: `cancel()` may be called from another thread.
    #[must_use]
    pub fn canceller(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

#[expect(clippy::panic, reason = "a mistake in a test ends the test")]
pub(crate) fn wrong(error: &dyn std::fmt::Display) -> ! {
    panic!("testkit: {error}")
}
