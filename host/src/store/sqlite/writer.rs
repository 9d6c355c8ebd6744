//! The one writer, on a thread of its own. It owns the only connection that writes, takes whatever requests wait, runs them in one transaction and answers
//! after the commit. So an answer means "on disk", and a thousand callers share the price of one flush.
//!
//! A request must not suffer from its neighbours. A refusal ([`StoreError::Conflict`]) is found before anything of the request is
//! written and concerns it alone. Any other error rolls the whole group back, after which each request runs in a transaction of its own.
//!
//! Nor must a small request wait for many large ones: bulk takes its turn a little at a time, beside whatever else waits. What comes while
//! a small group is being written joins it, and does not wait for another flush. What is urgent goes first, in every second group alone. And
//! claims come last in their group, so that a task can be claimed in the transaction it was submitted in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::connection::closed;
use super::finish::GiveBack;
use super::mirror::Mirror;
use super::stats::StatsDelta;
use super::tx::{Rules, Tx};
use crate::store::{Result, StoreError};

/// Requests that may wait for the writer; who comes after has to wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// A group is closed once it weighs this much, counted in rows, so that the first in it does not wait forever.
const GROUP_ROWS: usize = 4096;
/// Of bulk, a group takes one request, and more only up to this many rows.
const GROUP_BULK_ROWS: usize = 512;
/// What comes late joins a group until it weighs this much, so that the first in it does not wait for long.
const GROUP_LATE_ROWS: usize = 256;
/// A submission of more tasks than this is bulk.
pub(super) const BULK_ROWS: usize = 64;

/// When it is a request's turn; in a group in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// In the next group.
    Soon,
    /// In some group soon, a little at a time.
    Bulk,
    /// In the next group, after all others.
    Last,
}

/// Something to do in a transaction. It may be run twice, when the group it was in had to be rolled back.
pub(super) trait Verb: Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Does it. A [`StoreError::Conflict`] must come before the first write.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Answer>;

    /// About how many rows it writes.
    fn rows(&self) -> usize {
        1
    }

    /// When it is its turn.
    fn turn(&self) -> Turn {
        Turn::Soon
    }

    /// Whether it need not wait for what else there is to do.
    fn is_urgent(&self) -> bool {
        false
    }

    /// What has to be taken back when the caller left before it could be told.
    fn undo(&self, _answer: &Self::Answer) -> Option<GiveBack> {
        None
    }
}

trait Pending: Send {
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    /// Tells the caller; what has to be taken back when there is none any more.
    fn answer(self: Box<Self>) -> Option<GiveBack>;
    fn fail(self: Box<Self>, error: StoreError);
    fn rows(&self) -> usize;
    fn turn(&self) -> Turn;
    fn is_urgent(&self) -> bool;
}

struct Waiting<V: Verb> {
    verb: V,
    answer: Option<Result<V::Answer>>,
    reply: oneshot::Sender<Result<V::Answer>>,
}

