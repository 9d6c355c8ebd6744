//! What belongs to one run: the data of its store.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{CallHook, Engine, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use super::Grants;
use super::caps::http::HttpSide;
use super::caps::log::LogBook;
use super::caps::outputs::OutputShelf;
use super::caps::tasks::Nursery;
use super::caps::{http, inputs, journal, log, outputs, progress, settings, tasks};
use super::limiter::MemoryLimiter;
use super::meter::{Meter, Place, Stop};
use super::ports::Ports;
use super::read_ahead::ReadAheadRoom;
use super::verdict;
use super::wasi;
use crate::clock::SharedClock;
use crate::limits::{Limit, Limits};
use crate::task::Outcome;

/// Resources of the host (readers, writers, streams) that a guest may hold at once, and handles of its own.
pub(super) const HANDLES_MAX: usize = 4_096;

/// What a guest may hand over in one call beyond its largest byte limit: names, fields, and enough over the limit that the
/// capability itself can say which limit it was.
const HOSTCALL_SPARE_BYTES: u64 = 1 << 20;

/// One run's share of the host.
pub(super) struct Guest {
    pub(super) meter: Meter,
    pub(super) memory: MemoryLimiter,
    pub(super) log: LogBook,
    pub(super) outputs: OutputShelf,
    pub(super) nursery: Nursery,
    /// Made when the guest first calls `wasi:http`.
    pub(super) http: Option<Box<HttpSide>>,
    pub(super) grants: Arc<Grants>,
    pub(super) ports: Ports,
    pub(super) read_ahead_room: ReadAheadRoom,
    pub(super) table: ResourceTable,
    /// Made when the guest first calls WASI: most guests never do.
    pub(super) wasi: Option<WasiCtx>,
    pub(super) clock: SharedClock,
    pub(super) cancel: CancellationToken,
    /// By the monotonic clock.
    pub(super) deadline: Duration,
}

impl Guest {
    /// Ends the run if somebody cancelled it or its time is over.
    fn check_time(&self) -> wasmtime::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Stop::error(Outcome::Cancelled, verdict::CANCELLED));
        }
        if self.clock.monotonic() >= self.deadline {
            return Err(Stop::error(Outcome::Deadline, verdict::deadline_message(&self.meter.limits)));
        }
        Ok(())
    }

    /// Ends the run if it sent too many requests, or moved too many bytes with them.
    pub(super) fn check_http(&self) -> wasmtime::Result<()> {
        self.http.as_ref().map_or(Ok(()), |http| http.check())
    }
}

/// A store with every limit armed.
///
/// # Errors
/// Only if the engine was built without fuel.
pub(super) fn store(engine: &Engine, guest: Guest) -> wasmtime::Result<Store<Guest>> {
    let limits = guest.meter.limits;
    let mut store = Store::new(engine, guest);
    store.data_mut().table.set_max_capacity(HANDLES_MAX);
    store.limiter(|guest| &mut guest.memory);
    store.set_fuel(limits.get(Limit::Fuel))?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        store.data().check_time()?;
        Ok(UpdateDeadline::Continue(1))
    });
    store.call_hook(on_transition);
    store.set_hostcall_fuel(usize::try_from(hostcall_bytes(&limits)).unwrap_or(usize::MAX));
    // Handles of both kinds are counted here, ours once more in the table: twice its capacity leaves ours to the table.
    store.set_max_component_handles(HANDLES_MAX * 2);
    Ok(store)
}

/// Bytes that a guest may hand to the host in one call.
pub(super) fn hostcall_bytes(limits: &Limits) -> u64 {
    let largest = [Limit::OutputBytes, Limit::LogBytes, Limit::JournalBytes].map(|limit| limits.get(limit)).into_iter().max();
    largest.unwrap_or(0).saturating_add(HOSTCALL_SPARE_BYTES)
}

/// Runs at every crossing between guest and host, WASI's included: the one place where the fuel of host calls is taken.
fn on_transition(mut store: StoreContextMut<'_, Guest>, crossing: CallHook) -> wasmtime::Result<()> {
    match crossing {
        CallHook::ReturningFromHost => {
            let debt = store.data_mut().meter.settle();
            // The engine's own helpers cross here too (a growing memory, a resource that is dropped); they cost nothing extra.
            if debt > 0 {
                store.data().meter.check()?;
                store.data().check_http()?;
                let left = store.get_fuel()?.checked_sub(debt);
                store.set_fuel(left.unwrap_or(0))?;
                left.ok_or_else(|| Stop::out_of_fuel(&store.data().meter.limits))?;
            }
            let fuel = store.get_fuel()?;
            store.data_mut().meter.place = Place::Crossing { fuel };
        }
        CallHook::ReturningFromWasm => {
            // No instruction ran since control left the host: the guest did not return, it was unwound by what the host said.
            let unwound = Place::Crossing { fuel: store.get_fuel()? };
            let meter = &mut store.data_mut().meter;
            if meter.place != unwound {
                meter.place = Place::Returned;
            }
        }
        CallHook::CallingWasm | CallHook::CallingHost => store.data_mut().meter.place = Place::Guest,
    }
    Ok(())
}

/// A linker with everything this host has.
///
/// # Errors
/// When two things have one name.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    log::add_to_linker(&mut linker)?;
    progress::add_to_linker(&mut linker)?;
    inputs::add_to_linker(&mut linker)?;
    outputs::add_to_linker(&mut linker)?;
    journal::add_to_linker(&mut linker)?;
    settings::add_to_linker(&mut linker)?;
    tasks::add_to_linker(&mut linker)?;
    http::add_to_linker(&mut linker)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}
