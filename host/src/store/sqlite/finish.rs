//! Ends of attempts, and the journal that outlives them.

use rusqlite::params;

use super::mirror::RunningTask;
use super::prepared::{Ended, Prepared};
use super::submit::Submit;
use super::tx::{Requeue, Tx};
use super::writer::Verb;
use crate::clock::UnixMs;
use crate::store::{Claim, Conflict, Finish, Finished, Result, StoreError};
use crate::task::{Next, Outcome, TaskState, run_key};

/// The end of one attempt as it is to be written.
pub(super) struct End {
    pub(super) claim: Claim,
    pub(super) next: Next,
    pub(super) ended: Ended,
    /// What it submitted.
    pub(super) children: Option<Submit>,
}

impl End {
    pub(super) fn new(mut finish: Finish) -> Result<Self> {
        let (claim, next, now) = (finish.claim, finish.next, finish.finished_at);
        let children = std::mem::take(&mut finish.children);
        let batch: Vec<Prepared> = children.into_iter().map(Prepared::new).collect::<Result<_>>()?;
        let has_children = finish.outcome == Outcome::Succeeded && !batch.is_empty();
        Ok(Self { claim, next, ended: Ended::new(finish)?, children: has_children.then_some(Submit { batch, now }) })
    }
}

pub(super) struct FinishBatch(pub(super) Vec<End>);

impl Verb for FinishBatch {
    type Answer = Vec<Finished>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Finished>> {
        let mut answers = Vec::with_capacity(self.0.len());
        for End { claim, next, ended, children } in &self.0 {
            let Some(task) = tx.mirror.held(*claim).cloned() else {
                answers.push(Finished::Stale);
                continue;
            };
            // A submission contradicts what is stored before it has written anything, so a refusal leaves all as it was.
            match children.as_ref().map(|children| children.apply(tx)).transpose() {
                Err(StoreError::Conflict(conflict)) => {
                    answers.push(Finished::Refused(conflict));
                    continue;
                }
                submitted => submitted?,
            };
            tx.stop(claim.seq)?;
            tx.mirror.settle(&task, ended.service);
            settle(tx, claim.seq, &task, *next, ended)?;
            answers.push(Finished::Recorded);
        }
        Ok(answers)
    }

    fn rows(&self) -> usize {
        self.0.iter().map(|end| 1 + end.children.as_ref().map_or(0, Verb::rows)).sum()
    }
}

/// Writes what comes after an attempt. Somebody who asked to cancel was told that it would be done: no retry comes after that.
pub(super) fn settle(tx: &mut Tx<'_>, seq: i64, task: &RunningTask, next: Next, ended: &Ended) -> Result<()> {
    tx.stats.count(task.lane_id, ended);
    match next {
        Next::Final(state) => tx.end(seq, task.attempt, state, ended),
        Next::RetryAt(_) | Next::RetryLarger(_) if task.cancel_requested => tx.end(seq, task.attempt, TaskState::Cancelled, ended),
        Next::RetryAt(at) | Next::RetryLarger(at) => {
            let state = if at.0 > ended.finished_at_ms { TaskState::Scheduled } else { TaskState::Queued };
            let run_key = run_key(at, task.priority, tx.rules.priority_step);
            let larger_limits = matches!(next, Next::RetryLarger(_));
            let requeue = Requeue { seq, state, run_at_ms: at.0, run_key, ended: Some((task.attempt, ended)), larger_limits };
            tx.requeue((task.lane_id, task.tenant_id), &requeue)
        }
    }
}

pub(super) struct GiveBack {
    pub(super) claims: Vec<Claim>,
    pub(super) run_at: UnixMs,
    pub(super) now: UnixMs,
}

impl Verb for GiveBack {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let held: Vec<(i64, RunningTask)> =
            self.claims.iter().filter_map(|claim| Some((claim.seq, tx.mirror.held(*claim)?.clone()))).collect();
        for (seq, task) in held {
            // As it was before the claim: when the attempt before that started is known from its own row.
            tx.execute(
                "UPDATE execution_tasks SET attempt = attempt - 1, started_at_ms = (SELECT a.started_at_ms FROM task_attempts a \
                 WHERE a.seq = execution_tasks.seq AND a.attempt = execution_tasks.attempt - 1) WHERE seq = ?",
                [seq],
            )?;
            tx.stop(seq)?;
            tx.mirror.refund(&task);
            if task.cancel_requested {
                let ended = Ended::without_run(Outcome::Cancelled, None, self.now.0);
                tx.end(seq, task.attempt, TaskState::Cancelled, &ended)?;
            } else {
                let run_key = run_key(self.run_at, task.priority, tx.rules.priority_step);
                let state = if self.run_at > self.now { TaskState::Scheduled } else { TaskState::Queued };
                let requeue = Requeue { seq, state, run_at_ms: self.run_at.0, run_key, ended: None, larger_limits: false };
                tx.requeue((task.lane_id, task.tenant_id), &requeue)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.claims.len()
    }
}

/// Writes a step of a task's journal.
pub(super) struct PutJournal {
    pub(super) claim: Claim,
    pub(super) step: Box<str>,
    pub(super) value: Vec<u8>,
}

impl Verb for PutJournal {
    type Answer = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        if tx.mirror.held(self.claim).is_none() {
            return Err(StoreError::Conflict(Conflict::LeaseLost));
        }
        tx.execute(
            "INSERT INTO journal (seq, step, value) VALUES (?, ?, ?) ON CONFLICT (seq, step) DO UPDATE SET value = excluded.value",
            params![self.claim.seq, self.step, self.value],
        )?;
        Ok(())
    }
}