impl<V: Verb> Pending for Waiting<V> {
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        // Nobody waits any more, and nothing was promised. A claim made now would be held by nobody.
        if self.reply.is_closed() {
            return Ok(());
        }
        match self.verb.apply(tx) {
            Err(error) if !matches!(error, StoreError::Conflict(_)) => Err(error),
            answer => {
                self.answer = Some(answer);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>) -> Option<GiveBack> {
        match self.reply.send(self.answer?) {
            Err(Ok(unheard)) => self.verb.undo(&unheard),
            _ => None,
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }

    fn rows(&self) -> usize {
        self.verb.rows()
    }

    fn turn(&self) -> Turn {
        self.verb.turn()
    }

    fn is_urgent(&self) -> bool {
        self.verb.is_urgent()
    }
}

/// What the writer did so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) commits: AtomicU64,
}

/// The way to the writer.
pub(super) struct WriterHandle {
    queue: parking_lot::Mutex<Option<mpsc::Sender<Box<dyn Pending>>>>,
    pub(super) counts: Arc<Counts>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl WriterHandle {
    /// Starts the writer on its connection, and on another to the same file what copies its log.
    pub(super) fn start(conn: Connection, for_checkpoints: Connection, rules: Rules) -> Result<Self> {
        let mirror = Mirror::load(&conn)?;
        let checkpoints = Checkpoints::start(&conn, for_checkpoints)?;
        let (sender, queue) = mpsc::channel(QUEUE_REQUESTS);
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            conn,
            checkpoints,
            mirror: Some(mirror),
            rules,
            queue,
            bulk: VecDeque::new(),
            put_off: Vec::new(),
            urgent_alone: false,
            counts: Arc::clone(&counts),
        };
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("no thread for the database writer: {error}")))?;
        Ok(Self { queue: parking_lot::Mutex::new(Some(sender)), counts, thread: parking_lot::Mutex::new(Some(thread)) })
    }

    /// Runs a verb in the next group and returns once it is durable.
    pub(super) async fn run<V: Verb>(&self, verb: V) -> Result<V::Answer> {
        let sender = self.queue.lock().clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        sender.send(Box::new(Waiting { verb, answer: None, reply })).await.map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| closed())?
    }

    /// Takes no more requests, finishes those that wait, and closes the connection.
    pub(super) async fn close(&self) {
        self.queue.lock().take();
        let thread = self.thread.lock().take();
        let Some(thread) = thread else { return };
        let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !ended.unwrap_or(false) {
            tracing::error!("the database writer ended by a panic");
        }
    }
}

/// Requests that are to share a transaction.
#[derive(Default)]
struct Group {
    requests: Vec<Box<dyn Pending>>,
    rows: usize,
}

impl Group {
    fn add(&mut self, request: Box<dyn Pending>, bulk: &mut VecDeque<Box<dyn Pending>>) {
        if request.turn() == Turn::Bulk {
            bulk.push_back(request);
        } else {
            self.rows += request.rows();
            self.requests.push(request);
        }
    }

    /// Takes what waits, as far as there is room. Neither list may grow without bound while the other is served.
    fn fill(&mut self, queue: &mut mpsc::Receiver<Box<dyn Pending>>, bulk: &mut VecDeque<Box<dyn Pending>>, rows_max: usize) {
        while self.rows < rows_max
            && bulk.len() < QUEUE_REQUESTS
            && let Ok(request) = queue.try_recv()
        {
            self.add(request, bulk);
        }
    }

    /// Takes out everything but what is urgent.
    fn split_off_rest(&mut self) -> Vec<Box<dyn Pending>> {
        self.requests.extract_if(.., |request| !request.is_urgent()).collect()
    }

    fn in_order(mut self) -> Vec<Box<dyn Pending>> {
        self.requests.sort_by_cached_key(|request| (request.turn(), !request.is_urgent()));
        self.requests
    }
}

