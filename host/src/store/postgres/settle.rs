//! What comes after a claim: the attempt ended, or the claim is given back. One statement for any number of either, in which the row in
//! `running` with its fencing token is what decides whether anything is written at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx_postgres::PgConnection;

use super::Db;
use super::fronts::FrontKey;
use super::group::{Grouped, again};
use super::sql;
use super::submit::{NewBatch, Written};
use crate::store::stored::{Figures, json_unless, level_name};
use crate::store::{Claim, Conflict, Finish, Finished, Result, StoreError};
use crate::task::fair::Service;
use crate::task::{LogLine, Next, Outcome, Output, TaskState};

/// What becomes of one claim.
#[derive(Debug, Clone)]
pub(super) struct Settle {
    pub(super) claim: Claim,
    /// The attempt ended and was not the last; or the claim is given back as if it had not been.
    pub(super) way: Way,
    /// Whether the task has larger limits from now on.
    pub(super) larger_limits: bool,
    pub(super) outcome: Outcome,
    pub(super) error: Option<String>,
    pub(super) receipt: Option<String>,
    pub(super) result: Option<String>,
    pub(super) started_at_ms: Option<i64>,
    pub(super) finished_at_ms: i64,
    /// What the attempt cost; nothing when no guest had a part in its end.
    pub(super) service: Option<Service>,
    /// What it counts for in the host's own figures; nothing when no guest had a part in it.
    pub(super) figures: Option<Figures>,
    pub(super) logs: Vec<LogLine>,
    pub(super) outputs: Vec<Output>,
    /// What it submitted.
    pub(super) children: Option<NewBatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The task is over.
    Final(TaskState),
    /// It runs again, not before this.
    Again(i64),
    /// It was not run; it goes to this place.
    Back(i64),
}

/// `done.state`.
pub(super) fn state_number(state: TaskState) -> i16 {
    match state {
        TaskState::Succeeded => 3,
        TaskState::Cancelled => 5,
        _ => 4,
    }
}

/// Text as Postgres can hold it: it has no character zero.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Settle {
    pub(super) fn finish(db: &Db, finish: Finish) -> Result<Self> {
        let succeeded = finish.outcome == Outcome::Succeeded;
        let ms = |at| db.time.to_database(at);
        let has_children = succeeded && !finish.children.is_empty();
        let children = NewBatch { tasks: Arc::new(finish.children), now_ms: ms(finish.finished_at) };
        Ok(Self {
            claim: finish.claim,
            way: match finish.next {
                Next::Final(state) => Way::Final(state),
                Next::RetryAt(at) | Next::RetryLarger(at) => Way::Again(ms(at)),
            },
            larger_limits: matches!(finish.next, Next::RetryLarger(_)),
            outcome: finish.outcome,
            error: finish.error.as_deref().map(text),
            receipt: json_unless(false, &finish.receipt)?,
            result: finish.result.filter(|_| succeeded).map(String::from),
            started_at_ms: Some(ms(finish.started_at)),
            finished_at_ms: ms(finish.finished_at),
            service: Some(finish.service),
            figures: Some(Figures::of(&finish.receipt)),
            logs: finish.logs,
            outputs: if succeeded { finish.outputs } else { Vec::new() },
            children: has_children.then_some(children),
        })
    }

    /// An end that no guest had a part in.
    pub(super) fn without_run(claim: Claim, way: Way, outcome: Outcome, error: Option<&str>, finished_at_ms: i64) -> Self {
        Self {
            claim,
            way,
            larger_limits: false,
            outcome,
            error: error.map(str::to_owned),
            receipt: None,
            result: None,
            started_at_ms: None,
            finished_at_ms,
            service: None,
            figures: None,
            logs: Vec::new(),
            outputs: Vec::new(),
            children: None,
        }
    }
}

/// A task that a settled claim put back in the queue.
pub(super) struct Requeued {
    front: FrontKey,
    place: (i64, i64),
    /// When it is due, if it has to wait for that.
    due_ms: Option<i64>,
}

/// What a batch of settled claims did.
#[derive(Default)]
pub(super) struct Settled {
    /// The number of the attempt, for each claim that was still held.
    pub(super) attempts: HashMap<Claim, i32>,
    pub(super) requeued: Vec<Requeued>,
}

pub(super) struct Settles(pub(super) Arc<Db>);

#[async_trait]
impl Grouped for Settles {
    type Request = Vec<Settle>;
    type Answer = Vec<Finished>;

    fn rows(request: &Vec<Settle>) -> usize {
        request.len()
    }

