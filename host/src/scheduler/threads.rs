//! The threads that guest code runs on, and nothing else does.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Shared;
use super::attempt::{self, Ended};

/// Guest threads yield to the host's own threads by this much, so that an endless loop on every slot leaves the API answering.
const NICENESS: i32 = 10;

pub(super) fn start(shared: &Arc<Shared>, ended: &mpsc::Sender<Ended>, handle: &Handle) -> Vec<JoinHandle<()>> {
    let spawned: Vec<_> = (0..shared.config.slots)
        .map_while(|slot| {
            let (shared, ended, handle) = (Arc::clone(shared), ended.clone(), handle.clone());
            let thread = std::thread::Builder::new().name(format!("guest-{slot}"));
            thread
                .spawn(move || serve(&shared, &ended, &handle))
                .inspect_err(|error| tracing::error!(%error, slot, "could not start a guest thread"))
                .ok()
        })
        .collect();
    tracing::info!(slots = spawned.len(), "ready to run tasks");
    spawned
}

fn serve(shared: &Shared, ended: &mpsc::Sender<Ended>, handle: &Handle) {
    lower_priority();
    while let Some(task) = shared.queue.take() {
        let end = handle.block_on(attempt::run(shared, task));
        shared.queue.ended(end.ran_for());
        // The finisher outlives the threads; were it gone, the lease would give the task back.
        let _ = ended.blocking_send(end);
    }
}

pub(super) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a guest thread panicked");
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "setpriority takes plain integers and touches no memory")]
fn lower_priority() {
    // On Linux, niceness belongs to the thread when `who` is 0.
    // SAFETY: no pointers are involved.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if lowered != 0 {
        tracing::warn!("could not lower the priority of a guest thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {
    let _ = NICENESS;
}
