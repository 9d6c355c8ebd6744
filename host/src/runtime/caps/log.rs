//! `log`: lines for the task's log, bounded by `log_bytes`. What a WASI guest prints goes the same way.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{HasData, Linker};

use crate::clock::SharedClock;
use crate::limits::{Limit, Limits};
use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, Stop, to_u64};
use crate::task::{LogLevel, LogLine};

/// Counted for each line and each field beyond their text: what they occupy even when they are empty.
const ENTRY_BYTES: u64 = 32;

/// The log of one run. Shared, because what a WASI guest prints arrives through streams that know nothing of the run.
#[derive(Clone)]
pub(in crate::runtime) struct LogBook {
    inner: Arc<Mutex<Pages>>,
    clock: SharedClock,
    limits: Limits,
}

#[derive(Default)]
struct Pages {
    lines: Vec<LogLine>,
    bytes: u64,
}

impl LogBook {
    pub(in crate::runtime) fn new(clock: SharedClock, limits: Limits) -> Self {
        Self { inner: Arc::default(), clock, limits }
    }

    /// Keeps a line.
    ///
    /// # Errors
    /// [`Stop`] when `log_bytes` is reached; the lines before it are kept.
    pub(in crate::runtime) fn write(&self, level: LogLevel, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let text = message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let size = to_u64(text).saturating_add(ENTRY_BYTES.saturating_mul(1 + to_u64(fields.len())));
        let mut pages = self.inner.lock();
        let bytes = pages.bytes.saturating_add(size);
        if bytes > self.limits.get(Limit::LogBytes) {
            return Err(Stop::host_limit(Limit::LogBytes, &self.limits, "the task logged too much"));
        }
        pages.bytes = bytes;
        pages.lines.push(LogLine { at_ms: self.clock.now(), level, message, fields });
        Ok(())
    }

    /// Everything kept so far; the book is empty afterwards.
    pub(in crate::runtime) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.inner.lock().lines)
    }
}

/// What the guest's calls work on.
pub(in crate::runtime) struct LogHost<'a> {
    pub(in crate::runtime) book: &'a LogBook,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::log::Host for LogHost<'_> {
    fn write(&mut self, level: bindings::log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.meter.call(message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>())?;
        let level = match level {
            bindings::log::Level::Trace => LogLevel::Trace,
            bindings::log::Level::Debug => LogLevel::Debug,
            bindings::log::Level::Info => LogLevel::Info,
            bindings::log::Level::Warn => LogLevel::Warn,
            bindings::log::Level::Error => LogLevel::Error,
        };
        self.book.write(level, message, fields)
    }
}

struct HasLog;

impl HasData for HasLog {
    type Data<'a> = LogHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::log::add_to_linker::<_, HasLog>(linker, |guest| LogHost { book: &guest.log, meter: &mut guest.meter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use crate::limits::LimitSet;
    use crate::task::Outcome;
    use bindings::log::Host as _;

    #[test]
    fn empty_lines_count_too_and_what_came_before_is_kept() {
        let limits = Limits::defaults().overridden_by(&LimitSet::default().with(Limit::LogBytes, 100));
        let book = LogBook::new(VirtualClock::starting_at(UnixMs(7)), limits);
        let mut meter = Meter::new(limits, 0);
        let mut host = LogHost { book: &book, meter: &mut meter };
        host.write(bindings::log::Level::Warn, "hot".to_owned(), vec![("k".to_owned(), "v".to_owned())]).expect("69 bytes");
        let stop = host.write(bindings::log::Level::Info, String::new(), Vec::new()).expect_err("101 bytes");
        let stop = stop.downcast::<Stop>().expect("a stop");
        assert_eq!((stop.outcome, stop.message.as_str()), (Outcome::HostLimit, "the task logged too much: log_bytes allows 100"));
        let lines = book.take();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].level, lines[0].at_ms, lines[0].message.as_str()), (LogLevel::Warn, UnixMs(7), "hot"));
    }
}