    async fn run(&self, mut requests: Vec<Vec<Settle>>) -> Vec<Result<Vec<Finished>>> {
        let sizes: Vec<usize> = requests.iter().map(Vec::len).collect();
        let batch: Vec<&Settle> = requests.iter().flatten().collect();
        match self.0.answered(self.0.settle_group(&batch)).await {
            Ok(all) => {
                let mut all = all.into_iter();
                sizes.into_iter().map(|size| Ok(all.by_ref().take(size).collect())).collect()
            }
            Err(error) if requests.len() == 1 || !matches!(error, StoreError::Broken(_)) => {
                requests.iter().map(|_| Err(again(&error))).collect()
            }
            Err(_) => {
                // One of them is bad; the others must not suffer from it.
                let mut answers = Vec::with_capacity(requests.len());
                for request in requests.drain(..) {
                    answers.push(self.0.answered(self.0.settle_group(&request.iter().collect::<Vec<_>>())).await);
                }
                answers
            }
        }
    }
}

impl Db {
    async fn settle_group(&self, batch: &[&Settle]) -> Result<Vec<Finished>> {
        // Who cannot have its children leaves the batch and is told; the rest is tried again, which only happens after a refusal.
        let mut refused: HashMap<Claim, Conflict> = HashMap::new();
        loop {
            let rest: Vec<&Settle> = batch.iter().copied().filter(|settle| !refused.contains_key(&settle.claim)).collect();
            match self.try_settle(&rest).await? {
                Ok(mut attempts) => {
                    let answer = |settle: &&Settle| match refused.get(&settle.claim) {
                        Some(conflict) => Finished::Refused(conflict.clone()),
                        // Of two ends of the same claim the first one counts.
                        None if attempts.remove(&settle.claim).is_some() => Finished::Recorded,
                        None => Finished::Stale,
                    };
                    return Ok(batch.iter().map(answer).collect());
                }
                Err(more) => refused.extend(more),
            }
        }
    }

    /// Settles all of them, or says whose children contradict what is stored, and then nothing is written.
    async fn try_settle(&self, batch: &[&Settle]) -> Result<std::result::Result<HashMap<Claim, i32>, HashMap<Claim, Conflict>>> {
        let parents: Vec<(Claim, NewBatch)> = batch.iter().filter_map(|settle| Some((settle.claim, settle.children.clone()?))).collect();
        let by_claim = |parents: &[(Claim, NewBatch)], refused: BTreeMap<usize, Conflict>| -> HashMap<Claim, Conflict> {
            refused.into_iter().filter_map(|(at, conflict)| Some((parents.get(at)?.0, conflict))).collect()
        };
        let batches = |parents: &[(Claim, NewBatch)]| parents.iter().map(|(_, children)| children.clone()).collect::<Vec<_>>();
        if !parents.is_empty() {
            let refused = self.make_lanes_of(&batches(&parents)).await?;
            if !refused.is_empty() {
                return Ok(Err(by_claim(&parents, refused)));
            }
        }
        let mut tx = self.begin().await?;
        let settled = settle(&mut tx, self.step_ms(), batch).await?;
        keep_records(&mut tx, &settled, batch).await?;
        if self.notices.has_others() {
            self.write_service(&mut tx, batch.iter().copied().filter(|settle| settled.attempts.contains_key(&settle.claim))).await?;
        }
        // Only those whose claim was still held have children.
        let parents: Vec<(Claim, NewBatch)> = parents.into_iter().filter(|(claim, _)| settled.attempts.contains_key(claim)).collect();
        let mut arrivals = None;
        if !parents.is_empty() {
            match self.write_group(&mut tx, &batches(&parents)).await? {
                Written::All(_, arrived) => arrivals = Some(arrived),
                Written::Refused(refused) => {
                    tx.rollback().await?;
                    return Ok(Err(by_claim(&parents, refused)));
                }
            }
        }
        self.commit(tx).await?;
        self.ended(batch.iter().copied());
        self.requeued(&settled.requeued);
        if let Some(arrivals) = &arrivals {
            self.arrived(arrivals);
        }
        Ok(Ok(settled.attempts))
    }

