//! Many requests, one transaction. Whatever waits when a worker is free goes into its next group and is answered after the commit, so
//! that a thousand callers share the price of one flush.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::store::{Result, StoreError};

/// Requests that may wait; who comes after has to wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// A group is closed once it weighs this much, counted in rows.
const GROUP_ROWS: usize = 2048;
/// Groups of one kind that run at once: while one waits for its commit, the next is written.
const WORKERS: usize = 2;

/// How a kind of request is run.
#[async_trait]
pub(super) trait Grouped: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// About how many rows it writes.
    fn rows(request: &Self::Request) -> usize;

    /// Runs all of them and answers in order; an answer means that it is durable.
    async fn run(&self, requests: Vec<Self::Request>) -> Vec<Result<Self::Answer>>;
}

type Waiting<G> = (<G as Grouped>::Request, oneshot::Sender<Result<<G as Grouped>::Answer>>);

/// The way to the workers.
pub(super) struct Groups<G: Grouped> {
    queue: parking_lot::Mutex<Option<mpsc::Sender<Waiting<G>>>>,
}

impl<G: Grouped> Groups<G> {
    pub(super) fn start(tracker: &TaskTracker, grouped: G) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_REQUESTS);
        let (grouped, queue) = (Arc::new(grouped), Arc::new(tokio::sync::Mutex::new(queue)));
        for _ in 0..WORKERS {
            tracker.spawn(work(Arc::clone(&grouped), Arc::clone(&queue)));
        }
        Self { queue: parking_lot::Mutex::new(Some(sender)) }
    }

    /// Runs a request in some group and returns once it is durable.
    pub(super) async fn run(&self, request: G::Request) -> Result<G::Answer> {
        let sender = self.queue.lock().clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        sender.send((request, reply)).await.map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| closed())?
    }

    /// Takes no more requests; those that wait are still run.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

async fn work<G: Grouped>(grouped: Arc<G>, queue: Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting<G>>>>) {
    let mut last_group = 0;
    loop {
        if last_group > 1 {
            // Those who were answered a moment ago are about to ask again: one turn lets them into this group.
            tokio::task::yield_now().await;
        }
        let (mut requests, mut replies, mut rows) = (Vec::new(), Vec::new(), 0);
        {
            let mut queue = queue.lock().await;
            let Some(first) = queue.recv().await else { return };
            let mut next = Some(first);
            while let Some((request, reply)) = next.take() {
                rows += G::rows(&request);
                requests.push(request);
                replies.push(reply);
                if rows < GROUP_ROWS {
                    next = queue.try_recv().ok();
                }
            }
        }
        last_group = requests.len();
        let answers = grouped.run(requests).await;
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever left does not want to know; what was asked for is done all the same.
            let _ = reply.send(answer);
        }
    }
}

/// The same error for everybody whose request was in a group that came to nothing.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(why.clone()),
        StoreError::Full(why) => StoreError::Full(why.clone()),
        StoreError::Conflict(conflict) => StoreError::Conflict(conflict.clone()),
        StoreError::Broken(why) => StoreError::Broken(why.clone()),
    }
}
