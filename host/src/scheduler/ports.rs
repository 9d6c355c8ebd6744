//! The runtime's ports, answered from the store and the event bus.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::{SharedClock, UnixMs};
use crate::event::{EventBus, EventKind};
use crate::registry::Snapshot;
use crate::runtime::Grants;
use crate::runtime::ports::{InputPort, InputStream, JournalPort, PortError, ProgressPort, TaskPort};
use crate::store::tables::{Place, TableQuery, columns, csv_line};
use crate::store::{Claim, Conflict, Store, StoreError};
use crate::stripe::ledger::Owner;
use crate::task::{BlobId, ChildRequest, ChildRules, DefaultsByType, InputRef, LaneKey, NewTask, TableInput, TaskId, Tenant};

/// What a guest may know of a store error: that there was one.
fn hidden(what: &str, error: &StoreError) -> PortError {
    tracing::error!(%error, "{what}");
    format!("{what}; the host has logged why")
}

pub(super) struct StoreInputs {
    store: Arc<dyn Store>,
    inputs: BTreeMap<String, InputRef>,
    /// When the attempt began: what a table's times are relative to.
    now: UnixMs,
}

impl StoreInputs {
    pub(super) fn new(store: Arc<dyn Store>, inputs: BTreeMap<String, InputRef>, now: UnixMs) -> Self {
        Self { store, inputs, now }
    }
}

#[async_trait]
impl InputPort for StoreInputs {
    fn names(&self) -> Vec<String> {
        self.inputs.keys().cloned().collect()
    }

    async fn open(&self, name: &str) -> Result<Box<dyn InputStream>, PortError> {
        let blob = match self.inputs.get(name) {
            Some(InputRef::Blob(blob)) => blob,
            Some(InputRef::Table(table)) => return Ok(Box::new(TableStream::new(Arc::clone(&self.store), table, self.now))),
            None => return Err(format!("this task has no input {name:?}")),
        };
        match self.store.blob(*blob).await {
            Ok(Some(info)) => Ok(Box::new(BlobStream {
                store: Arc::clone(&self.store),
                blob: *blob,
                size: info.bytes,
                next_piece: 0,
                rest: Bytes::new(),
            })),
            Ok(None) => Err(format!("the blob of input {name:?} is no longer there")),
            Err(error) => Err(hidden("could not open the input", &error)),
        }
    }
}

struct BlobStream {
    store: Arc<dyn Store>,
    blob: BlobId,
    size: u64,
    next_piece: u32,
    rest: Bytes,
}

#[async_trait]
impl InputStream for BlobStream {
    fn size_bytes(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError> {
        if self.rest.is_empty() {
            let piece =
                self.store.blob_piece(self.blob, self.next_piece).await.map_err(|error| hidden("could not read the input", &error))?;
            let Some(piece) = piece else { return Ok(Bytes::new()) };
            self.next_piece += 1;
            self.rest = piece;
        }
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(self.rest.len());
        Ok(self.rest.split_to(most))
    }
}

/// Rows of a table that are held in memory at a time.
const TABLE_PAGE_ROWS: u32 = 1000;

/// A table as CSV, a page at a time. Rows that are written meanwhile are in it when they come after the place it has reached.
struct TableStream {
    store: Arc<dyn Store>,
    next: Option<TableQuery>,
    rest: Bytes,
}

impl TableStream {
    fn new(store: Arc<dyn Store>, input: &TableInput, now: UnixMs) -> Self {
        let mut header = String::new();
        csv_line(&mut header, columns(input.table));
        let query = TableQuery {
            table: input.table,
            owner: Owner { account: input.account.clone(), livemode: input.livemode },
            from: input.from.map_or(UnixMs(i64::MIN), |moment| moment.at(now)),
            to: input.to.map_or(UnixMs(i64::MAX), |moment| moment.at(now)),
            after: None,
            limit: TABLE_PAGE_ROWS,
        };
        Self { store, next: Some(query), rest: Bytes::from(header) }
    }

