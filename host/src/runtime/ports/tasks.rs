//! Tasks that a guest submits.

use super::PortError;
use crate::clock::SharedClock;
use crate::task::{ChildRequest, ChildRules, DefaultsByType, NewTask, TaskId, TypeGrant};

/// Looks over what a guest wants to submit. Called from the guest's thread; must not block.
pub trait TaskPort: Send + Sync + 'static {
    /// The task, when this host would take it.
    ///
    /// # Errors
    /// Why not, in words for the guest.
    fn accept(&self, child: ChildRequest) -> Result<NewTask, PortError>;
}

/// Takes none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTasks;

impl TaskPort for NoTasks {
    fn accept(&self, _child: ChildRequest) -> Result<NewTask, PortError> {
        Err("no tasks can be submitted here".to_owned())
    }
}

/// Takes what a host with nothing but its defaults would, whatever plugins it has: for one task without a server, and for tests.
pub struct UnroutedTasks {
    /// Whose children they are.
    pub parent: TaskId,
    /// Which types there may be.
    pub granted: Vec<TypeGrant>,
    /// Largest payload.
    pub payload_bytes_max: u64,
    /// What time it is.
    pub clock: SharedClock,
}

impl TaskPort for UnroutedTasks {
    fn accept(&self, child: ChildRequest) -> Result<NewTask, PortError> {
        let rules = ChildRules {
            parent: self.parent,
            tenant: None,
            granted: &self.granted,
            defaults: &DefaultsByType::default(),
            payload_bytes_max: self.payload_bytes_max,
            now: self.clock.now(),
        };
        rules.check(child)
    }
}
