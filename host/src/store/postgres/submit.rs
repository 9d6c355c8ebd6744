//! Submitting batches, many in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx_postgres::PgConnection;
use uuid::Uuid;

use super::Db;
use super::fronts::FrontKey;
use super::group::{Grouped, again};
use super::sql;
use crate::clock::UnixMs;
use crate::store::stored::{damaged, digest, json_unless};
use crate::store::{Conflict, Result, StoreError, Submitted};
use crate::task::{IdempotencyKey, LaneKey, NewTask, TaskId, TaskState, Tenant, run_key};

/// One submission: all or nothing of it.
#[derive(Debug, Clone)]
pub(super) struct NewBatch {
    pub(super) tasks: Arc<Vec<NewTask>>,
    /// By the database's clock.
    pub(super) now_ms: i64,
}

pub(super) struct Submits(pub(super) Arc<Db>);

/// What a group came to.
enum Group {
    Done(Vec<Vec<Submitted>>),
    /// These requests contradict what is stored; nothing of the group was written.
    Refused(BTreeMap<usize, Conflict>),
}

/// Tenant and key.
type KeyOf = (String, String);

fn key_of(task: &NewTask) -> Option<(KeyOf, [u8; 32])> {
    let (key, digest) = task.idempotency.as_ref()?;
    let tenant = task.tenant.as_ref().map_or("", Tenant::as_str);
    Some(((tenant.to_owned(), key.as_str().to_owned()), *digest))
}

#[async_trait]
impl Grouped for Submits {
    type Request = NewBatch;
    type Answer = Vec<Submitted>;

    fn rows(request: &NewBatch) -> usize {
        request.tasks.len()
    }

    async fn run(&self, requests: Vec<NewBatch>) -> Vec<Result<Vec<Submitted>>> {
        let mut answers: BTreeMap<usize, Result<Vec<Submitted>>> = BTreeMap::new();
        let mut waiting: Vec<(usize, NewBatch)> = requests.into_iter().enumerate().collect();
        let mut alone = Vec::new();
        // A request must not suffer from its neighbours: those that are refused leave the group and get their answer from a transaction
        // of their own, since what refused them may itself come to nothing.
        while !waiting.is_empty() {
            let group: Vec<NewBatch> = waiting.iter().map(|(_, request)| request.clone()).collect();
            match self.0.answered(self.0.submit_group(&group)).await {
                Ok(Group::Done(done)) => answers.extend(waiting.drain(..).map(|(index, _)| index).zip(done.into_iter().map(Ok))),
                Ok(Group::Refused(mut refused)) => {
                    if let ([(index, _)], Some((_, conflict))) = (waiting.as_slice(), refused.first_key_value()) {
                        answers.insert(*index, Err(StoreError::Conflict(conflict.clone())));
                        break;
                    }
                    for (at, request) in std::mem::take(&mut waiting).into_iter().enumerate() {
                        if refused.remove(&at).is_some() { alone.push(request) } else { waiting.push(request) }
                    }
                }
                // Nobody can be served, or there is nobody else.
                Err(error) if waiting.len() == 1 || !matches!(error, StoreError::Broken(_)) => {
                    answers.extend(waiting.drain(..).map(|(index, _)| (index, Err(again(&error)))));
                }
                Err(_) => alone.append(&mut waiting),
            }
        }
        for (index, request) in alone {
            let answer = match self.0.answered(self.0.submit_group(&[request])).await {
                Ok(Group::Done(mut done)) => Ok(done.pop().unwrap_or_default()),
                Ok(Group::Refused(refused)) => match refused.into_values().next() {
                    Some(conflict) => Err(StoreError::Conflict(conflict)),
                    None => Err(damaged("a refusal", "it names nobody")),
                },
                Err(error) => Err(error),
            };
            answers.insert(index, answer);
        }
        answers.into_values().collect()
    }
}

struct Known {
    digest: [u8; 32],
    answer: Submitted,
}

/// The new tasks of a group, a vector for each column.
#[derive(Default)]
struct Rows<'a> {
    id: Vec<String>,
    lane_id: Vec<i32>,
    tenant_id: Vec<i32>,
    rank: Vec<i16>,
    payload: Vec<&'a str>,
    inputs: Vec<Option<String>>,
    tags: Vec<Option<String>>,
    limits: Vec<Option<String>>,
    max_attempts: Vec<i32>,
    tenant: Vec<Option<&'a str>>,
    key: Vec<Option<&'a str>>,
    run_at_ms: Vec<i64>,
    run_key: Vec<i64>,
    created_at_ms: Vec<i64>,
    scheduled: Vec<bool>,
    /// The blobs they name, with the task's place in the vectors above.
    blobs: Vec<(String, Uuid)>,
}