    async fn page(&mut self) -> Result<(), PortError> {
        let Some(query) = self.next.take() else { return Ok(()) };
        let page = self.store.table_page(query.clone()).await.map_err(|error| hidden("could not read the input", &error))?;
        let mut text = String::new();
        for row in &page.rows {
            csv_line(&mut text, row.iter().map(|value| value.as_deref().unwrap_or_default()));
        }
        self.rest = Bytes::from(text);
        self.next = page.last.map(|last: Place| TableQuery { after: Some(last), ..query });
        Ok(())
    }
}

#[async_trait]
impl InputStream for TableStream {
    fn size_bytes(&self) -> Option<u64> {
        None
    }

    async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError> {
        if self.rest.is_empty() {
            self.page().await?;
        }
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(self.rest.len());
        Ok(self.rest.split_to(most))
    }
}

pub(super) struct StoreJournal {
    store: Arc<dyn Store>,
    claim: Claim,
}

impl StoreJournal {
    pub(super) fn new(store: Arc<dyn Store>, claim: Claim) -> Self {
        Self { store, claim }
    }
}

#[async_trait]
impl JournalPort for StoreJournal {
    async fn get(&self, step: &str) -> Result<Option<Vec<u8>>, PortError> {
        self.store.journal_get(self.claim, step).await.map_err(|error| hidden("could not read the journal", &error))
    }

    async fn put(&self, step: &str, value: Vec<u8>) -> Result<(), PortError> {
        self.store.journal_put(self.claim, step, value).await.map_err(|error| match error {
            StoreError::Conflict(Conflict::LeaseLost) => "this attempt no longer owns the task; its journal is closed".to_owned(),
            error => hidden("could not write the journal", &error),
        })
    }

    async fn used_bytes(&self) -> Result<u64, PortError> {
        self.store.journal_bytes(self.claim).await.map_err(|error| hidden("could not read the journal", &error))
    }
}

pub(super) struct BusProgress {
    events: EventBus,
    clock: SharedClock,
    task: TaskId,
    lane: LaneKey,
}

impl BusProgress {
    pub(super) fn new(events: EventBus, clock: SharedClock, task: TaskId, lane: LaneKey) -> Self {
        Self { events, clock, task, lane }
    }
}

impl ProgressPort for BusProgress {
    fn report(&self, fraction: f32, note: &str) {
        let kind = EventKind::Progress { fraction, note: note.to_owned() };
        self.events.publish(self.clock.now(), self.task, &self.lane.task_type, self.lane.ai_model.as_ref(), kind);
    }
}

/// What a guest submits, looked over as a client's submission is: by the same rules, and against the same plugins.
pub(super) struct ChildTasks {
    pub(super) parent: TaskId,
    pub(super) tenant: Option<Tenant>,
    pub(super) grants: Arc<Grants>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) defaults: Arc<DefaultsByType>,
    pub(super) payload_bytes_max: u64,
    pub(super) clock: SharedClock,
}

impl TaskPort for ChildTasks {
    fn accept(&self, child: ChildRequest) -> Result<NewTask, PortError> {
        let rules = ChildRules {
            parent: self.parent,
            tenant: self.tenant.as_ref(),
            granted: &self.grants.child_task_types,
            defaults: &self.defaults,
            payload_bytes_max: self.payload_bytes_max,
            now: self.clock.now(),
        };
        let child = rules.check(child)?;
        let plugin = self.snapshot.route(&child.lane).ok_or_else(|| format!("no loaded plugin takes tasks of {}", child.lane))?;
        if let Some(schema) = &plugin.manifest.payload_schema {
            schema
                .check(child.payload.get().as_bytes())
                .map_err(|misfit| format!("plugin {} does not take this payload: {misfit}", plugin.manifest.name))?;
        }
        Ok(child)
    }
}
