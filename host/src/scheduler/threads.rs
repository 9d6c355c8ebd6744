//! The threads that guest code runs on, and nothing else does.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Shared;
use super::attempt::{self, Ended};
use super::local_queue::Slot;

/// Guest threads yield to the host's own threads by this much, so that an endless loop on every slot leaves the API answering. Those for
/// urgent tasks do not: they are few, and what they run is not to wait for a turn of the processor either.
const NICENESS: i32 = 10;

pub(super) fn start(shared: &Arc<Shared>, ended: &mpsc::Sender<Ended>, handle: &Handle) -> Vec<JoinHandle<()>> {
    let config = &shared.config;
    let ordinary = (0..config.slots).map(|number| (Slot::Ordinary, format!("guest-{number}")));
    let urgent = (0..config.urgent_slots).map(|number| (Slot::Urgent, format!("urgent-{number}")));
    let spawned: Vec<_> = ordinary
        .chain(urgent)
        .map_while(|(slot, name)| {
            let (shared, ended, handle) = (Arc::clone(shared), ended.clone(), handle.clone());
            let thread = std::thread::Builder::new().name(name.clone());
            thread
                .spawn(move || serve(&shared, slot, &ended, &handle))
                .inspect_err(|error| tracing::error!(%error, name, "could not start a guest thread"))
                .ok()
        })
        .collect();
    tracing::info!(slots = config.slots, urgent_slots = config.urgent_slots, "ready to run tasks");
    spawned
}

fn serve(shared: &Shared, slot: Slot, ended: &mpsc::Sender<Ended>, handle: &Handle) {
    if slot == Slot::Ordinary {
        lower_priority();
    }
    while let Some(task) = shared.queue.take(slot) {
        let end = handle.block_on(attempt::run(shared, task));
        if shared.queue.ended(slot, end.ran_for()) {
            shared.parts.bells.urgent.notify_one();
        }
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