/// What was written of a group, before it is committed.
pub(super) enum Written {
    /// All of it; to be told to [`Db::arrived`] after the commit.
    All(Vec<Vec<Submitted>>, Arrivals),
    /// These requests contradict what is stored; the transaction has to be rolled back.
    Refused(BTreeMap<usize, Conflict>),
}

/// Where new tasks wait: the lowest run key of each front, when the first scheduled one is due, and the first seq.
pub(super) struct Arrivals {
    ready: BTreeMap<FrontKey, i64>,
    due: Option<i64>,
    first_seq: i64,
}

impl Db {
    async fn submit_group(&self, group: &[NewBatch]) -> Result<Group> {
        let refused = self.make_lanes_of(group).await?;
        if !refused.is_empty() {
            return Ok(Group::Refused(refused));
        }
        let mut tx = self.begin().await?;
        match self.write_group(&mut tx, group).await? {
            Written::All(answers, arrivals) => {
                self.commit(tx).await?;
                self.arrived(&arrivals);
                Ok(Group::Done(answers))
            }
            Written::Refused(refused) => {
                tx.rollback().await?;
                Ok(Group::Refused(refused))
            }
        }
    }

    /// Makes the lanes and tenants that a group needs, before its transaction; says for whom there is no room.
    pub(super) async fn make_lanes_of(&self, group: &[NewBatch]) -> Result<BTreeMap<usize, Conflict>> {
        let mut refused = BTreeMap::new();
        for (at, request) in group.iter().enumerate() {
            let mut keys: Vec<&LaneKey> = request.tasks.iter().map(|task| &task.lane).collect();
            keys.dedup();
            let tenants = request.tasks.iter().filter_map(|task| task.tenant.as_ref().map(Tenant::as_str)).collect();
            let made = match self.make_tenants(tenants).await {
                Ok(()) => self.make_lanes(&keys).await,
                refused => refused,
            };
            match made {
                Err(StoreError::Conflict(conflict)) => {
                    refused.insert(at, conflict);
                }
                other => other?,
            }
        }
        Ok(refused)
    }

    pub(super) async fn write_group(&self, conn: &mut PgConnection, group: &[NewBatch]) -> Result<Written> {
        let blobs = committed_blobs(conn, group).await?;
        let mut known = reserve_keys(conn, group).await?;
        let (mut rows, mut answers, mut refused) = (Rows::default(), Vec::with_capacity(group.len()), BTreeMap::new());
        for (at, request) in group.iter().enumerate() {
            let mut of_request = Vec::with_capacity(request.tasks.len());
            for (index, task) in request.tasks.iter().enumerate() {
                if let Some((input, _)) =
                    task.plan.inputs.iter().find(|(_, input)| input.blob().is_some_and(|blob| !blobs.contains(&blob.0)))
                {
                    refused.entry(at).or_insert(Conflict::NoSuchBlob { index, input: input.clone() });
                    break;
                }
                let state = if task.run_at.0 > request.now_ms { TaskState::Scheduled } else { TaskState::Queued };
                let answer = Submitted { id: task.id, created: true, state };
                if let Some((key, digest)) = key_of(task) {
                    match known.get(&key) {
                        Some(first) if first.digest != digest => {
                            refused.entry(at).or_insert(Conflict::Idempotency { index, existing: first.answer.id });
                            break;
                        }
                        Some(first) => {
                            of_request.push(first.answer);
                            continue;
                        }
                        None => known.insert(key, Known { digest, answer: Submitted { created: false, ..answer } }),
                    };
                }
                self.add_row(&mut rows, task, state, request.now_ms)?;
                of_request.push(answer);
            }
            answers.push(of_request);
        }
        if !refused.is_empty() {
            return Ok(Written::Refused(refused));
        }
        let (ready, due) = places(&rows);
        let first_seq = if rows.id.is_empty() { 0 } else { insert(conn, rows).await? };
        Ok(Written::All(answers, Arrivals { ready, due, first_seq }))
    }

