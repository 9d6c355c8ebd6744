//! Copying the log back into the file, beside the writer.
//!
//! SQLite does this inside whatever commit finds the log long enough, and that commit takes tens of milliseconds longer. Here a thread
//! with a connection of its own does it while commits go on. It cannot quite catch up with a writer that does not stop, and only a log
//! that was copied to its end is begun anew; so when little is left, the writer copies that itself, between two groups.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::store::{Result, StoreError};

/// The log is copied once it holds so many pages; the same hot pages are then copied once for many commits.
const LOG_PAGES: i32 = 4_000;
/// What the writer copies itself takes it about a millisecond.
const LEFT_PAGES: i64 = 500;
/// When the writer is too fast for that, it has to stop once the log holds so many.
const LOG_PAGES_MAX: i32 = 40_000;
const PASSES_MAX: u32 = 8;

thread_local! {
    /// Pages in the log after this thread's last commit.
    static LOG: Cell<i32> = const { Cell::new(0) };
}

/// The writer's side.
pub(super) struct Checkpoints {
    wake: Option<SyncSender<()>>,
    /// Little enough is left for the writer.
    nearly: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Takes over from SQLite on `writer`, which is used on this very thread; `own` is a second connection to the same file.
    pub(super) fn start(writer: &Connection, own: Connection) -> Result<Self> {
        writer.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
        writer.wal_hook(Some(|_, pages| {
            LOG.set(pages);
            Ok(())
        }));
        let nearly = Arc::new(AtomicBool::new(false));
        let (wake, woken) = sync_channel(1);
        let done = Arc::clone(&nearly);
        let thread = std::thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(move || serve(&own, &woken, &done));
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { wake: Some(wake), nearly, thread: Some(thread) })
    }

    /// To be called by the writer between two groups.
    pub(super) fn tend(&self, writer: &Connection) {
        if self.nearly.swap(false, Ordering::AcqRel) || LOG.get() > LOG_PAGES_MAX {
            if let Err(error) = copy(writer) {
                tracing::warn!(%error, "the end of the database's log could not be copied; it is tried again");
            }
            LOG.set(0);
        } else if LOG.get() > LOG_PAGES
            && let Some(wake) = &self.wake
        {
            // Full when the thread has been woken already.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for checkpoints ended by a panic");
        }
    }
}

fn serve(conn: &Connection, woken: &Receiver<()>, nearly: &AtomicBool) {
    while woken.recv().is_ok() {
        let mut copied = 0;
        // Each pass is shorter than the one before, because less was written during that.
        for _ in 0..PASSES_MAX {
            let (in_log, copied_now) = match copy(conn) {
                Ok(counts) => counts,
                Err(error) => {
                    tracing::warn!(%error, "the database's log could not be copied; it is tried again");
                    break;
                }
            };
            if in_log - copied <= LEFT_PAGES {
                break;
            }
            copied = copied_now;
        }
        nearly.store(true, Ordering::Release);
    }
}

/// Copies what the log holds. Answers with the pages in the log and with those of them that are copied now.
fn copy(conn: &Connection) -> Result<(i64, i64)> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?)
}
