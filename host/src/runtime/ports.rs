//! What a run needs from the rest of the host, as traits, so that the runtime knows neither store nor scheduler.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

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
}