    fn add_row<'a>(&self, rows: &mut Rows<'a>, task: &'a NewTask, state: TaskState, now_ms: i64) -> Result<()> {
        let run_at_ms = task.run_at.0.max(now_ms);
        let id = task.id.to_string();
        rows.blobs.extend(task.plan.inputs.values().filter_map(|input| Some((id.clone(), input.blob()?.0))));
        rows.id.push(id);
        rows.lane_id.push(self.lanes.id(&task.lane).ok_or_else(|| damaged("the table lanes", "a lane is missing"))?);
        rows.tenant_id.push(self.tenants.id(task.tenant.as_ref()).ok_or_else(|| damaged("the table tenants", "a tenant is missing"))?);
        rows.rank.push(i16::try_from(task.priority.rank()).unwrap_or_default());
        rows.payload.push(task.payload.get());
        rows.inputs.push(json_unless(task.plan.inputs.is_empty(), &task.plan.inputs)?);
        rows.tags.push(json_unless(task.plan.tags.is_empty(), &task.plan.tags)?);
        rows.limits.push(json_unless(task.plan.limits.is_empty(), &task.plan.limits)?);
        rows.max_attempts.push(i32::try_from(task.max_attempts.max(1)).unwrap_or(i32::MAX));
        rows.tenant.push(task.tenant.as_ref().map(Tenant::as_str));
        rows.key.push(task.idempotency.as_ref().map(|(key, _)| IdempotencyKey::as_str(key)));
        rows.run_at_ms.push(run_at_ms);
        rows.run_key.push(run_key(UnixMs(run_at_ms), task.priority, self.options.priority_step));
        rows.created_at_ms.push(now_ms);
        rows.scheduled.push(state == TaskState::Scheduled);
        Ok(())
    }

    /// What came in is where claims will look.
    pub(super) fn arrived(&self, arrivals: &Arrivals) {
        let mut fronts = self.fronts.lock();
        for (front, run_key) in &arrivals.ready {
            fronts.put_back(*front, (*run_key, arrivals.first_seq));
        }
        if let Some(due) = arrivals.due {
            fronts.put_back_due(due);
        }
        drop(fronts);
        self.notices.arrived(&arrivals.ready, arrivals.due);
    }
}

/// The lowest run key of each front, and when the first scheduled task is due.
fn places(rows: &Rows<'_>) -> (BTreeMap<FrontKey, i64>, Option<i64>) {
    let (mut ready, mut due): (BTreeMap<FrontKey, i64>, Option<i64>) = (BTreeMap::new(), None);
    let whose = rows.lane_id.iter().zip(&rows.tenant_id).zip(&rows.rank);
    let fronts = whose.map(|((lane_id, tenant_id), rank)| FrontKey::new(*lane_id, *tenant_id, *rank));
    for (((front, run_key), run_at_ms), scheduled) in fronts.zip(&rows.run_key).zip(&rows.run_at_ms).zip(&rows.scheduled) {
        if *scheduled {
            due = Some(due.map_or(*run_at_ms, |due| due.min(*run_at_ms)));
        } else {
            ready.entry(front).and_modify(|lowest| *lowest = (*lowest).min(*run_key)).or_insert(*run_key);
        }
    }
    (ready, due)
}

