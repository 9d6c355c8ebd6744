//! Hosts: the heartbeat by which one is known to live, what each holds, and taking back what a dead one held.

use rusqlite::params;

use super::finish::settle;
use super::mirror::{HostState, RunningTask};
use super::prepared::Ended;
use super::tx::Tx;
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::{Claim, Heartbeat, HostShown, Result, RunningShown};
use crate::task::{Next, Outcome, TaskId};

/// A task whose host is gone, as the caller needs it to decide what comes next.
#[derive(Debug, Clone, Copy)]
pub(super) struct LostTask {
    pub(super) claim: Claim,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    /// This time included.
    pub(super) lost: u32,
}

/// Which tasks are held by hosts whose lease ran out.
pub(super) struct FindLost {
    pub(super) now: UnixMs,
    pub(super) all: bool,
}

fn is_lost(tx: &Tx<'_>, task: &RunningTask, now: UnixMs, all: bool) -> bool {
    all || tx.mirror.hosts.get(&task.host_id).is_none_or(|host| host.lease_until_ms < now.0)
}

impl Verb for FindLost {
    type Answer = Vec<LostTask>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<LostTask>> {
        let lost = tx.mirror.running.iter().filter(|(_, task)| is_lost(tx, task, self.now, self.all));
        let mut lost: Vec<LostTask> = lost
            .map(|(seq, task)| LostTask {
                claim: Claim { seq: *seq, token: task.token },
                attempt: task.attempt,
                max_attempts: task.max_attempts,
                lost: task.lost + 1,
            })
            .collect();
        lost.sort_unstable_by_key(|task| task.claim.seq);
        Ok(lost)
    }
}

/// Takes back what was found, unless its host came back or the task ended in between.
pub(super) struct TakeBack {
    pub(super) lost: Vec<(Claim, Next)>,
    pub(super) now: UnixMs,
    pub(super) all: bool,
}

impl Verb for TakeBack {
    type Answer = Vec<TaskId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<TaskId>> {
        let mut taken = Vec::new();
        for (claim, next) in &self.lost {
            let Some(task) = tx.mirror.held(*claim).filter(|task| is_lost(tx, task, self.now, self.all)).cloned() else { continue };
            tx.stop(claim.seq)?;
            let ended = Ended::without_run(Outcome::Lost, Some("the host that ran it was lost"), self.now.0);
            settle(tx, claim.seq, &task, *next, &ended)?;
            taken.push(task.id);
        }
        Ok(taken)
    }

    fn rows(&self) -> usize {
        self.lost.len()
    }
}

pub(super) struct Beat {
    pub(super) host: Box<str>,
    pub(super) lease_until: UnixMs,
}

impl Verb for Beat {
    type Answer = Heartbeat;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Heartbeat> {
        let host_id = host(tx, &self.host, self.lease_until)?;
        tx.execute("UPDATE hosts SET lease_until_ms = ? WHERE host_id = ?", [self.lease_until.0, host_id])?;
        if let Some(host) = tx.mirror.hosts.get_mut(&host_id) {
            host.lease_until_ms = self.lease_until.0;
        }
        let mut answer = Heartbeat::default();
        for (seq, task) in tx.mirror.running.iter().filter(|(_, task)| task.host_id == host_id) {
            let claim = Claim { seq: *seq, token: task.token };
            answer.held.push(claim);
            if task.cancel_requested {
                answer.cancel.push(claim);
            }
        }
        answer.held.sort_unstable();
        answer.cancel.sort_unstable();
        Ok(answer)
    }
}

/// Every host with what it holds, as the writer sees it between two groups.
pub(super) struct Hosts;

impl Verb for Hosts {
    type Answer = Vec<HostShown>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<HostShown>> {
        let mirror = &*tx.mirror;
        // The one that stands for a database's former owner never lived; it is of interest as long as tasks are laid to its account.
        let holds = |host_id: i64| mirror.running.values().any(|task| task.host_id == host_id);
        let seen = mirror.hosts.iter().filter(|(host_id, host)| host.lease_until_ms > 0 || holds(**host_id));
        let shown = seen.map(|(host_id, host)| {
            let mut held: Vec<&RunningTask> = mirror.running.values().filter(|task| task.host_id == *host_id).collect();
            held.sort_unstable_by_key(|task| task.token);
            let running = held.into_iter().filter_map(|task| {
                let lane = mirror.lanes.get(&task.lane_id)?.key.clone();
                Some(RunningShown { id: task.id, lane, attempt: task.attempt })
            });
            HostShown { name: host.name.clone(), lease_until: UnixMs(host.lease_until_ms), running: running.collect() }
        });
        let mut shown: Vec<HostShown> = shown.collect();
        shown.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(shown)
    }
}

/// The number of a host; one that claims before its first heartbeat has no lease yet.
pub(super) fn host(tx: &mut Tx<'_>, name: &str, lease_until: UnixMs) -> Result<i64> {
    if let Some(host_id) = tx.mirror.host_id(name) {
        return Ok(host_id);
    }
    tx.execute("INSERT INTO hosts (name, lease_until_ms) VALUES (?, ?)", params![name, lease_until.0])?;
    let host_id = tx.conn.last_insert_rowid();
    tx.mirror.hosts.insert(host_id, HostState { name: name.into(), lease_until_ms: lease_until.0 });
    Ok(host_id)
}
