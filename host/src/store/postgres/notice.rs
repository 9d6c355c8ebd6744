//! Notices between hosts: "there is something to do", so that nobody has to look all the time.
//!
//! A notice is only ever about saving time. It goes out after the commit, from another connection, and a little late, so that many
//! make one; a host that is alone sends none; and one that gets lost is made up for by a sweep.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx_postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Db;
use super::fronts::FrontKey;
use super::row::priority_of;
use super::sql;

/// One for all databases of a server would wake strangers, but channels belong to a database.
const CHANNEL: &str = "taskwarden";
/// What comes within this time goes out together.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// More fronts than this are not listed; Postgres takes up to 8000 bytes.
const FRONTS_MAX: usize = 100;
/// Before listening is tried again.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Pending {
    ready: BTreeMap<FrontKey, i64>,
    due: Option<i64>,
    lanes: bool,
    cancel: bool,
}

#[derive(Debug, Default)]
pub(super) struct Notices {
    pending: parking_lot::Mutex<Pending>,
    bell: Notify,
    others: AtomicBool,
    look: AtomicBool,
}

impl Notices {
    /// Whether there are other hosts to tell anything.
    pub(super) fn others(&self, others: bool) {
        self.others.store(others, Ordering::Relaxed);
    }

    pub(super) fn has_others(&self) -> bool {
        self.others.load(Ordering::Relaxed)
    }

    pub(super) fn arrived(&self, ready: &BTreeMap<FrontKey, i64>, due: Option<i64>) {
        if !self.has_others() || (ready.is_empty() && due.is_none()) {
            return;
        }
        let mut pending = self.pending.lock();
        for (front, run_key) in ready {
            pending.ready.entry(*front).and_modify(|lowest| *lowest = (*lowest).min(*run_key)).or_insert(*run_key);
        }
        pending.due = match (pending.due, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        drop(pending);
        self.bell.notify_one();
    }

    pub(super) fn lanes_changed(&self) {
        self.pending.lock().lanes = true;
        self.bell.notify_one();
    }

    pub(super) fn cancel_asked(&self) {
        self.pending.lock().cancel = true;
        self.bell.notify_one();
    }

    /// Whether a notice asked for a look from the beginning; it is taken as done.
    pub(super) fn take_look(&self) -> bool {
        self.look.swap(false, Ordering::Relaxed)
    }

    fn ask_look(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// The waiting notices as one text: who sends it, then `t lane tenant rank key`, `s due`, `l`, `c`, `a` (look everywhere), each ended by `;`.
    fn take(&self, origin: &str) -> Option<String> {
        let pending = std::mem::take(&mut *self.pending.lock());
        let mut text = format!("{origin};");
        let empty = text.len();
        // Writing to a String cannot fail.
        if pending.ready.len() > FRONTS_MAX {
            text.push_str("a;");
        } else {
            for (FrontKey { lane_id, tenant_id, rank }, run_key) in pending.ready {
                let _ = write!(text, "t {lane_id} {tenant_id} {rank} {run_key};");
            }
        }
        if let Some(due) = pending.due {
            let _ = write!(text, "s {due};");
        }
        text.push_str(if pending.lanes { "l;" } else { "" });
        text.push_str(if pending.cancel { "c;" } else { "" });
        (text.len() > empty).then_some(text)
    }
}

impl Db {
    /// Does what a notice says; whether it was understood.
    fn hear(&self, text: &str) -> Option<()> {
        let mut parts = text.split_terminator(';');
        if parts.next() == Some(self.options.instance.to_string().as_str()) {
            return Some(());
        }
        let bells = self.options.bells.as_ref();
        let work = || bells.inspect(|bells| bells.work.notify_one());
        for part in parts {
            let mut words = part.split(' ');
            match words.next()? {
                "t" => {
                    let front = FrontKey::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                    self.fronts.lock().put_back(front, (words.next()?.parse().ok()?, i64::MIN));
                    bells.inspect(|bells| bells.submitted(priority_of(front.rank)));
                }
                "s" => {
                    self.fronts.lock().put_back_due(words.next()?.parse().ok()?);
                    work();
                }
                "c" => {
                    bells.inspect(|bells| bells.cancel.notify_one());
                }
                _ => {
                    self.notices.ask_look();
                    work();
                }
            }
        }
        Some(())
    }
}

/// Sends notices and hears those of others.
pub(super) struct Listener {
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(db: &Arc<Db>) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = vec![tokio::spawn(send(Arc::clone(db), stop.clone()))];
        if !db.options.pooled {
            tasks.push(tokio::spawn(listen(Arc::clone(db), stop.clone())));
        }
        Self { stop, tasks }
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("notices between hosts ended by a panic");
            }
        }
    }
}

async fn send(db: Arc<Db>, stop: CancellationToken) {
    let origin = db.options.instance.to_string();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = db.notices.bell.notified() => {}
        }
        db.options.clock.sleep(DEBOUNCE).await;
        let Some(text) = db.notices.take(&origin) else { continue };
        let sent = async {
            let mut tx = db.begin().await?;
            sql::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(&mut *tx).await?;
            db.commit(tx).await
        };
        if let Err(error) = sent.await {
            tracing::warn!(%error, "other hosts were not told of new tasks; they find them by looking");
        }
    }
}

async fn listen(db: Arc<Db>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            result = hear_all(&db) => if let Err(error) = result {
                tracing::warn!(%error, "cannot listen for notices of other hosts; looking from time to time instead");
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = db.options.clock.sleep(RETRY) => {}
        }
    }
}

async fn hear_all(db: &Arc<Db>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&db.pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What was sent before is not heard any more, nor what was sent while the connection was down.
        db.notices.ask_look();
        while let Some(notice) = listener.try_recv().await? {
            if db.hear(notice.payload()).is_none() {
                tracing::debug!("a notice was not understood; looking everywhere");
                db.notices.ask_look();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notices_become_one_text() {
        let notices = Notices::default();
        let front = |lane_id, rank| FrontKey::new(lane_id, 0, rank);
        notices.arrived(&BTreeMap::from([(front(1, 2), 5)]), None);
        assert_eq!(notices.take("me"), None, "nobody to tell");
        notices.others(true);
        notices.arrived(&BTreeMap::from([(front(1, 2), 5), (front(1, 3), 7)]), Some(9));
        notices.arrived(&BTreeMap::from([(front(1, 2), 4)]), Some(8));
        notices.cancel_asked();
        assert_eq!(notices.take("me").as_deref(), Some("me;t 1 0 2 4;t 1 0 3 7;s 8;c;"));
        assert_eq!(notices.take("me"), None);
        notices.arrived(&(0..200).map(|lane| (front(lane, 2), 1)).collect(), None);
        assert_eq!(notices.take("me").as_deref(), Some("me;a;"));
    }
}
