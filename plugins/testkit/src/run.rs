//! What came of one attempt, and assertions that say what went wrong.

use std::sync::Mutex;
use std::time::Duration;

use serde::de::DeserializeOwned;
use taskwarden::limits::Limits;
use taskwarden::runtime::Report;
use taskwarden::runtime::ports::ProgressPort;
use taskwarden::task::{LogLine, NewTask, Outcome};

use crate::task::{TestTask, wrong};

/// Progress reports, kept.
#[derive(Default)]
pub(crate) struct Progress(Mutex<Vec<(f32, String)>>);

impl ProgressPort for Progress {
    fn report(&self, fraction: f32, note: &str) {
        if let Ok(mut reports) = self.0.lock() {
            reports.push((fraction, note.to_owned()));
        }
    }
}

/// What an attempt cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReceipt {
    /// Fuel used by guest code and charged for host calls.
    pub fuel_used: u64,
    /// Most bytes that all memories and tables held at once.
    pub memory_peak_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes of the payload and of everything read from inputs.
    pub input_bytes: u64,
    /// Bytes of the result, of all outputs and of what was submitted.
    pub output_bytes: u64,
    /// Requests sent over HTTP.
    pub http_requests: u64,
    /// Bytes of those requests and their answers, heads included.
    pub http_bytes: u64,
    /// Tasks submitted.
    pub child_tasks: u64,
    /// The limits that were in force.
    pub limits: Limits,
    /// SHA-256 of the plugin's `.wasm`, in hexadecimal.
    pub plugin_digest: String,
}

/// A task that a plugin submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct TestChild {
    /// What kind of work it is.
    pub task_type: String,
    /// The AI model it is meant for.
    pub ai_model: Option<String>,
    /// Its payload.
    pub payload: serde_json::Value,
    /// What tells it from its siblings.
    pub key: String,
}

impl TestChild {
    fn of(task: &NewTask) -> Self {
        let key = task.idempotency.as_ref().and_then(|(key, _)| key.as_str().split_once('/'));
        Self {
            task_type: task.lane.task_type.to_string(),
            ai_model: task.lane.ai_model.as_ref().map(ToString::to_string),
            payload: serde_json::from_str(task.payload.get()).unwrap_or_default(),
            key: key.map(|(_, own)| own.to_owned()).unwrap_or_default(),
        }
    }
}

/// One attempt that has ended.
pub struct TestRun {
    report: Report,
    receipt: TestReceipt,
    progress: Vec<(f32, String)>,
    task: TestTask,
}

impl TestRun {
    pub(crate) fn new(report: Report, limits: Limits, plugin_digest: String, progress: &Progress, task: TestTask) -> Self {
        let usage = report.usage;
        let receipt = TestReceipt {
            fuel_used: usage.fuel,
            memory_peak_bytes: usage.memory_peak_bytes,
            host_calls: usage.host_calls,
            input_bytes: usage.input_bytes,
            output_bytes: usage.output_bytes,
            http_requests: usage.http_requests,
            http_bytes: usage.http_bytes,
            child_tasks: usage.child_tasks,
            limits,
            plugin_digest,
        };
        let progress = progress.0.lock().map(|reports| reports.clone()).unwrap_or_default();
        Self { report, receipt, progress, task }
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.report.outcome
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.report.error.as_deref()
    }

