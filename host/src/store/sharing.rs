//! Who shares a store: hosts, which run tasks, and tenants, for whom they run.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::task::{LaneKey, TaskId, Tenant};

/// A host that has said that it lives, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostShown {
    /// Its name.
    pub name: Arc<str>,
    /// Until when it is taken for alive.
    pub lease_until: UnixMs,
    /// What it holds, oldest claim first.
    pub running: Vec<RunningShown>,
}

/// A task that a host holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningShown {
    /// Its identity.
    pub id: TaskId,
    /// Type and model.
    pub lane: LaneKey,
    /// The number of the attempt.
    pub attempt: u32,
}

/// A tenant and what it has of the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantShare {
    /// Its name; `None` for tasks of nobody in particular.
    pub tenant: Option<Tenant>,
    /// Its share against other tenants.
    pub weight: u32,
    /// Service it has had, divided by its weight; only differences between tenants mean anything.
    pub pass: u64,
    /// Tasks waiting for a slot.
    pub queued: u64,
    /// Tasks running.
    pub running: u64,
}
