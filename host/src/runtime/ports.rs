//! What a run needs from the rest of the host, as traits, so that the runtime knows neither store nor scheduler.

mod http;
mod tasks;

pub use http::{HttpBody, HttpError, HttpPort, NoHttp};
pub use tasks::{NoTasks, TaskPort, UnroutedTasks};

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

/// Why the host could not do what a guest asked: shown to the guest as a string, so no secrets and no paths.
pub type PortError = String;

/// Named byte streams for one task.
#[async_trait]
pub trait InputPort: Send + Sync + 'static {
    /// The names, in order.
    fn names(&self) -> Vec<String>;
    /// Opens a stream by name.
    async fn open(&self, name: &str) -> Result<Box<dyn InputStream>, PortError>;
}

/// One byte stream, read from front to back.
#[async_trait]
pub trait InputStream: Send + Sync + 'static {
    /// Its size, where it is known in advance.
    fn size_bytes(&self) -> Option<u64>;
    /// The next bytes, at most `max_bytes` of them; empty at the end.
    async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError>;
}

/// What survives a retry of one task.
#[async_trait]
pub trait JournalPort: Send + Sync + 'static {
    /// What was put under `step`.
    async fn get(&self, step: &str) -> Result<Option<Vec<u8>>, PortError>;
    /// Keeps `value` under `step`; durable before it returns.
    async fn put(&self, step: &str, value: Vec<u8>) -> Result<(), PortError>;
    /// Bytes kept so far, names included.
    async fn used_bytes(&self) -> Result<u64, PortError>;
}

/// Where progress reports go. Called from the guest's thread; must not block.
pub trait ProgressPort: Send + Sync + 'static {
    /// `fraction` is within 0 to 1; `note` is short.
    fn report(&self, fraction: f32, note: &str);
}

/// Everything one run is connected to.
#[derive(Clone)]
pub struct Ports {
    /// Its inputs.
    pub inputs: Arc<dyn InputPort>,
    /// Its journal.
    pub journal: Arc<dyn JournalPort>,
    /// Its progress.
    pub progress: Arc<dyn ProgressPort>,
    /// Its children.
    pub tasks: Arc<dyn TaskPort>,
    /// Its requests.
    pub http: Arc<dyn HttpPort>,
}

/// Inputs that are in memory: for one task without a server, and for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryInputs(BTreeMap<String, Bytes>);

impl<I: IntoIterator<Item = (String, Bytes)>> From<I> for MemoryInputs {
    fn from(streams: I) -> Self {
        Self(streams.into_iter().collect())
    }
}

#[async_trait]
impl InputPort for MemoryInputs {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn open(&self, name: &str) -> Result<Box<dyn InputStream>, PortError> {
        match self.0.get(name) {
            Some(bytes) => Ok(Box::new(MemoryStream { all_bytes: bytes.len() as u64, rest: bytes.clone() })),
            None => Err(no_such_input(name, &self.names())),
        }
    }
}

/// The sentence for an input that the task does not have.
#[must_use]
pub fn no_such_input(name: &str, names: &[String]) -> PortError {
    match names {
        [] => format!("there is no input {name:?}; the task has none"),
        names => format!("there is no input {name:?}; the task has {}", names.join(", ")),
    }
}

struct MemoryStream {
    all_bytes: u64,
    rest: Bytes,
}

#[async_trait]
impl InputStream for MemoryStream {
    fn size_bytes(&self) -> Option<u64> {
        Some(self.all_bytes)
    }

    async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError> {
        let bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(self.rest.len());
        Ok(self.rest.split_to(bytes))
    }
}

/// A journal that lasts as long as it is held: for one task without a server, and for tests.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl JournalPort for MemoryJournal {
    async fn get(&self, step: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.0.lock().get(step).cloned())
    }

    async fn put(&self, step: &str, value: Vec<u8>) -> Result<(), PortError> {
        self.0.lock().insert(step.to_owned(), value);
        Ok(())
    }

    async fn used_bytes(&self) -> Result<u64, PortError> {
        Ok(self.0.lock().iter().map(|(step, value)| (step.len() + value.len()) as u64).sum())
    }
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressPort for NoProgress {
    fn report(&self, _fraction: f32, _note: &str) {}
}

impl Ports {
    /// Given inputs, a journal in memory, nobody watching, and no way out.
    #[must_use]
    pub fn in_memory(inputs: MemoryInputs) -> Self {
        Self {
            inputs: Arc::new(inputs),
            journal: Arc::new(MemoryJournal::default()),
            progress: Arc::new(NoProgress),
            tasks: Arc::new(NoTasks),
            http: Arc::new(NoHttp),
        }
    }
}