/// Of the blobs that the group names, those that are there. They are held until the end of the transaction.
async fn committed_blobs(conn: &mut PgConnection, group: &[NewBatch]) -> Result<BTreeSet<Uuid>> {
    let tasks = group.iter().flat_map(|request| request.tasks.iter());
    let named: BTreeSet<Uuid> = tasks.flat_map(|task| task.plan.inputs.values().filter_map(|input| Some(input.blob()?.0))).collect();
    if named.is_empty() {
        return Ok(named);
    }
    let there: Vec<Uuid> = sql::query_scalar("SELECT id FROM taskwarden.blobs WHERE committed AND id = ANY($1) ORDER BY id FOR KEY SHARE")
        .bind(named.into_iter().collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(there.into_iter().collect())
}

/// Takes the idempotency keys of the group, in order, so that two groups cannot wait for each other; and says which were taken before.
async fn reserve_keys(conn: &mut PgConnection, group: &[NewBatch]) -> Result<HashMap<KeyOf, Known>> {
    let mut wanted: BTreeMap<KeyOf, (String, [u8; 32])> = BTreeMap::new();
    for task in group.iter().flat_map(|request| request.tasks.iter()) {
        if let Some((key, digest)) = key_of(task) {
            wanted.entry(key).or_insert_with(|| (task.id.to_string(), digest));
        }
    }
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let taken: Vec<KeyOf> = sql::query_as(
        "INSERT INTO taskwarden.idempotency (tenant, key, id, digest) \
         SELECT tenant, key, id, digest FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY AS k(tenant, key, id, digest, ord) \
         ORDER BY ord ON CONFLICT DO NOTHING RETURNING tenant, key",
    )
    .bind(wanted.keys().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(wanted.keys().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
    .bind(wanted.values().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
    .bind(wanted.values().map(|(_, digest)| digest.as_slice()).collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await?;
    for key in &taken {
        wanted.remove(key);
    }
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sql::query(
        "SELECT i.tenant, i.key, i.digest, t.id, t.state FROM unnest($1::text[], $2::text[]) AS k(tenant, key) \
         JOIN taskwarden.idempotency i ON i.tenant = k.tenant AND i.key = k.key JOIN public.execution_tasks t ON t.id = i.id",
    )
    .bind(wanted.keys().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(wanted.keys().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let key: KeyOf = (row.try_get("tenant")?, row.try_get("key")?);
        let id: TaskId = row.try_get::<&str, _>("id")?.parse().map_err(|error| damaged("a task's id", error))?;
        let state = row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("a task's state", error))?;
        known.insert(key, Known { digest: digest(row.try_get("digest")?)?, answer: Submitted { id, created: false, state } });
    }
    if known.len() < wanted.len() {
        // Deleted between the two statements.
        return Err(StoreError::Unavailable("a task under the same idempotency key is being deleted; submit again".to_owned()));
    }
    Ok(known)
}

/// Writes the rows; answers the first seq.
async fn insert(conn: &mut PgConnection, rows: Rows<'_>) -> Result<i64> {
    let first: i64 = sql::query_scalar(
        "WITH new AS MATERIALIZED (\
             SELECT nextval('taskwarden.task_seq') AS seq, n.* FROM (\
                 SELECT * FROM unnest($1::text[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], \
                                      $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bool[], $15::int[]) WITH ORDINALITY \
                     AS n(id, lane_id, rank, payload, inputs, tags, limits, max_attempts, tenant, key, run_at_ms, run_key, created_at_ms, \
                          scheduled, tenant_id, ord) ORDER BY ord) n), \
         task AS (INSERT INTO taskwarden.tasks (seq, created_at_ms, run_at_ms, run_key, lane_id, max_attempts, rank, id, tenant, \
                                                idempotency_key, payload, inputs, tags, limits) \
                  SELECT seq, created_at_ms, run_at_ms, run_key, lane_id, max_attempts, rank, id, tenant, key, payload, inputs, tags, limits \
                  FROM new), \
         waiting AS (INSERT INTO taskwarden.ready (run_key, seq, lane_id, tenant_id, rank) \
                     SELECT run_key, seq, lane_id, tenant_id, rank FROM new WHERE NOT scheduled), \
         later AS (INSERT INTO taskwarden.scheduled (run_at_ms, seq, run_key, lane_id, tenant_id, rank) \
                   SELECT run_at_ms, seq, run_key, lane_id, tenant_id, rank FROM new WHERE scheduled), \
         counted AS (INSERT INTO taskwarden.lane_changes (lane_id, queued, scheduled, running) \
                     SELECT lane_id, count(*) FILTER (WHERE NOT scheduled), count(*) FILTER (WHERE scheduled), 0 FROM new GROUP BY lane_id) \
         SELECT min(seq) FROM new",
    )
    .bind(rows.id)
    .bind(rows.lane_id)
    .bind(rows.rank)
    .bind(rows.payload)
    .bind(rows.inputs)
    .bind(rows.tags)
    .bind(rows.limits)
    .bind(rows.max_attempts)
    .bind(rows.tenant)
    .bind(rows.key)
    .bind(rows.run_at_ms)
    .bind(rows.run_key)
    .bind(rows.created_at_ms)
    .bind(rows.scheduled)
    .bind(rows.tenant_id)
    .fetch_one(&mut *conn)
    .await?;
    if !rows.blobs.is_empty() {
        let (ids, blobs): (Vec<String>, Vec<Uuid>) = rows.blobs.into_iter().unzip();
        sql::query(
            "INSERT INTO taskwarden.task_blobs (blob_id, seq) SELECT DISTINCT b.blob_id, t.seq \
             FROM unnest($1::text[], $2::uuid[]) AS b(id, blob_id) JOIN taskwarden.tasks t ON t.id = b.id ON CONFLICT DO NOTHING",
        )
        .bind(ids)
        .bind(blobs)
        .execute(conn)
        .await?;
    }
    Ok(first)
}