struct Writer {
    conn: Connection,
    checkpoints: Checkpoints,
    /// `None` after a rollback, until it has been read again.
    mirror: Option<Mirror>,
    rules: Rules,
    queue: mpsc::Receiver<Box<dyn Pending>>,
    /// Taken from the queue and not yet in a group.
    bulk: VecDeque<Box<dyn Pending>>,
    /// The same of what gave way to urgent requests.
    put_off: Vec<Box<dyn Pending>>,
    /// Whether something gives way to the group at hand.
    urgent_alone: bool,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self) {
        let mut last_group = 0;
        loop {
            let mut first = None;
            if self.bulk.is_empty() && self.put_off.is_empty() {
                first = self.queue.blocking_recv();
                if first.is_none() {
                    break;
                }
            }
            if last_group > 1 {
                // Those who were answered a moment ago are about to ask again: one turn lets them into this group.
                std::thread::yield_now();
            }
            let group = self.next_group(first);
            last_group = group.len();
            self.run_group(group);
            self.checkpoints.tend(&self.conn);
        }
        drop(self.checkpoints);
        if let Err((_, error)) = self.conn.close() {
            tracing::warn!(%error, "the database connection was not closed cleanly");
        }
    }

    /// What goes into one transaction, of what waits.
    fn next_group(&mut self, first: Option<Box<dyn Pending>>) -> Vec<Box<dyn Pending>> {
        let mut group = Group::default();
        for request in std::mem::take(&mut self.put_off).into_iter().chain(first) {
            group.add(request, &mut self.bulk);
        }
        group.fill(&mut self.queue, &mut self.bulk, GROUP_ROWS);
        let had_its_turn = std::mem::take(&mut self.urgent_alone);
        if !had_its_turn && group.requests.iter().any(|request| request.is_urgent()) {
            self.put_off = group.split_off_rest();
            self.urgent_alone = !self.put_off.is_empty() || !self.bulk.is_empty();
            if self.urgent_alone {
                return group.in_order();
            }
        }
        let mut bulk_rows = 0;
        while let Some(next) = self.bulk.pop_front_if(|next| bulk_rows == 0 || bulk_rows + next.rows() <= GROUP_BULK_ROWS) {
            bulk_rows += next.rows();
            group.requests.push(next);
        }
        group.in_order()
    }

    fn run_group(&mut self, mut group: Vec<Box<dyn Pending>>) {
        match self.commit(&mut group, GROUP_LATE_ROWS) {
            Ok(()) => self.answer(group),
            Err(error) => match <[_; 1]>::try_from(group) {
                Ok([single]) => single.fail(error),
                Err(group) => {
                    tracing::debug!(%error, requests = group.len(), "a group of requests was rolled back; each runs alone now");
                    for request in group {
                        let mut alone = vec![request];
                        match self.commit(&mut alone, 0) {
                            Ok(()) => self.answer(alone),
                            Err(error) => {
                                if let Some(request) = alone.pop() {
                                    request.fail(error);
                                }
                            }
                        }
                    }
                }
            },
        }
    }

    fn answer(&mut self, group: Vec<Box<dyn Pending>>) {
        // To a vector first: the others are told before anything is taken back.
        let undo: Vec<GiveBack> = group.into_iter().filter_map(|request| request.answer()).collect();
        for verb in undo {
            let (reply, _nobody_waits_but_it_must_run) = oneshot::channel();
            let mut alone: Vec<Box<dyn Pending>> = vec![Box::new(Waiting { verb, answer: None, reply })];
            if let Err(error) = self.commit(&mut alone, 0) {
                tracing::warn!(%error, "tasks whose claimer is gone were not given back; they wait for its lease to end");
            }
        }
    }

    /// Runs a group in one transaction. Up to `late_rows` of the whole, what comes meanwhile is added to it.
    fn commit(&mut self, group: &mut Vec<Box<dyn Pending>>, late_rows: usize) -> Result<()> {
        let done = self.try_commit(group, late_rows);
        if done.is_ok() {
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
        } else {
            self.mirror = None;
            // When no transaction is open any more there is nothing to roll back, which is just as well.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        done
    }

    fn try_commit(&mut self, group: &mut Vec<Box<dyn Pending>>, late_rows: usize) -> Result<()> {
        let run = |sql: &str| -> Result<usize> { Ok(self.conn.prepare_cached(sql)?.execute([])?) };
        run("BEGIN IMMEDIATE")?;
        let mirror = match &mut self.mirror {
            Some(mirror) => mirror,
            none => none.insert(Mirror::load(&self.conn)?),
        };
        let mut tx = Tx { conn: &self.conn, mirror, rules: self.rules, stats: StatsDelta::default() };
        let (mut applied, mut rows) = (0, 0);
        while applied < group.len() {
            for request in group.iter_mut().skip(applied) {
                request.apply(&mut tx)?;
                rows += request.rows();
            }
            applied = group.len();
            let mut late = Group { rows, ..Group::default() };
            late.fill(&mut self.queue, &mut self.bulk, late_rows);
            if self.urgent_alone {
                self.put_off.append(&mut late.split_off_rest());
            }
            group.append(&mut late.in_order());
        }
        tx.finish()?;
        run("COMMIT")?;
        Ok(())
    }
}
