//! WASI p2 with nothing granted but what [`Grants::directories`](super::Grants) names: no arguments, no environment, no network.
//! Time is the host's clock, randomness is real, and what the guest prints becomes lines of its log. Calls and the bytes they move cost fuel.
//!
//! A guest's sleep is measured by the machine, not by the host's clock; its deadline is by the host's clock all the same.

mod charged;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::caps::log::LogBook;
use super::guest::Guest;
use super::{Grants, meter::shorten};
use crate::clock::SharedClock;
use crate::task::LogLevel;

/// What one write to a stream may carry.
const STREAM_WRITE_BYTES: usize = 64 << 10;

/// A line that does not end is cut here.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Random bytes given in one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    charged::take_over(linker)
}

impl WasiView for Guest {
    /// Every WASI call comes through here once, which is where it is counted; the check that follows is in the store's hook.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.count_call();
        let ctx = self.wasi.get_or_insert_with(|| bare(&self.log, &self.clock).build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// A context for a guest that was granted directories.
///
/// # Errors
/// A sentence for the operator, when a directory cannot be opened.
pub(super) fn with_directories(grants: &Grants, log: &LogBook, clock: &SharedClock) -> Result<WasiCtx, String> {
    let mut builder = bare(log, clock);
    for directory in &grants.directories {
        let perms = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(&directory.host_path, &directory.guest_path, perms).map_err(|error| {
            format!("the directory granted as {:?} cannot be opened on this host: {error}", shorten(&directory.guest_path, 200))
        })?;
    }
    Ok(builder.build())
}

fn bare(log: &LogBook, clock: &SharedClock) -> wasmtime_wasi::WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(Printer::new(log, LogLevel::Info))
        .stderr(Printer::new(log, LogLevel::Warn))
        .wall_clock(HostClock(Arc::clone(clock)))
        .monotonic_clock(HostClock(Arc::clone(clock)))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder
}

/// The host's clock as WASI asks for it.
struct HostClock(SharedClock);

impl HostWallClock for HostClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().0).unwrap_or(0))
    }
}

impl HostMonotonicClock for HostClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Standard output or standard error: each line becomes a line of the log.
#[derive(Clone)]
struct Printer {
    log: LogBook,
    level: LogLevel,
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl Printer {
    fn new(log: &LogBook, level: LogLevel) -> Self {
        Self { log: log.clone(), level, unfinished: Arc::default() }
    }

    fn print(&self, bytes: &[u8]) -> wasmtime::Result<()> {
        let mut unfinished = self.unfinished.lock();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || unfinished.len() >= LINE_BYTES_MAX {
                self.end_line(&mut unfinished)?;
            }
        }
        Ok(())
    }

    fn end_line(&self, unfinished: &mut Vec<u8>) -> wasmtime::Result<()> {
        let line = std::mem::take(unfinished);
        let text = String::from_utf8_lossy(&line);
        self.log.write(self.level, text.trim_end_matches(['\n', '\r']).to_owned(), Vec::new())
    }
}

impl Drop for Printer {
    /// The last line of a guest often lacks its end.
    fn drop(&mut self) {
        let mut unfinished = self.unfinished.lock();
        if Arc::strong_count(&self.unfinished) == 1 && !unfinished.is_empty() {
            // Over the limit there is nobody left to be told.
            let _ = self.end_line(&mut unfinished);
        }
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by WASI p3 only, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes).map_err(StreamError::Trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(STREAM_WRITE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use crate::limits::Limits;

    #[test]
    fn printed_text_becomes_lines_and_the_last_one_needs_no_end() {
        let log = LogBook::new(VirtualClock::starting_at(UnixMs(1)), Limits::defaults());
        let printer = Printer::new(&log, LogLevel::Info);
        printer.print(b"one\r\ntw").expect("allowed");
        printer.print(b"o\n\nthree").expect("allowed");
        drop(printer.clone());
        drop(printer);
        let lines: Vec<_> = log.take().into_iter().map(|line| line.message).collect();
        assert_eq!(lines, ["one", "two", "", "three"]);
    }
}