    /// These are over, or at least this host does not hold them any more.
    pub(super) fn ended<'a>(&self, settled: impl Iterator<Item = &'a Settle> + Clone) {
        self.accounts.settle(settled.clone());
        self.granted.remove(settled.map(|settle| settle.claim));
    }

    /// What went back is where claims will look.
    pub(super) fn requeued(&self, requeued: &[Requeued]) {
        if requeued.is_empty() {
            return;
        }
        let (mut ready, mut due): (BTreeMap<FrontKey, i64>, Option<i64>) = (BTreeMap::new(), None);
        let mut fronts = self.fronts.lock();
        for task in requeued {
            if let Some(at) = task.due_ms {
                fronts.put_back_due(at);
                due = Some(due.map_or(at, |due| due.min(at)));
            } else {
                fronts.put_back(task.front, task.place);
                ready.entry(task.front).and_modify(|lowest| *lowest = (*lowest).min(task.place.0)).or_insert(task.place.0);
            }
        }
        drop(fronts);
        self.notices.arrived(&ready, due);
    }
}

/// `= ANY (ARRAY[…])` is an equality that only a lookup in the index can use. With a plain one, a plan that was made after a vacuum had found
/// no row in `running` walks through all of that index, dead rows too, and compares every row with every claim.
const SETTLE: &str = "\
    WITH gone AS (\
        DELETE FROM taskwarden.running r \
        USING unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], \
                     $9::bigint[], $10::bigint[], $11::bigint[], $13::int[], $14::bigint[], $15::bigint[], $16::bigint[], $19::boolean[]) \
              AS e(seq, token, way, state, outcome, error, receipt, result, started_at_ms, finished_at_ms, run_at_ms, plugin, queue_ms, run_ms, \
                   fuel, larger_limits) \
        WHERE r.seq = ANY (ARRAY[e.seq]) AND r.token = e.token \
        RETURNING r.seq, r.token, r.lane_id, r.tenant_id, r.attempt, r.started_at_ms AS claimed_at_ms, e.way, e.state, e.outcome, e.error, e.receipt, \
                  e.result, e.started_at_ms, e.finished_at_ms, e.run_at_ms, e.plugin, e.queue_ms, e.run_ms, e.fuel, e.larger_limits, e.way = 0 OR r.cancel_requested AS is_over), \
    over AS (\
        INSERT INTO taskwarden.done (seq, finished_at_ms, started_at_ms, attempt, state, outcome, error, receipt, result) \
        SELECT g.seq, g.finished_at_ms, \
               CASE WHEN g.way = 2 THEN (SELECT p.started_at_ms FROM taskwarden.progress p WHERE p.seq = g.seq) \
                    ELSE coalesce(g.started_at_ms, g.claimed_at_ms) END, \
               CASE WHEN g.way = 2 THEN g.attempt - 1 ELSE g.attempt END, CASE WHEN g.way = 0 THEN g.state ELSE 5 END, \
               g.outcome, g.error, g.receipt, g.result \
        FROM gone g WHERE g.is_over), \
    again AS MATERIALIZED (\
        SELECT g.*, t.rank, t.max_attempts, g.run_at_ms - t.rank * $12::bigint AS run_key, g.run_at_ms > g.finished_at_ms AS waits, \
               coalesce(p.run_at_ms, t.run_at_ms) AS was_at_ms \
        FROM gone g JOIN taskwarden.tasks t ON t.seq = ANY (ARRAY[g.seq]) LEFT JOIN taskwarden.progress p ON p.seq = ANY (ARRAY[g.seq]) \
        WHERE NOT g.is_over), \
    ended AS (\
        INSERT INTO taskwarden.task_attempts (seq, attempt, outcome, error, receipt, started_at_ms, finished_at_ms) \
        SELECT seq, attempt, outcome, error, receipt, coalesce(started_at_ms, claimed_at_ms), finished_at_ms FROM again WHERE way = 1 \
        ON CONFLICT (seq, attempt) DO UPDATE SET outcome = excluded.outcome, error = excluded.error, receipt = excluded.receipt, \
            started_at_ms = excluded.started_at_ms, finished_at_ms = excluded.finished_at_ms), \
    moved AS (\
        INSERT INTO taskwarden.progress AS p (seq, run_at_ms, run_key, started_at_ms, attempt, max_attempts, lost, outcome, error, receipt, larger_limits) \
        SELECT seq, run_at_ms, run_key, CASE WHEN way = 1 THEN coalesce(started_at_ms, claimed_at_ms) END, \
               CASE WHEN way = 1 THEN attempt ELSE attempt - 1 END, max_attempts, (way = 1 AND outcome = 'lost')::int, \
               CASE WHEN way = 1 THEN outcome END, error, receipt, larger_limits \
        FROM again WHERE way = 1 OR run_at_ms <> was_at_ms \
        ON CONFLICT (seq) DO UPDATE SET run_at_ms = excluded.run_at_ms, run_key = excluded.run_key, attempt = excluded.attempt, \
            lost = p.lost + excluded.lost, larger_limits = p.larger_limits OR excluded.larger_limits, outcome = coalesce(excluded.outcome, p.outcome), \
            started_at_ms = CASE WHEN excluded.outcome IS NULL THEN p.started_at_ms ELSE excluded.started_at_ms END, \
            error = CASE WHEN excluded.outcome IS NULL THEN p.error ELSE excluded.error END, \
            receipt = CASE WHEN excluded.outcome IS NULL THEN p.receipt ELSE excluded.receipt END), \
    waiting AS (\
        INSERT INTO taskwarden.ready (run_key, seq, lane_id, tenant_id, rank) \
        SELECT run_key, seq, lane_id, tenant_id, rank FROM again WHERE NOT waits), \
    later AS (\
        INSERT INTO taskwarden.scheduled (run_at_ms, seq, run_key, lane_id, tenant_id, rank) \
        SELECT run_at_ms, seq, run_key, lane_id, tenant_id, rank FROM again WHERE waits), \
    counted AS (\
        INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) \
        SELECT lane_id, count(*) FILTER (WHERE NOT is_over AND run_at_ms <= finished_at_ms), \
               count(*) FILTER (WHERE NOT is_over AND run_at_ms > finished_at_ms), -count(*) FROM gone GROUP BY lane_id), \
    sums AS (\
        SELECT g.finished_at_ms - g.finished_at_ms % 900000 AS bucket_ms, g.lane_id, g.plugin, \
               count(*) FILTER (WHERE g.outcome = 'succeeded') AS succeeded, count(*) FILTER (WHERE g.outcome <> 'succeeded') AS failed, \
               sum(g.queue_ms)::bigint AS queue_ms, sum(g.run_ms)::bigint AS run_ms, sum(g.fuel)::bigint AS fuel \
        FROM gone g WHERE g.way <> 2 AND g.plugin IS NOT NULL AND g.outcome NOT IN ('cancelled', 'lost') GROUP BY 1, 2, 3), \
    figures AS (\
        INSERT INTO taskwarden.task_stats AS s (bucket_ms, lane_id, plugin, plugin_version, succeeded, failed, queue_ms, run_ms, fuel) \
        SELECT u.bucket_ms, u.lane_id, p.name, p.version, u.succeeded, u.failed, u.queue_ms, u.run_ms, u.fuel \
        FROM sums u JOIN unnest($17::text[], $18::text[]) WITH ORDINALITY AS p(name, version, number) ON p.number = u.plugin \
        ORDER BY 1, 2, 3, 4 \
        ON CONFLICT (bucket_ms, lane_id, plugin, plugin_version) DO UPDATE SET succeeded = s.succeeded + excluded.succeeded, \
            failed = s.failed + excluded.failed, queue_ms = s.queue_ms + excluded.queue_ms, run_ms = s.run_ms + excluded.run_ms, \
            fuel = s.fuel + excluded.fuel) \
    SELECT seq, token, attempt, lane_id, tenant_id, NULL::smallint AS rank, NULL::bigint AS run_key, NULL::bigint AS due FROM gone WHERE is_over \
    UNION ALL \
    SELECT seq, token, attempt, lane_id, tenant_id, rank, run_key, CASE WHEN waits THEN run_at_ms END FROM again";