    /// How long the plugin asked to wait before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.report.retry_after
    }

    /// The result.
    ///
    /// # Panics
    /// When it did not succeed, or the result is not a `T`.
    #[must_use]
    pub fn result<T: DeserializeOwned>(&self) -> T {
        self.assert_succeeded();
        let text = self.report.result.as_deref().unwrap_or("null");
        serde_json::from_str(text).unwrap_or_else(|e| wrong(&format!("the result is not what the test expects: {e}\n{text}")))
    }

    /// The result as a JSON value.
    ///
    /// # Panics
    /// When it did not succeed.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        self.result()
    }

    /// What it cost.
    #[must_use]
    pub fn receipt(&self) -> &TestReceipt {
        &self.receipt
    }

    /// What it logged, also if it failed.
    #[must_use]
    pub fn logs(&self) -> &[LogLine] {
        &self.report.logs
    }

    /// What it reported of its progress.
    #[must_use]
    pub fn progress(&self) -> &[(f32, String)] {
        &self.progress
    }

    /// The names of the outputs that it left.
    #[must_use]
    pub fn output_names(&self) -> Vec<&str> {
        self.report.outputs.iter().map(|output| output.name.as_str()).collect()
    }

    /// One output's bytes.
    ///
    /// # Panics
    /// When there is no such output.
    #[must_use]
    pub fn output(&self, name: &str) -> &[u8] {
        match self.report.outputs.iter().find(|output| output.name == name) {
            Some(output) => &output.bytes,
            None => wrong(&format!("there is no output {name:?}; there are {:?}", self.output_names())),
        }
    }

    /// The tasks that it submitted: type, payload and the key that tells each from its siblings.
    #[must_use]
    pub fn children(&self) -> Vec<TestChild> {
        self.report.children.iter().map(TestChild::of).collect()
    }

    /// The same task at its next attempt.
    #[must_use]
    pub fn next_attempt(&self) -> TestTask {
        self.task.clone().retry()
    }

    /// Fails the test unless it succeeded.
    ///
    /// # Panics
    /// With outcome, error and log.
    pub fn assert_succeeded(&self) -> &Self {
        self.assert_outcome(Outcome::Succeeded)
    }

    /// Fails the test unless it ended like this.
    ///
    /// # Panics
    /// With outcome, error and log.
    pub fn assert_outcome(&self, expected: Outcome) -> &Self {
        if self.outcome() != expected {
            wrong(&format!("expected {expected}, and it ended as {}\n{}", self.outcome(), self.story()));
        }
        self
    }

    /// Fails the test unless the error contains `words`.
    ///
    /// # Panics
    /// With outcome, error and log.
    pub fn assert_error_contains(&self, words: &str) -> &Self {
        if !self.error().is_some_and(|error| error.contains(words)) {
            wrong(&format!("expected an error with {words:?}\n{}", self.story()));
        }
        self
    }

    /// Fails the test if it used more fuel than this.
    ///
    /// # Panics
    /// With both numbers.
    pub fn assert_fuel_at_most(&self, fuel: u64) -> &Self {
        self.at_most("fuel", self.receipt.fuel_used, fuel)
    }

    /// Fails the test if its memory grew beyond this.
    ///
    /// # Panics
    /// With both numbers.
    pub fn assert_memory_at_most(&self, bytes: u64) -> &Self {
        self.at_most("bytes of memory", self.receipt.memory_peak_bytes, bytes)
    }

    /// Fails the test unless a log line contains `words`.
    ///
    /// # Panics
    /// With the log.
    pub fn assert_logged(&self, words: &str) -> &Self {
        if !self.logs().iter().any(|line| line.message.contains(words)) {
            wrong(&format!("no log line contains {words:?}\n{}", self.story()));
        }
        self
    }

    fn at_most(&self, what: &str, used: u64, allowed: u64) -> &Self {
        if used > allowed {
            wrong(&format!("it used {used} {what} and {allowed} were expected at most\n{}", self.story()));
        }
        self
    }

    /// Everything one wants to see when a test fails.
    fn story(&self) -> String {
        let mut story = format!("  attempt {} of task type {}\n", self.task.attempt, self.task.task_type);
        if let Some(error) = self.error() {
            story.push_str(&format!("  error: {error}\n"));
        }
        if let Some(result) = &self.report.result {
            story.push_str(&format!("  result: {}\n", result.chars().take(500).collect::<String>()));
        }
        for line in self.logs().iter().rev().take(20).rev() {
            story.push_str(&format!("  log: {:?} {}\n", line.level, line.message));
        }
        story.push_str(&format!("  fuel {}, memory {} bytes", self.receipt.fuel_used, self.receipt.memory_peak_bytes));
        story
    }
}