/// Settles those claims that are still held.
pub(super) async fn settle(conn: &mut PgConnection, step_ms: i64, batch: &[&Settle]) -> Result<Settled> {
    if batch.is_empty() {
        return Ok(Settled::default());
    }
    // The first of several ends of a claim is the one that counts.
    let mut seen = std::collections::HashSet::with_capacity(batch.len());
    let batch: Vec<&Settle> = batch.iter().copied().filter(|settle| seen.insert(settle.claim)).collect();
    let ways = |settle: &&Settle| match settle.way {
        Way::Final(state) => (0_i16, state_number(state), None),
        Way::Again(at) => (1, 0, Some(at)),
        Way::Back(at) => (2, 0, Some(at)),
    };
    let figures = || batch.iter().map(|settle| settle.figures.as_ref());
    // Their plugins by number: a batch has few of them, and sums by number are cheap.
    let mut plugins: Vec<(&str, &str)> = figures().flatten().map(|figures| (&*figures.plugin, &*figures.plugin_version)).collect();
    plugins.sort_unstable();
    plugins.dedup();
    let number = |figures: &Figures| {
        let at = plugins.binary_search(&(&*figures.plugin, &*figures.plugin_version)).ok()?;
        i32::try_from(at + 1).ok()
    };
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let rows = sql::query(SETTLE)
        .bind(batch.iter().map(|settle| settle.claim.seq).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.claim.token).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| ways(settle).0).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| ways(settle).1).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.outcome.name()).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.error.as_deref()).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.receipt.as_deref()).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.result.as_deref()).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.started_at_ms).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.finished_at_ms).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| ways(settle).2).collect::<Vec<_>>())
        .bind(step_ms)
        .bind(figures().map(|figures| number(figures?)).collect::<Vec<_>>())
        .bind(figures().map(|figures| Some(whole(figures?.queue_ms))).collect::<Vec<_>>())
        .bind(figures().map(|figures| Some(whole(figures?.run_ms))).collect::<Vec<_>>())
        .bind(figures().map(|figures| Some(whole(figures?.fuel))).collect::<Vec<_>>())
        .bind(plugins.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        .bind(plugins.iter().map(|(_, version)| *version).collect::<Vec<_>>())
        .bind(batch.iter().map(|settle| settle.larger_limits).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let mut settled = Settled::default();
    for row in rows {
        let seq: i64 = row.try_get(0)?;
        settled.attempts.insert(Claim { seq, token: row.try_get(1)? }, row.try_get(2)?);
        if let Some(rank) = row.try_get::<Option<i16>, _>(5)? {
            let front = FrontKey { lane_id: row.try_get(3)?, tenant_id: row.try_get(4)?, rank };
            settled.requeued.push(Requeued { front, place: (row.try_get(6)?, seq), due_ms: row.try_get(7)? });
        }
    }
    Ok(settled)
}

/// Keeps logs and outputs of those attempts whose end was recorded.
async fn keep_records(conn: &mut PgConnection, settled: &Settled, batch: &[&Settle]) -> Result<()> {
    let held = || batch.iter().filter_map(|settle| Some((settle, *settled.attempts.get(&settle.claim)?)));
    let lines: Vec<(i64, i32, i32, &LogLine)> = held()
        .flat_map(|(settle, attempt)| (0_i32..).zip(&settle.logs).map(move |(number, line)| (settle.claim.seq, attempt, number, line)))
        .collect();
    if !lines.is_empty() {
        let fields = lines.iter().map(|(.., line)| json_unless(line.fields.is_empty(), &line.fields)).collect::<Result<Vec<_>>>()?;
        sql::query(
            "INSERT INTO taskwarden.task_logs (seq, attempt, line, at_ms, level, message, fields) \
             SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[]) \
             ON CONFLICT (seq, attempt, line) DO UPDATE SET at_ms = excluded.at_ms, level = excluded.level, message = excluded.message, \
                 fields = excluded.fields",
        )
        .bind(lines.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>())
        .bind(lines.iter().map(|(_, attempt, ..)| *attempt).collect::<Vec<_>>())
        .bind(lines.iter().map(|(_, _, number, _)| *number).collect::<Vec<_>>())
        .bind(lines.iter().map(|(.., line)| line.at_ms.0).collect::<Vec<_>>())
        .bind(lines.iter().map(|(.., line)| level_name(line.level)).collect::<Vec<_>>())
        .bind(lines.iter().map(|(.., line)| text(&line.message)).collect::<Vec<_>>())
        .bind(fields)
        .execute(&mut *conn)
        .await?;
    }
    let outputs: Vec<(i64, i32, &Output)> = held()
        .flat_map(|(settle, _)| (0_i32..).zip(&settle.outputs).map(move |(number, output)| (settle.claim.seq, number, output)))
        .collect();
    if !outputs.is_empty() {
        sql::query(
            "INSERT INTO taskwarden.task_outputs (seq, number, name, media_type, bytes) \
             SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bytea[]) \
             ON CONFLICT (seq, name) DO UPDATE SET number = excluded.number, media_type = excluded.media_type, bytes = excluded.bytes",
        )
        .bind(outputs.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>())
        .bind(outputs.iter().map(|(_, number, _)| *number).collect::<Vec<_>>())
        .bind(outputs.iter().map(|(.., output)| text(&output.name)).collect::<Vec<_>>())
        .bind(outputs.iter().map(|(.., output)| text(&output.media_type)).collect::<Vec<_>>())
        .bind(outputs.iter().map(|(.., output)| &*output.bytes).collect::<Vec<&[u8]>>())
        .execute(conn)
        .await?;
    }
    Ok(())
}
